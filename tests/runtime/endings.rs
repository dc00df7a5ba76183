//! Whoever waits is answered, also when the embedder's code panics or its tokio runtime ends.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use wrt::wasmtime::Store;
use wrt::wasmtime::component::{Instance, InstancePre, Linker};
use wrt::{
    Contract, ControlError, EventKind, HostState, InstanceMode, Plugin, Rejected, Runtime,
    RuntimeConfig, StageError, Swap, SwapRequest, chain,
};

use crate::fixture::{
    Fixture, bytes, config, guest, limited, name, next_event, plugin, swapped, variant,
};
use crate::pool::bindings::{Filter, FilterIndices};
use crate::pool::{Filters, Settings};

/// [`Filters`] that call their first instance when they are tried out.
struct Tried;

impl Contract for Tried {
    type Host = Settings;
    type Indices = FilterIndices;
    type Instance = Filter;

    const WORLD: &'static str = Filters::WORLD;

    fn link(linker: &mut Linker<HostState<Settings>>) -> wrt::wasmtime::Result<()> {
        Filters::link(linker)
    }

    fn indices(pre: &InstancePre<HostState<Settings>>) -> wrt::wasmtime::Result<FilterIndices> {
        Filters::indices(pre)
    }

    fn exports(
        indices: &FilterIndices,
        store: &mut Store<HostState<Settings>>,
        instance: &Instance,
    ) -> wrt::wasmtime::Result<Filter> {
        Filters::exports(indices, store, instance)
    }

    async fn init(
        filter: &Filter,
        store: &mut Store<HostState<Settings>>,
    ) -> wrt::wasmtime::Result<()> {
        filter.call_transform(store, "asks the host").await.map(drop)
    }
}

async fn load<C: Contract>(plugin: &Plugin<C>, version: u64) -> Result<Swap, Rejected> {
    limited("a swap's answer", plugin.swap(variant(&guest("own_world"), version), "a test")).await
}

/// Expects a refusal for a panic that says `text`.
#[track_caller]
fn panicked(answer: Result<Swap, Rejected>, text: &str) -> Rejected {
    let rejected = answer.unwrap_err();
    assert!(matches!(rejected.source, StageError::Panicked { .. }), "{}", chain(&rejected));
    assert!(chain(&rejected).contains(text), "{}", chain(&rejected));
    rejected
}

#[tokio::test]
async fn host_data_that_cannot_be_made_refuses_the_candidate_and_the_next_good_one_swaps_in() {
    for mode in [InstanceMode::Fresh, InstanceMode::pooled(), InstanceMode::Singleton] {
        let fixture = Fixture::start().await;
        let mut events = fixture.runtime.events();
        let is_broken = Arc::new(AtomicBool::new(true));
        let broken = Arc::clone(&is_broken);
        let make_host = move || {
            assert!(!broken.load(Ordering::Relaxed), "no connection is left in the pool");
            Settings(Arc::default())
        };
        let config = config().with_instances(mode);
        let plugin: Plugin<Filters> = fixture.runtime.add_plugin(config, make_host).unwrap();
        for version in 1..=2 {
            let rejected = panicked(load(&plugin, version).await, "no connection is left");
            assert_eq!(rejected.serving, None);
            let told = next_event(&mut events, "the rejection", |event| match event {
                EventKind::Rejected { error, .. } => Some(error),
                _ => None,
            });
            assert!(told.await.contains("no connection is left"));
        }
        is_broken.store(false, Ordering::Relaxed);
        let serving = swapped(load(&plugin, 1).await);
        is_broken.store(true, Ordering::Relaxed);
        let rejected = panicked(load(&plugin, 2).await, "no connection is left");
        assert_eq!(rejected.serving, Some(serving));
        is_broken.store(false, Ordering::Relaxed);
        swapped(load(&plugin, 2).await);
        fixture.stop().await;
    }
}

#[tokio::test]
async fn a_host_function_that_panics_while_a_candidate_is_tried_out_refuses_it() {
    let fixture = Fixture::start().await;
    let is_broken = Arc::new(AtomicBool::new(false));
    let broken = Arc::clone(&is_broken);
    let make_host = move || {
        let mut settings = HashMap::new();
        if broken.load(Ordering::Relaxed) {
            settings.insert("panic".to_owned(), String::new());
        }
        Settings(Arc::new(settings))
    };
    let plugin: Plugin<Tried> = fixture.runtime.add_plugin(config(), make_host).unwrap();
    let serving = swapped(load(&plugin, 1).await);
    is_broken.store(true, Ordering::Relaxed);
    let rejected = panicked(load(&plugin, 2).await, "the host's own function panics");
    assert_eq!(rejected.serving, Some(serving));
    is_broken.store(false, Ordering::Relaxed);
    let call = plugin.call(async |filter, store| filter.call_transform(store, "hello").await);
    assert_eq!(call.await.unwrap().unwrap(), "HELLO");
    swapped(load(&plugin, 3).await);
    // The bytes that met the panic are welcome when the host is mended.
    swapped(load(&plugin, 2).await);
    fixture.stop().await;
}

#[test]
fn a_runtime_whose_tokio_runtime_has_ended_says_so_and_goes_on_answering() {
    let tokio_runtime = || tokio::runtime::Runtime::new().unwrap();
    let first = tokio_runtime();
    let (runtime, handler) = first.block_on(async {
        let runtime = Runtime::new(RuntimeConfig::default()).unwrap();
        let handler = runtime.add_handler(config()).unwrap();
        swapped(handler.load(bytes(&guest("event_echo"))).await);
        (runtime, handler)
    });
    drop(first);
    tokio_runtime().block_on(async {
        let event = wrt::CloudEvent::new("1", "/test", "count");
        assert!(handler.call(event).await.unwrap().is_some());
        let next = variant(&guest("event_echo"), 2);
        let rejected = limited("an answer", handler.load(next)).await.unwrap_err();
        assert!(chain(&rejected).contains("tokio runtime"), "{}", chain(&rejected));
        assert_eq!(rejected.serving, handler.serving());
        let unconfirmed = limited("an answer", handler.confirm()).await.unwrap_err();
        assert!(matches!(unconfirmed, ControlError::NotConfirmed { .. }), "{unconfirmed:?}");
        // What is added here has a supervisor here.
        let other = wrt::HandlerConfig::new(name("other"));
        let other = runtime.add_handler(other).unwrap();
        swapped(other.load(bytes(&guest("event_echo"))).await);
        limited("the removal", runtime.remove(&name("h")).unwrap()).await;
        limited("the shutdown", runtime.shutdown()).await;
        let late = limited("an answer", other.load(variant(&guest("event_echo"), 2))).await;
        assert!(matches!(late.unwrap_err().source, StageError::ShuttingDown));
    });
}

#[test]
fn a_handler_that_is_added_outside_of_tokio_is_an_error() {
    let runtime = Runtime::new(RuntimeConfig::default()).unwrap();
    let error = runtime.add_handler(config()).unwrap_err();
    assert!(error.to_string().contains("tokio runtime"), "{error}");
}

#[tokio::test]
async fn a_removal_says_what_it_cut_and_nothing_is_left() {
    let fixture = Fixture::start().await;
    let config = config().with_drain(Duration::from_millis(20));
    let handler = fixture.runtime.add_handler(config).unwrap();
    swapped(handler.load(bytes(&guest("event_loop"))).await);
    let calling = handler.clone();
    let call =
        tokio::spawn(async move { calling.call(wrt::CloudEvent::new("1", "/test", "loop")).await });
    crate::fixture::wait_until(|| handler.in_flight() == 1, || "a call".to_owned()).await;
    let removal = fixture.runtime.remove(&name("h")).unwrap();
    assert!(fixture.runtime.handler(&name("h")).is_err(), "it is gone at once");
    let removed = limited("the removal", removal).await;
    assert_eq!(removed.cut, 1);
    assert!(call.await.unwrap().is_err());
    assert_eq!(fixture.runtime.live_stores(), 0);
    let late = handler.load(bytes(&plugin("hello"))).await.unwrap_err();
    assert!(chain(&late).ends_with("the handler was removed"), "{}", chain(&late));
    let unconfirmed = handler.confirm().await.unwrap_err();
    assert!(
        matches!(unconfirmed, ControlError::NotConfirmed { source: StageError::Removed, .. }),
        "{unconfirmed:?}"
    );
    fixture.stop().await;
}

#[tokio::test]
async fn what_waits_for_a_first_call_is_compiled_ahead_unless_its_handler_was_removed() {
    let fixture = Fixture::start().await;
    let handler = fixture.runtime.add_handler(config()).unwrap();
    handler.load_when_called(SwapRequest::new(bytes(b"no component"), "a test"));
    assert!(handler.status().is_ready());
    let rejected = handler.compile_ahead().await.unwrap_err();
    assert_eq!(handler.status().problem, Some(chain(&rejected.source)));
    assert!(!handler.status().is_ready());
    limited("the removal", fixture.runtime.remove(&name("h")).unwrap()).await;
    handler.compile_ahead().await.unwrap();
    fixture.stop().await;
}
