//! A first component that waits for a call: what is known of it before, and its loading then.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use super::ending::Stop;
use super::task::Task;
use super::{Answer, Guest, Swap, SwapRequest};
use crate::artifact::Source;
use crate::error::chain;
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
type Stamp = (u64, u64, Option<SystemTime>);

impl Lazy {
    /// `source` waits for a call from now on.
    pub(super) fn waits(&self, source: Source) {
        *self.lock() = Some(Waiting { source, refused: None, looked: None });
    }

    /// What waits for a call.
    pub(super) fn source(&self) -> Option<Source> {
        self.lock().as_ref().map(|waiting| waiting.source.clone())
    }

    /// What waits was refused for the reason `why`.
    pub(super) fn refused(&self, why: String) {
        if let Some(waiting) = self.lock().as_mut() {
            waiting.refused = Some((why, stamp(&waiting.source)));
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
    let failed = |error| format!("failed to read `{}`: {error}", path.display());
    let mut start = [0; PREAMBLE.len()];
    let n = File::open(path)
        .and_then(|file| {
            let mut n = 0;
            // A read may give less than there is.
            let mut file = file.take(PREAMBLE.len() as u64);
            while n < start.len() {
                match file.read(&mut start[n..])? {
                    0 => break,
                    more => n += more,
                }
            }
            Ok(n)
        })
        .map_err(failed)?;
    match start[..n] == PREAMBLE {
        true => Ok(()),
        false => Err(format!("`{}` is no WebAssembly component", path.display())),
    }
}

impl<G: Guest> Task<G> {
    /// A lazy request waits for the first call, and is tried again for the next one when it was
    /// refused: its file may have been mended.
    pub(super) async fn swap_when_wanted(&mut self, request: SwapRequest, stop: &Stop) -> Answer {
        let mut outcome = None;
        while request.is_lazy && self.handler.serving().is_none() {
            // Cancel-safe: nothing is taken from either.
            tokio::select! {
                biased;
                () = stop.handler.cancelled() => break,
                () = self.mailbox.waiting() => {
                    return outcome.unwrap_or(Ok(Swap::Superseded));
                }
                () = self.handler.active().wanted() => {}
            }
            match self.swap(request.clone(), stop).await {
                Ok(swap) => return Ok(swap),
                Err(rejected) => {
                    self.told.lazy.refused(chain(&rejected.source));
                    self.handler.active().refuse_waiting(Obstacle::of(&rejected.source));
                    outcome = Some(Err(rejected));
                }
            }
        }
        match outcome {
            Some(outcome) => outcome,
            None => self.swap(request, stop).await.inspect_err(|rejected| {
                self.handler.active().obstruct(Obstacle::of(&rejected.source));
            }),
        }
    }
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
        fs::write(&path, [&PREAMBLE[..], b"rest"].concat()).unwrap();
        assert_eq!(problem(), None);

        let lazy = Lazy::default();
        lazy.waits(Source::file(&path));
        assert_eq!(lazy.problem(), None);
        lazy.refused("it does not fit".to_owned());
        for _ in 0..2 {
            assert_eq!(lazy.problem().unwrap(), "it does not fit");
        }
        fs::write(&path, [&PREAMBLE[..], b"other"].concat()).unwrap();
        fs::rename(&path, temp.path().join("y.wasm")).unwrap();
        fs::write(&path, [&PREAMBLE[..], b"mended"].concat()).unwrap();
        lazy.lock().as_mut().unwrap().looked = None;
        assert_eq!(lazy.problem(), None);
    }
}
