//! Compilation as anybody gets it: wasmtime's own defaults, with the epochs that a server needs.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context as _, Result};
use wasmtime::component::Component;
use wasmtime::{CacheStore, Config, Engine};

/// A compiler without anything of wrt around it.
pub(crate) struct Compiler(Engine);

impl Compiler {
    /// One that knows nothing of earlier compilations.
    pub(crate) fn cold() -> Result<Self> {
        Self::with(&mut config())
    }

    /// One that keeps the code of functions in memory without bound.
    pub(crate) fn with_functions() -> Result<Self> {
        let mut config = config();
        config
            .enable_incremental_compilation(Arc::new(Functions::default()))
            .map_err(anyhow::Error::from)
            .context("failed to add a function cache")?;
        Self::with(&mut config)
    }

    fn with(config: &mut Config) -> Result<Self> {
        let engine = Engine::new(config).map_err(anyhow::Error::from);
        Ok(Self(engine.context("failed to make an engine")?))
    }

    /// The milliseconds in which `component` is compiled.
    pub(crate) fn compile_ms(&self, component: &[u8]) -> Result<f64> {
        let started_at = Instant::now();
        let compiled = Component::from_binary(&self.0, component).map_err(anyhow::Error::from);
        let ms = started_at.elapsed().as_secs_f64() * 1e3;
        // What it takes to free the code is no part of compiling.
        compiled.context("failed to compile").map(|_| ms)
    }
}

fn config() -> Config {
    let mut config = Config::new();
    config.epoch_interruption(true);
    config
}

/// Compiled functions by the compiler's key.
#[derive(Debug, Default)]
struct Functions(Mutex<HashMap<Vec<u8>, Vec<u8>>>);

impl CacheStore for Functions {
    fn get(&self, key: &[u8]) -> Option<Cow<'_, [u8]>> {
        // Each change is one insertion, so a panic elsewhere leaves the map whole.
        let functions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        functions.get(key).map(|code| Cow::Owned(code.clone()))
    }

    fn insert(&self, key: &[u8], value: Vec<u8>) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key.to_vec(), value);
        true
    }
}
