//! Compiled code that is kept: from run to run, under a budget, whole or not at all.

use std::fs;
use std::path::{Path, PathBuf};

use wrt::events::{CompiledBy, Tier};
use wrt::{
    EventKind, HandlerConfig, HandlerHandle, LayerCounts, Route, Runtime, RuntimeConfig, Source,
    Swap, SwapRequest,
};
use wrt_test_support::guests;

use crate::fixture::{
    Fixture, bytes, config, guest, limited, name, next_event, plugin, swapped, variant, wait_until,
};

/// Settings with a cache in `dir`.
fn cached(dir: &Path) -> RuntimeConfig {
    let mut config = RuntimeConfig::default();
    config.expose_generation = true;
    config.cache_dir = Some(dir.join("cache"));
    config
}

/// How the code of the next staged candidate came about.
async fn next_staged(events: &mut wrt::EventReceiver) -> (CompiledBy, Tier) {
    next_event(events, "a staged candidate", |event| match event {
        EventKind::Staged { compiled_by, tier, .. } => Some((compiled_by, tier)),
        _ => None,
    })
    .await
}

/// Compiled code in the cache of `dir`.
fn code_files(dir: &Path) -> Vec<PathBuf> {
    let buckets = fs::read_dir(dir.join("cache/v1/code")).unwrap().map(|it| it.unwrap().path());
    let files = buckets.flat_map(|bucket| fs::read_dir(bucket).unwrap());
    files.map(|file| file.unwrap().path()).collect()
}

/// Runs `component` in a runtime of its own, from start to end; how its code came about.
async fn run_once(config: RuntimeConfig, component: &[u8]) -> CompiledBy {
    let fixture = Fixture::with(config).await;
    let mut events = fixture.runtime.events();
    let handler = fixture.runtime.add_handler(crate::fixture::config()).unwrap();
    swapped(handler.load(bytes(component)).await);
    assert_eq!(fixture.get("/").await.status, 200);
    let (compiled_by, tier) = next_staged(&mut events).await;
    assert_eq!(tier, Tier::Optimized);
    fixture.stop().await;
    compiled_by
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_run_compiled_the_next_one_loads() {
    let dir = tempfile::tempdir().unwrap();
    let hello = plugin("hello");
    assert_eq!(run_once(cached(dir.path()), &hello).await, CompiledBy::Compiler);
    assert_eq!(run_once(cached(dir.path()), &hello).await, CompiledBy::Disk);
    // Other settings of the compiler are another bucket, and code of one is not loaded by the other.
    let mut other = cached(dir.path());
    other.wasi03 = true;
    assert_ne!(run_once(other, &hello).await, CompiledBy::Disk);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn functions_of_an_earlier_run_are_taken_over() {
    let dir = tempfile::tempdir().unwrap();
    let hello = plugin("hello");
    assert_eq!(run_once(cached(dir.path()), &hello).await, CompiledBy::Compiler);
    let changed = guests::variant(&hello, 1);
    assert_eq!(run_once(cached(dir.path()), &changed).await, CompiledBy::Functions);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_code_is_compiled_again_and_nobody_notices() {
    let dir = tempfile::tempdir().unwrap();
    let hello = plugin("hello");
    run_once(cached(dir.path()), &hello).await;
    let damages: [fn(&mut Vec<u8>); 4] = [
        |code| code.clear(),
        |code| code.truncate(code.len() / 2),
        |code| *code.last_mut().unwrap() ^= 1,
        |code| code[60] ^= 0x80,
    ];
    for damage in damages {
        let files = code_files(dir.path());
        let [file] = &files[..] else { panic!("expected one file, found {files:?}") };
        let mut code = fs::read(file).unwrap();
        damage(&mut code);
        fs::write(file, code).unwrap();
        assert_ne!(run_once(cached(dir.path()), &hello).await, CompiledBy::Disk);
        assert_eq!(run_once(cached(dir.path()), &hello).await, CompiledBy::Disk, "it was replaced");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_usable_directory_everything_works_and_the_problem_is_told() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("cache"), "a file in its place").unwrap();
    let fixture = Fixture::with(cached(dir.path())).await;
    let problem = fixture.runtime.cache_problem().expect("the directory cannot be used");
    assert!(problem.to_string().contains("cache"), "{problem}");
    let handler = fixture.runtime.add_handler(config()).unwrap();
    swapped(handler.load(bytes(&plugin("hello"))).await);
    assert_eq!(fixture.get("/").await.status, 200);
    fixture.stop().await;
}

/// `n` handlers `/0`, `/1`, … of a runtime whose memory has room for some of them.
async fn crowd(dir: &Path, n: usize, memory: u64) -> (Fixture, Vec<HandlerHandle>) {
    let mut config = cached(dir);
    config.cache_memory = memory;
    let fixture = Fixture::with(config).await;
    let configs = (0..n).map(|i| {
        HandlerConfig::new(name(&format!("h{i}")))
            .with_route(Route::parse(&format!("/{i}")).unwrap())
    });
    let handlers = fixture.runtime.add_handlers(configs).unwrap();
    (fixture, handlers)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_handlers_leave_memory_and_come_back_from_the_directory() {
    const HANDLERS: usize = 6;
    let dir = tempfile::tempdir().unwrap();
    let component = plugin("hello");
    let files: Vec<_> = (0..HANDLERS)
        .map(|i| {
            let path = dir.path().join(format!("{i}.wasm"));
            fs::write(&path, guests::variant(&component, i as u64)).unwrap();
            path
        })
        .collect();
    // Room for none: each handler that is called sends the ones before it away.
    let (fixture, handlers) = crowd(dir.path(), HANDLERS, 1).await;
    for (handler, file) in handlers.iter().zip(&files) {
        swapped(handler.load(Source::file(file)).await);
    }
    let runtime = &fixture.runtime;
    let in_memory = || runtime.cache_report().memory.len();
    for _ in 0..3 {
        for (i, handler) in handlers.iter().enumerate() {
            let before = handler.serving().unwrap();
            assert_eq!(fixture.get(&format!("/{i}")).await.status, 200);
            assert_eq!(handler.serving().unwrap(), before, "it is the same generation");
        }
    }
    let LayerCounts { disk_hits, compilations, functions_hits, evictions, .. } =
        runtime.cache_report().counts;
    assert_eq!(compilations + functions_hits, HANDLERS as u64, "nothing was compiled twice");
    assert!(disk_hits > 0 && evictions > 0);
    assert!(in_memory() < HANDLERS, "{:?}", runtime.cache_report());
    // The directory goes, and then the files are the way back.
    fs::remove_dir_all(dir.path().join("cache")).unwrap();
    for i in 0..HANDLERS {
        assert_eq!(fixture.get(&format!("/{i}")).await.status, 200);
    }
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn code_that_cannot_be_had_again_fails_the_call_and_says_why_until_it_can() {
    let dir = tempfile::tempdir().unwrap();
    let hello = plugin("hello");
    let file = |i: u64| dir.path().join(format!("{i}.wasm"));
    let (fixture, handlers) = crowd(dir.path(), 3, 1).await;
    for i in 0..3 {
        fs::write(file(i), guests::variant(&hello, i)).unwrap();
        swapped(handlers[i as usize].load(Source::file(file(i))).await);
    }
    let digest = handlers[0].serving().unwrap().digest;
    let is_here = || fixture.runtime.cache_report().memory.iter().any(|it| it.digest == digest);
    // Room for none: the two others send each other away, and the first one that nobody calls.
    limited("the first handler to let go of its code", async {
        while is_here() {
            for path in ["/1", "/2"] {
                assert_eq!(fixture.get(path).await.status, 200);
            }
        }
    })
    .await;
    // Away at once, whoever writes into it.
    fs::rename(dir.path().join("cache"), dir.path().join("gone")).unwrap();
    fs::rename(file(0), file(9)).unwrap();
    let mut events = fixture.runtime.events();
    assert_eq!(fixture.get("/0").await.status, 503);
    let (outcome, error) = next_event(&mut events, "a failed call", |event| match event {
        EventKind::CallFailed { outcome, error, .. } => Some((outcome, error)),
        _ => None,
    })
    .await;
    assert!(outcome == "load" && error.contains("failed to read"), "{outcome}: {error}");
    fs::rename(file(9), file(0)).unwrap();
    assert_eq!(fixture.get("/0").await.status, 200);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_who_call_a_cold_handler_at_once_wait_for_one_compilation() {
    let dir = tempfile::tempdir().unwrap();
    let (fixture, handlers) = crowd(dir.path(), 1, 1 << 30).await;
    handlers[0].load_when_called(SwapRequest::new(bytes(&plugin("hello")), "start"));
    assert!(handlers[0].serving().is_none(), "nobody has called");
    let calls = (0..64).map(|_| fixture.get("/0"));
    let answers = limited("64 calls", futures::future::join_all(calls)).await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    assert_eq!(fixture.runtime.cache_report().counts.compilations, 1);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handlers_that_load_the_same_component_at_once_share_one_compilation_and_its_error() {
    let dir = tempfile::tempdir().unwrap();
    let (fixture, handlers) = crowd(dir.path(), 8, 1 << 30).await;
    let hello = plugin("hello");
    let loads = handlers.iter().map(|handler| handler.load(bytes(&hello)));
    for loaded in futures::future::join_all(loads).await {
        swapped(loaded);
    }
    assert_eq!(fixture.runtime.cache_report().counts.compilations, 1);
    let broken = bytes(&hello[..hello.len() / 2]);
    let swaps = handlers.iter().map(|handler| handler.swap(broken.clone(), "a test asked"));
    for refused in futures::future::join_all(swaps).await {
        let refused = wrt::chain(&refused.unwrap_err());
        assert!(
            refused.contains("failed to compile") && refused.contains("out of bounds"),
            "{refused}"
        );
    }
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_component_that_keeps_the_compiler_busy_is_refused_and_the_old_version_serves() {
    let mut config = RuntimeConfig::default();
    // No component compiles in this time, so any stands for a hostile one.
    config.compile_timeout = std::time::Duration::from_micros(1);
    let fixture = Fixture::with(config).await;
    let handler = fixture.runtime.add_handler(crate::fixture::config()).unwrap();
    let refused = handler.load(bytes(&plugin("hello"))).await.unwrap_err();
    assert!(matches!(refused.source.stage(), wrt::events::Stage::Compile), "{refused:?}");
    let text = wrt::chain(&refused);
    assert!(text.contains("the compiler was still busy"), "{text}");
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_component_that_would_exhaust_the_compilers_memory_is_refused_and_the_old_version_serves()
{
    let fixture = Fixture::start().await;
    let handler = fixture.runtime.add_handler(config()).unwrap();
    swapped(handler.load(bytes(&plugin("hello"))).await);
    // 15 KiB, for which the compiler takes gigabytes and minutes.
    let (open, close) = ("loop ".repeat(1000), "(br_if 0 (i32.const 0)) end ".repeat(1000));
    let assign = |local| format!("(local.set {local} (i64.const 1))");
    let (types, all) = ("i64 ".repeat(1000), (0..1000).map(assign).collect::<String>());
    let hostile = format!("(component (core module (func (local {types}) {open} {all} {close})))");
    let hostile = wat::parse_str(hostile).unwrap();
    let refused = handler.swap(bytes(&hostile), "a test asked").await.unwrap_err();
    assert!(matches!(refused.source.stage(), wrt::events::Stage::Compile), "{refused:?}");
    assert!(refused.serving.is_some(), "{refused:?}");
    let text = wrt::chain(&refused);
    assert!(text.contains("compiling function 0") && text.contains("bytes of memory"), "{text}");
    assert!(wrt::Hint::hints(&refused.source).iter().any(|hint| hint.contains("compile_memory")));
    assert_eq!(fixture.get("/").await.status, 200);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_version_before_comes_back_from_memory() {
    let fixture = Fixture::start().await;
    let mut events = fixture.runtime.events();
    let handler = fixture.runtime.add_handler(config()).unwrap();
    let component = plugin("hello");
    for (number, expected) in
        [(1, CompiledBy::Compiler), (2, CompiledBy::Functions), (1, CompiledBy::Memory)]
    {
        swapped(handler.swap(variant(&component, number), "a test asked").await);
        assert_eq!(next_staged(&mut events).await.0, expected);
    }
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_developer_gets_baseline_code_first_and_optimized_code_in_its_place() {
    let fixture = Fixture::with(RuntimeConfig::for_dev()).await;
    let mut events = fixture.runtime.events();
    let handler = fixture.runtime.add_handler(config()).unwrap();
    let serving = swapped(handler.load(bytes(&plugin("hello"))).await);
    assert_eq!(next_staged(&mut events).await.1, Tier::Baseline);
    let page = fixture.get("/").await;
    let generation = next_event(&mut events, "optimized code", |event| match event {
        EventKind::Optimized { generation, .. } => Some(generation),
        _ => None,
    })
    .await;
    assert_eq!(generation, serving.generation);
    let again = fixture.get("/").await;
    assert_eq!((again.status, again.text()), (page.status, page.text()));
    assert_eq!(handler.serving(), Some(serving), "nobody sees a seam");
    let tiers =
        || fixture.runtime.cache_report().memory.iter().map(|it| it.tier).collect::<Vec<_>>();
    let has_optimized = || tiers().contains(&Tier::Optimized);
    wait_until(has_optimized, || format!("optimized code among {:?}", tiers())).await;
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_that_loops_on_baseline_code_is_ended_all_the_same() {
    let fixture = Fixture::with(RuntimeConfig::for_dev()).await;
    let mut events = fixture.runtime.events();
    let bounded = config().with_timeout(std::time::Duration::from_millis(200));
    let handler = fixture.runtime.add_handler(bounded).unwrap();
    swapped(handler.load(bytes(&guest("loop_forever"))).await);
    assert_eq!(next_staged(&mut events).await.1, Tier::Baseline);
    assert_eq!(fixture.get("/loop").await.status, 504);
    assert_eq!(fixture.get("/").await.text(), "ok");
    fixture.wait_for_stores(0).await;
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_compiled_ahead_is_there_for_the_first_call() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("hello.wasm");
    fs::write(&file, plugin("hello")).unwrap();
    let builder = Runtime::new(cached(dir.path())).unwrap();
    assert!(builder.precompile(Source::file(&file), false).await.unwrap().is_some());
    assert!(builder.precompile(Source::file(&file), true).await.unwrap().is_none(), "once");
    builder.shutdown().await;
    assert_eq!(run_once(cached(dir.path()), &plugin("hello")).await, CompiledBy::Disk);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lazy_handler_whose_file_is_bad_fails_its_calls_until_the_file_is_mended() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("0.wasm");
    fs::write(&file, "no component").unwrap();
    let (fixture, handlers) = crowd(dir.path(), 1, 1 << 30).await;
    handlers[0].load_when_called(SwapRequest::new(Source::file(&file), "start"));
    assert_eq!(fixture.get("/0").await.status, 503);
    fs::write(&file, plugin("hello")).unwrap();
    assert_eq!(fixture.get("/0").await.status, 200);
    let unchanged = handlers[0].load(Source::file(&file)).await.unwrap();
    assert!(matches!(unchanged, Swap::Unchanged { .. }), "{unchanged:?}");
    fixture.stop().await;
}
