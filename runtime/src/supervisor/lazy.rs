//! A first component that waits for a call: what is known of it before, and its loading then.

use std::fs::{self, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::OFlags;
use tokio::sync::oneshot;

use super::ending::Stop;
use super::task::Task;
use super::{Answer, Guest, Swap, SwapRequest};
use crate::artifact::Source;
use crate::error::{Rejected, StageError, chain};
use crate::handler::Obstacle;

/// What each component begins with: the magic number, and the version of the binary format that
/// stands for components.
const PREAMBLE: [u8; 8] = *b"\0asm\x0d\0\x01\0";

/// How long the look at a file counts: probes ask for thousands of handlers at once, and strangers may
/// ask too.
const LOOK_COUNTS_FOR: Duration = Duration::from_secs(1);

/// What is known of a first component that waits for a call.
#[derive(Debug, Default)]
pub(crate) struct Lazy(Mutex<Option<Waiting>>);

#[derive(Debug)]
struct Waiting {
    source: Source,
    /// Why the component was refused, and what its file was then: another file may be better.
    refused: Option<(String, Option<Stamp>)>,
    looked: Option<(Instant, Option<String>)>,
}

/// Inode, size and time of a file's content.
pub(super) type Stamp = (u64, u64, Option<SystemTime>);

impl Lazy {
    /// `source` waits for a call from now on.
    pub(super) fn waits(&self, source: Source) {
        *self.lock() = Some(Waiting { source, refused: None, looked: None });
    }

    /// Nothing waits any more: something serves.
    pub(super) fn settled(&self) {
        *self.lock() = None;
    }

    /// What waits for a call.
    pub(super) fn source(&self) -> Option<Source> {
        self.lock().as_ref().map(|waiting| waiting.source.clone())
    }

    /// What the file of what waits is now: to be asked before an attempt, for [`Lazy::refused`].
    pub(super) fn stamp(&self) -> Option<Stamp> {
        self.source().as_ref().and_then(stamp)
    }

    /// What waits was refused by `error`, when its file was `then`. What may pass is not noted: nothing
    /// but a call would show that it has, and no call comes to a handler that is not ready.
    pub(super) fn refused(&self, error: &StageError, then: Option<Stamp>) {
        if error.may_pass() {
            return;
        }
        if let Some(waiting) = self.lock().as_mut() {
            waiting.refused = Some((chain(error), then));
        }
    }

    /// Why a call now would find nothing to run, as far as is known without loading anything.
    pub(super) fn problem(&self) -> Option<String> {
        let mut waiting = self.lock();
        let waiting = waiting.as_mut()?;
        if let Some((looked, problem)) = &waiting.looked
            && looked.elapsed() < LOOK_COUNTS_FOR
            && waiting.refused.is_none()
        {
            return problem.clone();
        }
        let refused = waiting.refused.take_if(|(_, then)| *then != stamp(&waiting.source));
        drop(refused);
        if let Some((why, _)) = &waiting.refused {
            return Some(why.clone());
        }
        let problem = match &waiting.source {
            Source::File(path) => look(path).err(),
            Source::Bytes(_) => None,
        };
        waiting.looked = Some((Instant::now(), problem.clone()));
        problem
    }

    fn lock(&self) -> MutexGuard<'_, Option<Waiting>> {
        // Each change is one store, so a panic elsewhere leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn stamp(source: &Source) -> Option<Stamp> {
    let Source::File(path) = source else { return None };
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.ino(), metadata.size(), metadata.modified().ok()))
}

/// Whether the file can be read, and begins as a component does.
///
/// # Errors
///
/// Why not, in words.
fn look(path: &Path) -> Result<(), String> {
    let failed = |error: io::Error| format!("failed to read `{}`: {error}", path.display());
    // Not waiting, because a pipe would keep the thread until somebody writes to it.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(failed)?;
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(format!("`{}` is no regular file", path.display()));
    }
    let mut start = Vec::new();
    file.take(PREAMBLE.len() as u64).read_to_end(&mut start).map_err(failed)?;
    match start == PREAMBLE {
        true => Ok(()),
        false => Err(format!("`{}` is no WebAssembly component", path.display())),
    }
}

/// A first component that is put off until a call wants it.
pub(super) struct PutOff {
    request: SwapRequest,
    answer: oneshot::Sender<Answer>,
    /// Why the last attempt failed, if there was one.
    refused: Option<Rejected>,
}

impl PutOff {
    /// Tells the caller that another request came in its place.
    fn displaced(self) {
        // The caller may have gone.
        let _ = self.answer.send(self.refused.map_or(Ok(Swap::Superseded), Err));
    }
}

impl<G: Guest> Task<G> {
    /// A lazy request waits for the first call. Until something serves, nothing but another lazy request
    /// takes its place.
    pub(super) fn put_off(&mut self, request: SwapRequest, answer: oneshot::Sender<Answer>) {
        // Calls wait for it, whatever refused another one before.
        self.handler.active().mend();
        let older = self.put_off.replace(PutOff { request, answer, refused: None });
        older.into_iter().for_each(PutOff::displaced);
    }

    /// A call wants what was put off. When that is refused, it is tried again for the next call: its file
    /// may have been mended.
    pub(super) async fn bring_put_off(&mut self, stop: &Stop) {
        let Some(PutOff { request, .. }) = &self.put_off else { return };
        let (request, then) = (request.clone(), self.told.lazy.stamp());
        let outcome = self.swap(request, stop).await;
        let Some(mut put_off) = self.put_off.take() else { return };
        // Before the answer, as after any other operation.
        self.tell_standing();
        match outcome {
            // The caller may have gone.
            Ok(swap) => drop(put_off.answer.send(Ok(swap))),
            Err(rejected) => {
                self.told.lazy.refused(&rejected.source, then);
                if !is_end(&rejected) {
                    self.handler.active().refuse_waiting(Obstacle::of(&rejected.source));
                }
                put_off.refused = Some(rejected);
                self.put_off = Some(put_off);
                // A version that was confirmed before this start may serve by now.
                self.settle_put_off();
            }
        }
    }

    /// Nobody waits for what was put off when something serves.
    pub(super) fn settle_put_off(&mut self) {
        if self.handler.serving().is_some() {
            self.told.lazy.settled();
            self.put_off.take().into_iter().for_each(PutOff::displaced);
        }
    }

    /// A request that is not put off.
    pub(super) async fn swap_now(&mut self, request: SwapRequest, stop: &Stop) -> Answer {
        self.swap(request, stop).await.inspect_err(|rejected| {
            // Calls wait on for what was put off, which may be better.
            if self.put_off.is_none() && !is_end(rejected) {
                self.handler.active().obstruct(Obstacle::of(&rejected.source));
            }
        })
    }
}

/// Whether it is the end of the handler that refused a candidate. Calls that wait are told of that when the
/// handler is closed, and look for another one then.
pub(super) fn is_end(rejected: &Rejected) -> bool {
    matches!(rejected.source, StageError::Removed | StageError::ShuttingDown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_that_cannot_be_loaded_is_a_problem_until_it_is_another() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("x.wasm");
        let problem = || {
            let lazy = Lazy::default();
            lazy.waits(Source::file(&path));
            lazy.problem()
        };
        assert_eq!(Lazy::default().problem(), None);
        assert!(problem().unwrap().starts_with("failed to read `"));
        fs::write(&path, "<!doctype html>").unwrap();
        assert!(problem().unwrap().ends_with("is no WebAssembly component"));
        fs::write(&path, b"\0asm").unwrap();
        assert!(problem().is_some());
        fs::remove_file(&path).unwrap();
        // Nobody writes to it.
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RUSR).unwrap();
        assert!(problem().unwrap().ends_with("is no regular file"));
        fs::remove_file(&path).unwrap();
        fs::write(&path, [&PREAMBLE[..], b"rest"].concat()).unwrap();
        assert_eq!(problem(), None);

        let lazy = Lazy::default();
        lazy.waits(Source::file(&path));
        assert_eq!(lazy.problem(), None);
        let then = lazy.stamp();
        let (digest, timeout) = (String::new(), Duration::ZERO);
        lazy.refused(&StageError::CompileTimeout { digest, timeout }, then);
        assert_eq!(lazy.problem(), None, "the next call may do better");
        lazy.refused(&StageError::NotAComponent { found: "text" }, then);
        for _ in 0..2 {
            assert!(lazy.problem().unwrap().ends_with("found text"));
        }
        fs::write(&path, [&PREAMBLE[..], b"other"].concat()).unwrap();
        fs::rename(&path, temp.path().join("y.wasm")).unwrap();
        fs::write(&path, [&PREAMBLE[..], b"mended"].concat()).unwrap();
        lazy.lock().as_mut().unwrap().looked = None;
        assert_eq!(lazy.problem(), None);
        // It was mended while what it was before was tried.
        lazy.refused(&StageError::NotAComponent { found: "text" }, then);
        assert_eq!(lazy.problem(), None);
    }
}
