//! What one guest takes does not cost the others: memory of the host, its threads, events, sockets.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;
use std::{env, fs};

use tokio::net::TcpListener;
use wrt::config::ConfigValue;
use wrt::events::{MAX_TEXT, RecvError, TryRecvError};
use wrt::{
    CallError, CloudEvent, EventKind, HandlerConfig, HandlerHandle, HttpOrigin, InstanceMode,
    Route, Runtime, RuntimeConfig, chain,
};

use crate::client::Client;
use crate::fixture::{
    Fixture, bytes, config, guest, limited, name, next_event, next_failure, swapped, variant,
    wait_until,
};

/// A cut text with what says that it was.
const CUT: usize = MAX_TEXT + 100;

/// Says that this process only runs one test: threads of other tests would be seen too.
const ALONE: &str = "WRT_COSTS_TEST_ALONE";

/// Room for a text of 30 MB, of which a guest makes copies.
fn roomy() -> HandlerConfig {
    config().with_memory(512 << 20)
}

/// Adds a handler called `other` at `/other`, which runs the guest of that name.
async fn other(runtime: &Runtime, component: &str) -> HandlerHandle {
    let config = HandlerConfig::new(name("other")).with_route(Route::parse("/other").unwrap());
    let handler = runtime.add_handler(config).unwrap();
    swapped(handler.load(bytes(&guest(component))).await);
    handler
}

#[tokio::test]
async fn error_and_panic_of_30_mb_are_cut_before_they_are_kept() {
    let (fixture, _) = Fixture::serving_as(roomy(), &guest("hostile")).await;
    let mut events = fixture.runtime.events();
    for (path, outcome) in [("/error?bytes=30000000", "guest"), ("/panic?bytes=30000000", "trap")] {
        assert_eq!(fixture.get(path).await.status, 500);
        let mut longest = 0;
        let (found, length) = next_event(&mut events, "a failed call", |event| match event {
            EventKind::CallFailed { outcome, error, .. } => Some((outcome, error.len())),
            EventKind::Log { message, .. } => {
                longest = longest.max(message.len());
                None
            }
            _ => None,
        })
        .await;
        assert_eq!(found, outcome, "at `{path}`");
        assert!(length < CUT && longest < CUT, "{length} and {longest} bytes at `{path}`");
    }
}

#[tokio::test]
async fn rejection_of_30_mb_is_cut_for_the_sender_and_the_library() {
    let (fixture, handler) = Fixture::serving_as(roomy(), &guest("event_rejects")).await;
    let error = handler.call(CloudEvent::new("1", "/test", "reject-long")).await.unwrap_err();
    let CallError::Declined { reason, .. } = error else { panic!("it is declined: {error}") };
    assert!(reason.len() < CUT, "{} bytes", reason.len());
    let answer = fixture.client().await.event("reject-long").await;
    assert_eq!(answer.status, 400);
    assert!(answer.text().len() < CUT, "{} bytes", answer.text().len());
}

#[tokio::test]
async fn refusals_of_30_mb_are_cut_in_errors_events_and_the_history() {
    let component = guest("stateful_http");
    let singleton = || roomy().with_instances(InstanceMode::Singleton);
    for phase in ["init", "save", "restore"] {
        let fixture = Fixture::start().await;
        let mut events = fixture.runtime.events();
        let refuses = singleton().with_config(phase, ConfigValue::from("long"));
        let handler = fixture.runtime.add_handler(refuses).unwrap();
        let loaded = handler.load(bytes(&component)).await;
        let rejected = if phase == "init" {
            loaded.expect_err("`init` refuses")
        } else {
            swapped(loaded);
            handler.swap(variant(&component, 1), "next").await.expect_err("it refuses")
        };
        let told = next_event(&mut events, "a rejection", |event| match event {
            EventKind::Rejected { error, .. } => Some(error),
            _ => None,
        })
        .await;
        let records = fixture.handler().history();
        let written = format!("{:?}", records[0].outcome);
        assert!(chain(&rejected).contains("eeee"), "it is the guest's own text");
        for text in [chain(&rejected), told, written] {
            assert!(text.len() < CUT + 100, "{} bytes of `{phase}`", text.len());
        }
    }
}

#[tokio::test]
async fn what_the_host_keeps_for_a_guest_counts_as_its_memory() {
    let config = config().with_memory(16 << 20).with_timeout(Duration::from_secs(600));
    let (fixture, _) = Fixture::serving_as(config, &guest("hostile")).await;
    let mut events = fixture.runtime.events();
    for path in [
        "/fields?bytes=100000",
        "/headers?bytes=100000",
        "/clones?bytes=100000",
        "/bodies?bytes=65536",
        "/trailers?bytes=100000",
        "/paths?bytes=60000",
        "/methods?bytes=1000000",
    ] {
        // Far more than fits, as a host that keeps all of it would still answer.
        assert_eq!(fixture.get(&format!("{path}&n=2000")).await.status, 500, "at `{path}`");
        assert_eq!(next_failure(&mut events).await, (1, "memory"), "at `{path}`");
        let few = fixture.get(&format!("{path}&n=3")).await;
        assert_eq!((few.status, few.text()), (200, "3"), "at `{path}`");
    }
    // Each round makes and drops half a megabyte.
    let drops = fixture.get("/drops?bytes=30000&n=500").await;
    assert_eq!((drops.status, drops.text()), (200, "500"));
}

#[tokio::test]
async fn resources_without_size_are_bounded_in_number_and_so_is_what_is_polled_at_once() {
    let (fixture, _) = Fixture::serving(&guest("hostile")).await;
    let mut events = fixture.runtime.events();
    for path in ["/pollables", "/poll-one?n=5000"] {
        assert_eq!(fixture.get(path).await.status, 500, "at `{path}`");
        assert_eq!(next_failure(&mut events).await, (1, "trap"), "at `{path}`");
    }
    // Each pollable is two of them, as it has something that it waits for.
    assert_eq!(fixture.get("/pollables?n=1500").await.text(), "1500");
}

#[tokio::test]
async fn random_bytes_and_texts_of_one_call_of_the_host_are_bounded() {
    let (fixture, _) = Fixture::serving_as(roomy(), &guest("hostile")).await;
    let mut events = fixture.runtime.events();
    // One function that gets 1 MiB of random bytes, or 32 MiB of text, is served; with more it is not.
    for (small, large) in [
        ("/random?bytes=1000000&n=2", "/random?bytes=1100000&n=1"),
        ("/insecure?bytes=1000000&n=2", "/insecure?bytes=1100000&n=1"),
        ("/log?bytes=30000000&n=2", "/log?bytes=35000000&n=1"),
    ] {
        assert_eq!(fixture.get(small).await.text(), "2", "at `{small}`");
        assert_eq!(fixture.get(large).await.status, 500, "at `{large}`");
        assert_eq!(next_failure(&mut events).await, (1, "trap"), "at `{large}`");
    }
}

#[tokio::test]
async fn memory_of_all_guests_has_a_bound_that_leaves_room_for_small_ones() {
    let mut settings = RuntimeConfig::default();
    settings.guest_memory = 48 << 20;
    let fixture = Fixture::with(settings).await;
    let handler = fixture.runtime.add_handler(config()).unwrap();
    swapped(handler.load(bytes(&guest("hostile"))).await);
    let other = other(&fixture.runtime, "trap").await;
    let mut events = fixture.runtime.events();
    let answer = fixture.get("/grow").await;
    assert_eq!((answer.status, answer.header("retry-after").is_some()), (503, true));
    assert_eq!(next_failure(&mut events).await, (1, "host-memory"));
    // While one has all that large guests may have, small ones are answered.
    let mut client = fixture.client().await;
    let holder = tokio::spawn(async move { client.get("/grow?n=30&ms=3600000").await });
    wait_until(|| handler.in_flight() == 1, || "the call that holds memory".to_owned()).await;
    assert_eq!(fixture.get("/other").await.text(), "ok");
    assert_eq!(other.in_flight(), 0);
    holder.abort();
    fixture.wait_for_stores(0).await;
    assert_eq!(fixture.get("/grow?n=20").await.text(), "20");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_log_lines_hides_no_swap_and_no_failure_of_others() {
    let (fixture, _) = Fixture::serving(&guest("hostile")).await;
    let other = other(&fixture.runtime, "trap").await;
    let fails = HandlerConfig::new(name("fails")).with_route(Route::parse("/fails").unwrap());
    let fails = fixture.runtime.add_handler(fails).unwrap();
    swapped(fails.load(bytes(&guest("no_answer"))).await);
    // Nobody reads meanwhile.
    let mut events = fixture.runtime.events();
    let mut flooding = fixture.client().await;
    let flood = tokio::spawn(async move {
        for _ in 0..4 {
            let lines = flooding.get("/lines?n=5000&bytes=20").await;
            assert_eq!(lines.text(), "5000");
        }
    });
    let mut client = fixture.client().await;
    for _ in 0..50 {
        assert_eq!(client.get("/fails").await.status, 500);
    }
    for number in 1..=5 {
        swapped(other.swap(variant(&guest("trap"), number), "next").await);
    }
    flood.await.unwrap();
    let (mut swaps, mut failures, mut missed) = (0, 0, None);
    loop {
        match events.try_recv() {
            Ok(event) => match event.kind {
                EventKind::Swapped { .. } => swaps += 1,
                EventKind::CallFailed { .. } => failures += 1,
                _ => {}
            },
            Err(TryRecvError::Missed(more)) => {
                assert_eq!((more.lifecycle, more.failures), (0, 0));
                missed = Some(more.logs);
            }
            Err(TryRecvError::Empty) => break,
            Err(TryRecvError::Closed) => panic!("the runtime is here"),
        }
    }
    assert_eq!((swaps, failures), (5, 50));
    assert!(missed.is_some_and(|logs| logs > 0), "the flood was none: {missed:?}");
}

#[tokio::test]
async fn failed_calls_of_one_handler_hide_none_of_another() {
    let (fixture, _) = Fixture::serving(&guest("no_answer")).await;
    let quiet = HandlerConfig::new(name("quiet")).with_route(Route::parse("/quiet").unwrap());
    let quiet = fixture.runtime.add_handler(quiet).unwrap();
    swapped(quiet.load(bytes(&guest("no_answer"))).await);
    let mut events = fixture.runtime.events();
    let mut client = fixture.client().await;
    for _ in 0..20 {
        assert_eq!(client.get("/quiet").await.status, 500);
    }
    for _ in 0..1500 {
        assert_eq!(client.get("/").await.status, 500);
    }
    let mut heard = 0;
    loop {
        match events.try_recv() {
            Ok(event) => heard += usize::from(event.handler == Some(name("quiet"))),
            Err(TryRecvError::Missed(_)) => {}
            Err(_) => break,
        }
    }
    assert_eq!(heard, 20);
}

#[tokio::test]
async fn outgoing_requests_of_one_handler_wait_for_a_place() {
    let origin = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = origin.local_addr().unwrap();
    let listed = HttpOrigin::parse(&format!("http://{address}")).unwrap();
    let config =
        config().with_allowed_http(listed).with_outgoing(8).with_timeout(Duration::from_secs(600));
    let (fixture, _) = Fixture::serving_as(config, &guest("hostile")).await;
    let call = async || fixture.client().await.get(&format!("/outgoing?n=30&url={address}")).await;
    let answered = async {
        // Two calls at once, which share the places of their handler. Each connection is closed when
        // all eight have come, so a ninth could have come, too.
        for _ in 0..60 / 8 {
            let mut open = Vec::new();
            while open.len() < 8 {
                open.push(origin.accept().await.unwrap());
            }
            assert!(
                futures::future::poll_immediate(Box::pin(origin.accept())).await.is_none(),
                "a ninth connection"
            );
        }
        // The rest of them.
        for _ in 0..60 % 8 {
            drop(origin.accept().await.unwrap());
        }
    };
    let all = async { tokio::join!(call(), call(), answered) };
    let (one, two, ()) = limited("all requests", all).await;
    for answer in [one, two] {
        assert!(answer.text().starts_with("30 of 30 failed"), "{}", answer.text());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_compute_for_long_go_aside() {
    let config = config().with_timeout(Duration::from_secs(3600));
    let (fixture, handler) = Fixture::serving_as(config, &guest("hostile")).await;
    let spinning: Vec<_> = (0..8)
        .map(|_| {
            let address = fixture.address;
            tokio::spawn(async move { Client::connect(address).await.get("/spin").await })
        })
        .collect::<Vec<_>>();
    wait_until(|| handler.in_flight() == 8, || "the calls".to_owned()).await;
    wait_until(|| threads().contains("wrt-aside"), || "a thread aside".to_owned()).await;
    for _ in 0..100 {
        assert_eq!(fixture.get("/").await.text(), "ok");
    }
    spinning.iter().for_each(tokio::task::JoinHandle::abort);
    fixture.wait_for_stores(0).await;
}

#[test]
fn short_calls_go_aside_when_all_of_them_would_hold_others_up() {
    if env::var_os(ALONE).is_some() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        return runtime.block_on(call_until_aside());
    }
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", "costs::short_calls_go_aside_when_all_of_them_would_hold_others_up"])
        .env(ALONE, "1")
        .output()
        .unwrap();
    let [stdout, stderr] = [&output.stdout, &output.stderr].map(|it| String::from_utf8_lossy(it));
    assert!(output.status.success(), "{stdout}{stderr}");
    assert!(stdout.contains("1 passed"), "the test was not found by its name: {stdout}");
}

/// Calls end long before the second tick of the engine's clock, but there are a hundred at once.
async fn call_until_aside() {
    let (fixture, _) = Fixture::serving(&guest("hostile")).await;
    let calling: Vec<_> = (0..100)
        .map(|_| {
            let address = fixture.address;
            tokio::spawn(async move {
                let mut client = Client::connect(address).await;
                loop {
                    assert_eq!(client.get("/touch?bytes=1000000").await.text(), "1000000");
                }
            })
        })
        .collect();
    wait_until(|| threads().contains("wrt-aside"), || "a thread aside".to_owned()).await;
    calling.iter().for_each(tokio::task::JoinHandle::abort);
    fixture.wait_for_stores(0).await;
}

/// The names of this process's threads.
fn threads() -> BTreeSet<String> {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let name = |task: std::io::Result<fs::DirEntry>| {
        // One that has ended meanwhile has no name.
        fs::read_to_string(task.ok()?.path().join("comm")).ok()
    };
    tasks.filter_map(name).map(|name| name.trim_end().to_owned()).collect()
}

#[tokio::test]
async fn a_subscriber_hears_of_the_end() {
    let runtime = Runtime::new(RuntimeConfig::default()).unwrap();
    let mut events = runtime.events();
    runtime.shutdown().await;
    drop(runtime);
    assert_eq!(limited("the end", events.recv()).await.unwrap_err(), RecvError::Closed);
}
