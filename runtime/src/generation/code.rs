//! The code of a generation: loaded, or to be loaded again by the next call.
//!
//! A generation that nobody calls can do without its code; a generation on baseline code goes on
//! with optimized code. Either way calls inside keep what they began with.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwapOption;

use super::Retirement;
use crate::artifact::{Lease, Staged};
use crate::error::StageError;

/// Makes the ready form of a generation again.
pub(crate) type Reload<R> = Box<dyn Fn(Retirement) -> Reloading<R> + Send + Sync>;

/// The future of a [`Reload`].
pub(crate) type Reloading<R> = Pin<Box<dyn Future<Output = Result<Staged<R>, StageError>> + Send>>;

/// The ready form of a generation, and what keeps its compiled code in memory.
#[derive(Debug)]
pub(crate) struct Loaded<R> {
    pub(super) ready: R,
    /// Of this code alone: idle instances end with it.
    retirement: Retirement,
    lease: Option<Lease>,
}

impl<R> Loaded<R> {
    pub(crate) fn new(ready: R, lease: Option<Lease>, retirement: Retirement) -> Self {
        Self { ready, retirement, lease }
    }

    /// The ready form.
    pub(crate) fn ready(&self) -> &R {
        &self.ready
    }

    pub(crate) fn lease(&self) -> Option<&Lease> {
        self.lease.as_ref()
    }
}

impl<R> Drop for Loaded<R> {
    fn drop(&mut self) {
        // The instances that wait for a further call of this code wait in vain.
        self.retirement.retiring.cancel();
    }
}

/// See the [module](self).
pub(super) struct Code<R> {
    loaded: ArcSwapOption<Loaded<R>>,
    was_used: AtomicBool,
    /// Held while the code is loaded again, so that many calls load it once.
    reloading: tokio::sync::Mutex<()>,
    reload: Option<Reload<R>>,
}

impl<R> Code<R> {
    pub(super) fn new(loaded: Loaded<R>, reload: Option<Reload<R>>) -> Self {
        Self {
            loaded: ArcSwapOption::from_pointee(loaded),
            was_used: AtomicBool::new(true),
            reloading: tokio::sync::Mutex::default(),
            reload,
        }
    }

    /// The code, for a call.
    pub(super) fn get(&self) -> Option<Arc<Loaded<R>>> {
        // Looked at before it is written, so that calls on several processors do not take the line
        // from each other. Ordering: a mark that decides what is evicted, and nothing else.
        if !self.was_used.load(Ordering::Relaxed) {
            self.was_used.store(true, Ordering::Relaxed);
        }
        self.loaded.load_full()
    }

    /// The code, if it is loaded; that is no use of it.
    pub(super) fn peek(&self) -> Option<Arc<Loaded<R>>> {
        self.loaded.load_full()
    }

    /// Replaces the code, for calls from now on.
    pub(super) fn replace(&self, loaded: Arc<Loaded<R>>) {
        drop(self.loaded.swap(Some(loaded)));
    }

    /// Whether a call came since this was asked last.
    pub(super) fn take_used(&self) -> bool {
        self.was_used.swap(false, Ordering::Relaxed)
    }

    /// Lets go of the code, where it can be had again; returns whether it did.
    pub(super) fn vacate(&self) -> bool {
        if self.reload.is_none() {
            return false;
        }
        // A call that took the code just before keeps it until its end.
        drop(self.loaded.swap(None));
        true
    }

    /// The code, loaded again unless another call did that meanwhile.
    ///
    /// # Errors
    ///
    /// What [`Reload`] ended with.
    ///
    /// # Cancel safety
    ///
    /// Nothing changes when this is dropped; the next call begins again.
    pub(super) async fn load(
        &self,
        retirement: &Retirement,
        moved_in: impl FnOnce(&Lease),
    ) -> Result<Arc<Loaded<R>>, StageError> {
        let _alone = self.reloading.lock().await;
        if let Some(loaded) = self.get() {
            return Ok(loaded);
        }
        let Some(reload) = &self.reload else {
            let what = "code left memory that cannot be loaded again";
            return Err(StageError::Defect { what });
        };
        let own = retirement.of_code();
        let staged = reload(own.clone()).await?;
        let loaded = Arc::new(Loaded::new(staged.ready, staged.lease, own));
        self.loaded.store(Some(Arc::clone(&loaded)));
        if let Some(lease) = loaded.lease() {
            moved_in(lease);
        }
        Ok(loaded)
    }
}

impl<R> std::fmt::Debug for Code<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Code")
            .field("is_loaded", &self.loaded.load().is_some())
            .finish_non_exhaustive()
    }
}
