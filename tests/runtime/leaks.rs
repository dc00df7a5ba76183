//! Hundreds of swaps leave nothing behind: no store, no thread, no open file.

use std::env;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use wrt::{InstanceMode, RuntimeConfig, Source};
use wrt_test_support::guests;
use wrt_test_support::history::History;
use wrt_test_support::load::{Load, LoadPlan, Shape};
use wrt_test_support::proc_stat::ProcStat;

use crate::fixture::{Fixture, config, limited, next_drained, swapped, wait_until};

/// Names the component in the process that only runs this test: threads and files of other tests
/// would be counted too.
const COMPONENT: &str = "WRT_LEAK_TEST_COMPONENT";

/// Swaps after which everything that is made once has been made.
const WARM_UP: u64 = 50;

/// Swaps that may add nothing to that, every other one rejected.
const SWAPS: u64 = 300;

#[test]
fn swaps_leave_no_store_no_thread_and_no_file_behind() {
    if let Some(component) = env::var_os(COMPONENT) {
        return alone(Path::new(&component));
    }
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", "leaks::swaps_leave_no_store_no_thread_and_no_file_behind"])
        .env(COMPONENT, guests::guest("counter").unwrap())
        .output()
        .unwrap();
    let [stdout, stderr] = [&output.stdout, &output.stderr].map(|it| String::from_utf8_lossy(it));
    assert!(output.status.success(), "{stdout}{stderr}");
    assert!(stdout.contains("1 passed"), "the test was not found by its name: {stdout}");
}

fn alone(component: &Path) {
    let component = std::fs::read(component).unwrap();
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        // A blocking thread comes with its first work and goes when it was idle for long: one that
        // stays makes the count exact.
        .max_blocking_threads(1)
        .thread_keep_alive(Duration::from_secs(3600))
        .enable_all()
        .build()
        .unwrap()
        .block_on(swap_and_compare(&component));
}

async fn swap_and_compare(component: &[u8]) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("candidate.wasm");
    // A developer's runtime compiles the variants from its function cache, so swaps are quick.
    let fixture = Fixture::with(RuntimeConfig::for_dev()).await;
    // Idle instances of a replaced generation are what could stay most easily.
    let config = config().with_instances(InstanceMode::pooled());
    let handler = fixture.runtime.add_handler(config).unwrap();
    let mut events = fixture.runtime.events();
    let mut swap = async |number: u64| {
        let candidate = guests::variant(component, number);
        // By turns: good, cut short, good, without any export.
        let (candidate, is_good) = match number % 4 {
            1 => (&candidate[..candidate.len() / 2], false),
            3 => (&b"\0asm\x0d\0\x01\0"[..], false),
            _ => (&candidate[..], true),
        };
        std::fs::write(&path, candidate).unwrap();
        let answer = limited("a swap", handler.swap(Source::file(&path), "next")).await;
        if is_good {
            // What was replaced has ended before anybody looks.
            if swapped(answer).generation.get() > 1 {
                next_drained(&mut events).await;
            }
        } else {
            assert!(answer.is_err(), "swap {number} of a bad component: {answer:?}");
        }
    };
    swap(0).await;
    let plan = LoadPlan {
        n_connections: 4,
        rate: Some(200.0),
        ..LoadPlan::new(fixture.address, vec![Shape::get("/")])
    };
    let load = Load::start(plan);

    for number in 1..=WARM_UP {
        swap(number).await;
    }
    let before = held();
    for number in WARM_UP + 1..=WARM_UP + SWAPS {
        swap(number).await;
    }
    let status = || format!("{before:?} threads and files, there are {:?}", held());
    wait_until(|| held() == before, status).await;

    let calls = limited("the calls under way", load.stop()).await.unwrap();
    assert_eq!(calls.n_reconnects, 0, "the server closed connections");
    let report = History { connections: calls.connections, milestones: Vec::new() }.check();
    assert!(report.is_clean() && report.n_calls > 0, "{report}");
    // What serves may keep its instances; the next swap retires those too.
    swap(0).await;
    fixture.wait_for_stores(0).await;
    assert_eq!(fixture.stop().await, 0);
}

/// Threads and open files of this process, without the threads for calls that compute for long: those
/// come when the machine is busy, and go when they were idle for a while.
fn held() -> (usize, usize) {
    let n_aside = std::fs::read_dir("/proc/self/task").unwrap().filter(|task| {
        let name = task.as_ref().map(|task| std::fs::read_to_string(task.path().join("comm")));
        // A thread may end while its directory is read.
        matches!(name, Ok(Ok(name)) if name.starts_with("wrt-aside"))
    });
    let n_aside = n_aside.count();
    let stat = ProcStat::of(std::process::id()).unwrap();
    (stat.n_threads.saturating_sub(n_aside), stat.n_files)
}
