//! Five steps, each of which takes the document of the one before, in the ways that are compared.

use anyhow::{Context as _, Result};
use tokio::runtime::Runtime as Executor;
use wrt::{
    CloudEvent, HandlerConfig, HandlerHandle, HandlerName, InstanceMode, Runtime, RuntimeConfig,
    Source,
};

use super::document::STEPS;
use crate::peers::plugin::{Language, Worker};

/// The steps.
pub(super) enum Chain {
    /// Handlers of one runtime in this process.
    Wrt {
        executor: Executor,
        /// Held, as its handlers work as long as it does.
        _runtime: Runtime,
        handlers: Vec<HandlerHandle>,
    },
    /// A process for each step, which waits for documents.
    Warm(Vec<Worker>),
    /// A process for each call.
    Processes(Language),
}

impl Chain {
    /// Each step is a handler of its own with `component`, and reads its number from its
    /// configuration.
    pub(super) fn wrt(component: &[u8], instances: InstanceMode) -> Result<Self> {
        let executor = Executor::new().context("failed to start the async runtime")?;
        let (runtime, handlers) = executor.block_on(async {
            let runtime = Runtime::new(RuntimeConfig::default())?;
            let mut handlers = vec![];
            for step in STEPS {
                let config = HandlerConfig::new(HandlerName::new(&format!("step-{step}"))?)
                    .with_instances(instances)
                    .with_config("step", step.to_string().as_str().into());
                let handler = runtime.add_handler(config)?;
                let _ = handler.load(Source::bytes(component.to_vec())).await?;
                handlers.push(handler);
            }
            anyhow::Ok((runtime, handlers))
        })?;
        Ok(Self::Wrt { executor, _runtime: runtime, handlers })
    }

    pub(super) fn warm(language: &Language) -> Result<Self> {
        let workers = STEPS.iter().map(|step| language.worker(*step)).collect::<Result<_>>()?;
        Ok(Self::Warm(workers))
    }

    pub(super) fn processes(language: Language) -> Self {
        Self::Processes(language)
    }

    /// Sends `document` through all steps; gives the last one's answer.
    pub(super) fn run(&mut self, document: &[u8]) -> Result<Vec<u8>> {
        match self {
            Self::Wrt { executor, handlers, .. } => executor.block_on(async {
                let mut event = CloudEvent::new("1", "/bench", "workflow.step")
                    .with_data("application/json", document.to_vec());
                for handler in handlers {
                    let answer = handler.call(event).await?;
                    event = answer.context("expected an answer to the event, found none")?;
                }
                Ok(event.data.context("expected an answer with data, found none")?.into())
            }),
            Self::Warm(workers) => {
                workers.iter_mut().try_fold(document.to_vec(), |it, worker| worker.call(&it))
            }
            Self::Processes(language) => {
                STEPS.iter().try_fold(document.to_vec(), |it, step| language.call_once(*step, &it))
            }
        }
    }
}
