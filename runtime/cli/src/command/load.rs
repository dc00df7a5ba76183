//! What `wrt serve` loads at its start: at once, or with the first call of each handler.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use tokio::task::AbortHandle;
use wrt::{HandlerHandle, HandlerName, Source, SwapRequest, chain};

use super::artifacts;
use super::host::Swaps;
use crate::exit::{AtFault, ExitStatus};
use crate::settings::HostSettings;

/// Handlers that are made ready at the start; with more than these, each waits for its first call.
/// Few enough to be ready at once from compiled code, and a refused one is told at the start.
const EAGER: usize = 64;

/// Time that a host with many handlers is left to its first callers before it compiles ahead.
const AHEAD_AFTER: Duration = Duration::from_secs(1);

/// How many handlers a host has, and how many of them it began to load at its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Loaded {
    /// Handlers in all.
    pub(crate) handlers: usize,
    /// Those of them that wait for a first call.
    pub(crate) lazy: usize,
}

/// The handlers that wait for their first calls: none of `dev`, and of many all that do not want to be
/// made ready at the start.
pub(super) fn lazy(settings: &HostSettings) -> BTreeSet<HandlerName> {
    let configs = settings.project.manifest.handlers.iter().map(|entry| &entry.config);
    let is_lazy = settings.build.is_none() && configs.len() > EAGER;
    let names = configs.filter(|config| !config.policy.preload).map(|config| config.name.clone());
    if is_lazy { names.collect() } else { BTreeSet::new() }
}

/// Loads what `serve` serves without watching it. A handler that cannot be loaded costs the others
/// nothing.
///
/// # Errors
///
/// When there is nothing to load for any handler, neither on the disk nor from an earlier run, and no
/// handler waits for a first call.
pub(super) fn load(
    settings: &HostSettings,
    handlers: &BTreeMap<HandlerName, HandlerHandle>,
    lazy: &BTreeSet<HandlerName>,
    swaps: &mut Swaps,
) -> Result<Loaded, AtFault> {
    let entries = &settings.project.manifest.handlers;
    let (mut loads, mut missing, mut first_missing) = (Vec::new(), 0, None);
    for entry in entries {
        let (path, problem) = find(artifacts::to_serve(entry, &settings.project.root), || {
            artifacts::expected(entry, &settings.project.root)
        });
        if let Some(problem) = problem {
            // What an earlier run has confirmed is kept, and can be served without the file.
            let handler = handlers.get(&entry.config.name);
            missing += usize::from(handler.is_none_or(|handler| handler.history().is_empty()));
            first_missing.get_or_insert(problem);
        }
        loads.push((entry, path));
    }
    // What waits for a first call may be there by then.
    let is_in_vain = missing == entries.len() && lazy.is_empty();
    if let Some(problem) = first_missing.filter(|_| is_in_vain) {
        return Err(problem);
    }
    for (entry, path) in loads {
        let Some(handler) = handlers.get(&entry.config.name).cloned() else { continue };
        let request = SwapRequest::new(Source::File(path), "first load").standing();
        if lazy.contains(handler.name()) {
            handler.load_when_called(request);
        } else {
            swaps.spawn(async move { handler.request_swap(request).await });
        }
    }
    compile_ahead(handlers, lazy);
    Ok(Loaded { handlers: entries.len(), lazy: lazy.len() })
}

/// The file to load, and the problem when there is none; it may be there when it is wanted.
fn find(
    found: Result<PathBuf, AtFault>,
    expected: impl FnOnce() -> PathBuf,
) -> (PathBuf, Option<AtFault>) {
    match found {
        Ok(path) if path.is_file() => (path, None),
        Ok(path) => {
            let problem = AtFault::new(format!("`{}` does not exist", path.display()))
                .hint("build the handler, or correct the path");
            (path, Some(problem))
        }
        Err(problem) => (expected(), Some(problem)),
    }
}

/// Compiles what the `lazy` ones of `handlers` wait with for a first call, one after the other, while
/// nobody waits for it.
pub(super) fn compile_ahead(
    handlers: &BTreeMap<HandlerName, HandlerHandle>,
    lazy: &BTreeSet<HandlerName>,
) -> AbortHandle {
    let handlers: Vec<_> = lazy.iter().filter_map(|name| handlers.get(name).cloned()).collect();
    let compiling = tokio::spawn(async move {
        tokio::time::sleep(AHEAD_AFTER).await;
        for handler in handlers {
            // Told when a call wants it; until then it may be mended, and probes see it.
            if let Err(error) = handler.compile_ahead().await {
                tracing::debug!(error = chain(&error), "compiled nothing ahead");
            }
        }
    });
    compiling.abort_handle()
}

impl Loaded {
    /// Whether nothing serves, and nothing is left that could by itself.
    pub(super) fn is_in_vain(&self, handlers: &BTreeMap<HandlerName, HandlerHandle>) -> bool {
        self.lazy == 0 && handlers.values().all(|handler| handler.serving().is_none())
    }

    /// How a host ends that has nothing to serve; each refusal was told.
    ///
    /// # Errors
    ///
    /// When there is more to say than the refusal of the one handler did.
    pub(super) fn give_up(&self) -> anyhow::Result<ExitStatus> {
        match self.handlers {
            1 => Ok(ExitStatus::Input),
            n => Err(AtFault::new(format!(
                "each of the {n} handlers was refused; nothing is served"
            ))
            .into()),
        }
    }
}
