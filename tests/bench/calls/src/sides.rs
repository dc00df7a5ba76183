//! The two sides in this process: wrt through its API for embedders, and wasmtime by hand.

use anyhow::{Context as _, Result, ensure};
use wrt::{
    CloudEvent, HandlerConfig, HandlerHandle, HandlerName, InstanceMode, Plugin, Runtime,
    RuntimeConfig, Source,
};

use crate::by_hand::{Event, Events, Filters, Host};
use crate::work::{Mode, Work, document, text};
use crate::{Round, call_us, repeat};

/// Bytes of [`Work::Bytes`].
const N_BYTES: usize = 1 << 20;

/// Bindings of an embedder's own world.
mod bindings {
    wrt::wasmtime::component::bindgen!({
        path: "../../guests/wit",
        world: "acme:filters/filter",
        exports: { default: async },
        wasmtime_crate: wrt::wasmtime,
    });
}

/// The host's own data: nothing.
struct Data;

impl bindings::acme::filters::host::Host for Data {
    fn lookup(&mut self, _: String) -> Option<String> {
        Some("!".to_owned())
    }
}

wrt::contract! {
    /// Filters, as in the test guests.
    struct Contract for bindings::Filter, indices bindings::FilterIndices;
    host = Data;
    world = "acme:filters/filter@1.0.0";
    imports = [bindings::acme::filters::host];
}

/// Handlers of wrt, by mode.
pub struct Ours {
    runtime: Runtime,
    fresh: HandlerHandle,
    pooled: HandlerHandle,
    singleton: HandlerHandle,
    fresh_filter: Plugin<Contract>,
    pooled_filter: Plugin<Contract>,
}

impl Ours {
    /// Loads the guests `event_work` and `own_world` once for each mode.
    ///
    /// # Errors
    ///
    /// When one of them is not accepted.
    pub async fn new(event_work: &[u8], own_world: &[u8]) -> Result<Self> {
        let runtime = Runtime::new(RuntimeConfig::default())?;
        let config = |name: &str, mode| -> Result<HandlerConfig> {
            Ok(HandlerConfig::new(HandlerName::new(name)?).with_instances(mode))
        };
        let handler = async |name, mode| -> Result<HandlerHandle> {
            let handler = runtime.add_handler(config(name, mode)?)?;
            let _ = handler.load(Source::bytes(event_work.to_vec())).await?;
            Ok(handler)
        };
        let plugin = async |name, mode| -> Result<Plugin<Contract>> {
            let plugin = runtime.add_plugin(config(name, mode)?, || Data)?;
            let _ = plugin.load(Source::bytes(own_world.to_vec())).await?;
            Ok(plugin)
        };
        let (fresh, pooled) = (InstanceMode::Fresh, InstanceMode::pooled());
        Ok(Self {
            fresh: handler("fresh", fresh).await?,
            pooled: handler("pooled", pooled).await?,
            singleton: handler("singleton", InstanceMode::Singleton).await?,
            fresh_filter: plugin("fresh-filter", fresh).await?,
            pooled_filter: plugin("pooled-filter", pooled).await?,
            runtime,
        })
    }

    /// Ends the runtime.
    pub async fn shut_down(&self) {
        self.runtime.shutdown().await;
    }

    /// Microseconds of one call on each thread of `round`.
    ///
    /// # Errors
    ///
    /// When a call fails, or its answer is not what the work gives.
    pub fn call_us(&self, executor: &tokio::runtime::Runtime, round: Round) -> Result<f64> {
        let Round { mode, work, n_threads, time } = round;
        if work.is_event() {
            let handler = match mode {
                Mode::Fresh => &self.fresh,
                Mode::Pooled => &self.pooled,
                Mode::Singleton => &self.singleton,
            };
            let event = event(work);
            let answer = executor.block_on(handler.call(event.clone()))?;
            check(work, answer.as_ref().map(|it| it.data.as_deref().unwrap_or_default()))?;
            return call_us(executor, n_threads, async || {
                repeat(time, async || Ok(handler.call(event.clone()).await.map(drop)?)).await
            });
        }
        let filter = if mode == Mode::Fresh { &self.fresh_filter } else { &self.pooled_filter };
        let text = text();
        call_us(executor, n_threads, async || match work {
            Work::Count => {
                let count =
                    async || filter.call(async |it, store| it.call_count(store).await).await;
                repeat(time, async || Ok(count().await.map(drop)?)).await
            }
            _ => {
                let transform = async || {
                    filter.call(async |it, store| it.call_transform(store, &text).await).await
                };
                repeat(time, async || transform().await?.map(drop).map_err(anyhow::Error::msg))
                    .await
            }
        })
    }
}

/// Components prepared by hand.
pub struct ByHand {
    events: Events,
    filters: Filters,
    /// Last, so that its clock goes on as long as the others are there.
    _host: Host,
}

impl ByHand {
    /// Prepares the guests `event_work` and `own_world`.
    ///
    /// # Errors
    ///
    /// When one of them does not fit.
    pub fn new(event_work: &[u8], own_world: &[u8]) -> Result<Self> {
        let host = Host::new()?;
        Ok(Self {
            events: host.events(event_work)?,
            filters: host.filters(own_world)?,
            _host: host,
        })
    }

    /// Microseconds of one call on each thread of `round`.
    ///
    /// # Errors
    ///
    /// When a call fails, or its answer is not what the work gives.
    pub fn call_us(&self, executor: &tokio::runtime::Runtime, round: Round) -> Result<f64> {
        let Round { mode, work, n_threads, time } = round;
        let is_fresh = mode == Mode::Fresh;
        if work.is_event() {
            let event = as_guest(event(work));
            return call_us(executor, n_threads, async || {
                let mut kept = self.events.instance().await?;
                let answer = kept.call(&event).await?;
                let data = answer.as_ref().map(|it| it.data.as_deref().unwrap_or_default());
                check(work, data)?;
                // As on the other side, each call has an event of its own.
                if is_fresh {
                    let call = async || self.events.instance().await?.call(&event.clone()).await;
                    repeat(time, async || call().await.map(drop)).await
                } else {
                    repeat(time, async || kept.call(&event.clone()).await.map(drop)).await
                }
            });
        }
        let text = text();
        call_us(executor, n_threads, async || {
            let mut kept = self.filters.instance().await?;
            let is_count = work == Work::Count;
            repeat(time, async || {
                let mut fresh;
                let filter = if is_fresh {
                    fresh = self.filters.instance().await?;
                    &mut fresh
                } else {
                    &mut kept
                };
                if is_count {
                    filter.count().await.map(drop)
                } else {
                    filter.transform(&text).await.map(drop)
                }
            })
            .await
        })
    }
}

fn event(work: Work) -> CloudEvent {
    let event = CloudEvent::new("17", "/bench", work.name());
    match work {
        Work::Json => event.with_data("application/json", document()),
        Work::Bytes => event.with_data("application/octet-stream", vec![7; N_BYTES]),
        _ => event,
    }
}

fn as_guest(event: CloudEvent) -> Event {
    Event {
        id: event.id,
        source: event.source,
        type_: event.event_type,
        subject: event.subject,
        time: event.time,
        datacontenttype: event.datacontenttype,
        dataschema: event.dataschema,
        data: event.data.map(Vec::from),
        extensions: event.extensions.into_iter().collect(),
    }
}

/// Whether the answer's data is what `work` gives.
fn check(work: Work, data: Option<&[u8]>) -> Result<()> {
    let is_right = match work {
        Work::Json => {
            let data = data.context("expected an answer, found none")?;
            serde_json::from_slice::<serde_json::Value>(data)?["total"] == 30
        }
        Work::Bytes => data.is_some_and(|data| data.len() == N_BYTES),
        _ => data.is_none(),
    };
    ensure!(is_right, "unexpected answer to `{}`", work.name());
    Ok(())
}
