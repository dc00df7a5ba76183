//! Signals: heard in a task of their own, so that nothing that the host does keeps them waiting.
//!
//! SIGINT and SIGTERM ask to end in order, the second of them to end at once. Those that come together
//! count as one. SIGHUP comes from a terminal that closes, or from somebody who wants the manifest read
//! again.

use std::future::Future;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::watch;

use crate::exit::ExitStatus;

/// Time after the first signal in which further ones ask for nothing more: GNU `timeout` signals its
/// child and then its group, and many a wrapper passes on what the terminal has told all.
const TOGETHER: Duration = Duration::from_secs(1);

/// What the signals so far ask for. A later one asks for more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Asked {
    /// Nothing.
    Nothing,
    /// To stop when the calls in flight have ended.
    Stop,
    /// To stop at once.
    StopNow,
}

/// What the host is told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    /// A signal asks for this, and none before did.
    Asked(Asked),
    /// SIGHUP asks for the manifest to be read again.
    Reload,
}

/// Listens from its creation on, so that no signal is missed.
pub(crate) struct Signals {
    state: watch::Receiver<State>,
    seen: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct State {
    asked: Asked,
    reloads: u64,
}

impl Signals {
    /// Starts to listen. Without a manifest that could be read again, SIGHUP asks to stop. A process
    /// that does not stop when it is to do so at once is ended with `status`.
    pub(crate) fn listen(has_manifest: bool, status: ExitStatus) -> anyhow::Result<Self> {
        let start = State { asked: Asked::Nothing, reloads: 0 };
        let (tell, state) = watch::channel(start);
        platform::start(tell, has_manifest, status).context("failed to listen for signals")?;
        Ok(Self { state, seen: start })
    }

    /// Ready when a signal has asked to stop.
    pub(crate) fn stopped(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut state = self.state.clone();
        async move {
            // An error means that nobody listens any more, which is the end as well.
            let _ = state.wait_for(|state| state.asked >= Asked::Stop).await;
        }
    }

    /// Whether a signal has asked to stop, be it that nobody was told yet.
    pub(crate) fn has_asked_to_stop(&self) -> bool {
        self.state.borrow().asked >= Asked::Stop
    }

    /// Ready when there is something new.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when this is dropped.
    pub(crate) async fn next(&mut self) -> Heard {
        let seen = self.seen;
        match self.state.wait_for(|state| *state != seen).await {
            Ok(state) => {
                let now = *state;
                if now.asked > seen.asked {
                    self.seen.asked = now.asked;
                    return Heard::Asked(now.asked);
                }
                self.seen.reloads = now.reloads;
                Heard::Reload
            }
            // The task never ends while somebody listens.
            Err(_) => std::future::pending().await,
        }
    }
}

impl State {
    /// A signal asks to stop, so long after the first one that did.
    fn stop(&mut self, since_first: Duration) {
        self.asked = match self.asked {
            Asked::Nothing => Asked::Stop,
            Asked::Stop if since_first < TOGETHER => Asked::Stop,
            Asked::Stop | Asked::StopNow => Asked::StopNow,
        };
    }
}

#[cfg(unix)]
mod platform {
    use std::fs::File;
    use std::io::{self, IsTerminal as _};
    use std::time::{Duration, Instant};

    use rustix::process::Signal as Number;
    use tokio::signal::unix::{Signal, SignalKind, signal};
    use tokio::sync::watch;

    use super::{Asked, State};
    use crate::exit::ExitStatus;

    /// Time that the host gets to end at once before the process is ended for it, which only a
    /// system call that does not return can make necessary.
    const PATIENCE: Duration = Duration::from_secs(2);

    struct Signals {
        interrupt: Signal,
        terminate: Signal,
        hang_up: Option<Signal>,
        /// A file that has reached the limit of its size ends a process that does not listen.
        file_size: Signal,
    }

    pub(super) fn start(
        tell: watch::Sender<State>,
        has_manifest: bool,
        status: ExitStatus,
    ) -> io::Result<()> {
        let ignored = ignored();
        let mut signals = Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            // `nohup` has it ignored, and means it.
            hang_up: match ignored {
                true => None,
                false => Some(signal(SignalKind::hangup())?),
            },
            file_size: signal(SignalKind::from_raw(Number::XFSZ.as_raw()))?,
        };
        let before = Terminals::now();
        tokio::spawn(async move {
            let mut first = None;
            let mut stop = || {
                let since_first = first.get_or_insert_with(Instant::now).elapsed();
                tell.send_modify(|state| state.stop(since_first));
            };
            loop {
                let hang_up = async {
                    match &mut signals.hang_up {
                        Some(signal) => signal.recv().await,
                        None => std::future::pending().await,
                    }
                };
                // Cancel-safe: no signal is lost.
                tokio::select! {
                    () = tell.closed() => return,
                    _ = signals.interrupt.recv() => stop(),
                    _ = signals.terminate.recv() => stop(),
                    _ = hang_up => match has_manifest && !Terminals::now().is_gone(before) {
                        true => tell.send_modify(|state| state.reloads += 1),
                        false => stop(),
                    },
                    // The write has failed, and whoever wrote was told.
                    _ = signals.file_size.recv() => {}
                }
                if tell.borrow().asked == Asked::StopNow {
                    tokio::time::sleep(PATIENCE).await;
                    std::process::exit(status.code().into());
                }
            }
        });
        Ok(())
    }

    /// Which terminals the process has.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(super) struct Terminals {
        /// One that sends signals.
        pub(super) controlling: bool,
        /// One that people read messages on.
        pub(super) stderr: bool,
    }

    impl Terminals {
        fn now() -> Self {
            let controlling = File::open("/dev/tty").is_ok();
            Self { controlling, stderr: io::stderr().is_terminal() }
        }

        /// Whether one that there was `before` has been closed.
        pub(super) fn is_gone(self, before: Self) -> bool {
            before.controlling && !self.controlling || before.stderr && !self.stderr
        }
    }

    /// Whether SIGHUP was ignored when the process started. The standard library has no way to ask;
    /// where the system does not tell in a file, it counts as not ignored.
    fn ignored() -> bool {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        is_hang_up_ignored(&status)
    }

    pub(super) fn is_hang_up_ignored(status: &str) -> bool {
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        // Bit 0 stands for signal 1, which SIGHUP is.
        mask.is_some_and(|mask| mask & 1 == 1)
    }
}

/// Where there is no SIGTERM, only Ctrl-C.
#[cfg(not(unix))]
mod platform {
    use std::io;

    use std::time::Instant;

    use tokio::sync::watch;

    use super::State;
    use crate::exit::ExitStatus;

    pub(super) fn start(tell: watch::Sender<State>, _: bool, _: ExitStatus) -> io::Result<()> {
        tokio::spawn(async move {
            let mut first = None;
            while tokio::signal::ctrl_c().await.is_ok() {
                let since_first = first.get_or_insert_with(Instant::now).elapsed();
                tell.send_modify(|state| state.stop(since_first));
            }
            tell.closed().await;
        });
        Ok(())
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::platform::{Terminals, is_hang_up_ignored};
    use super::*;

    #[tokio::test]
    async fn each_demand_is_heard_once_and_the_last_is_to_stop_at_once() {
        let start = State { asked: Asked::Nothing, reloads: 0 };
        let (tell, state) = watch::channel(start);
        let mut signals = Signals { state, seen: start };
        tell.send_modify(|state| state.reloads += 1);
        assert_eq!(signals.next().await, Heard::Reload);
        let stop = |since_first| tell.send_modify(|state: &mut State| state.stop(since_first));
        stop(Duration::ZERO);
        signals.stopped().await;
        assert_eq!(signals.next().await, Heard::Asked(Asked::Stop));
        stop(TOGETHER / 2);
        assert_eq!(signals.state.borrow().asked, Asked::Stop, "they came together");
        stop(TOGETHER);
        stop(TOGETHER * 2);
        assert_eq!(signals.next().await, Heard::Asked(Asked::StopNow));
    }

    #[test]
    fn terminal_is_gone_when_there_was_one_before() {
        let with = |controlling, stderr| Terminals { controlling, stderr };
        let (both, none) = (with(true, true), with(false, false));
        assert!(none.is_gone(both) && with(true, false).is_gone(both));
        // A service manager's process never had one, and a message of another program takes none.
        assert!(!none.is_gone(none) && !both.is_gone(both));
    }

    #[test]
    fn hang_up_is_ignored_when_the_system_says_so() {
        assert!(is_hang_up_ignored("Name:\twrt\nSigIgn:\t0000000000001001\n"));
        assert!(!is_hang_up_ignored("SigIgn:\t0000000000001000\n"));
        assert!(!is_hang_up_ignored(""));
    }
}
