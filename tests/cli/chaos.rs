//! Mishaps of hosts under swaps and rollbacks: what was confirmed serves after each of them.
//!
//! `WRT_CHAOS_ROUNDS=100` makes a night of it, and `WRT_CHAOS_SEED` another one.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use rustix::process::Signal;
use tempfile::TempDir;
use wrt::Digest;
use wrt_test_support::files::WriteStyle;
use wrt_test_support::guests;

use crate::binary::{Ended, Signalled, run, wrt};
use crate::client::Client;
use crate::project::Project;

/// Rounds of an ordinary run of the tests: each mishap once.
const ROUNDS: usize = Mishap::ALL.len();

/// Swaps and rollbacks of a round.
const CHANGES: u64 = 3;

/// KiB that a file of a host has at most in a round with a full disk: less than the component has, so
/// that it can neither be kept nor compiled into the cache, and more than the host wants beside.
const FULL: u64 = 1024;

/// What ends a round, or spoils it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mishap {
    /// The host is killed in the middle of a swap.
    Killed,
    /// The component's file is gone when the host starts again.
    Missing,
    /// Large files cannot be written while this host runs.
    Full,
    /// Another host of the same project is started, and killed.
    Second,
    /// The host is stopped in order.
    Restarted,
}

impl Mishap {
    const ALL: [Self; 5] = [Self::Killed, Self::Missing, Self::Full, Self::Second, Self::Restarted];
}

/// A project, its user's state, and what the operator was told.
struct Night {
    project: Project,
    state: TempDir,
    component: Vec<u8>,
    number: u64,
    random: u64,
    /// What may serve after the next start: the version that was confirmed last, and whatever the operator
    /// was warned may come back, or was not told about.
    expected: BTreeSet<String>,
}

fn night() -> Night {
    let project = Project::empty();
    let component = fs::read(guests::guest("trap").unwrap()).unwrap();
    assert!(component.len() as u64 > FULL * 1024, "the component fits where the disk is full");
    project.write(
        "wrt.toml",
        "[host]\nexpose_generation = true\n[handler.h]\nsource = 'h.wasm'\nroute = '/*'\n",
    );
    fs::write(project.path("h.wasm"), &component).unwrap();
    let seed = env::var("WRT_CHAOS_SEED").ok().map_or(1, |seed| seed.parse().unwrap());
    let expected = BTreeSet::from([short(&component)]);
    let state = tempfile::tempdir().unwrap();
    Night { project, state, component, number: 0, random: seed, expected }
}

fn short(component: &[u8]) -> String {
    Digest::of(component).short().to_string()
}

impl Night {
    /// The next of some numbers below `n` that the seed decides.
    fn below(&mut self, n: u64) -> u64 {
        // Knuth's multiplier; the high bits are the random ones.
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.random >> 33) % n
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = wrt(arguments);
        command.env("XDG_STATE_HOME", self.state.path()).current_dir(self.state.path());
        command
    }

    /// Starts a host of the project, and returns it when it serves.
    fn start(&self, is_full: bool) -> Signalled {
        let mut command = self.command(&["serve", "--listen", ":0", "--admin", ":0"]);
        command.arg(self.project.root());
        if is_full {
            limit_files(&mut command);
        }
        let mut host = Signalled::start(command);
        host.wait_for_line("control plane on ");
        host
    }

    /// What serves at `host`.
    fn serving(host: &Signalled) -> String {
        let answer = Client::connect(host.address).get("/");
        assert_eq!((answer.status, answer.body.as_str()), (200, "ok"));
        answer.served_by().unwrap().digest.to_string()
    }

    /// A component that was never there before, in a file of its own.
    fn candidate(&mut self) -> (PathBuf, Vec<u8>) {
        self.number += 1;
        let bytes = guests::variant(&self.component, self.number);
        let path = self.project.path("next.wasm");
        fs::write(&path, &bytes).unwrap();
        (path, bytes)
    }

    /// The operator replaces the component, and the file that a start begins with.
    fn swap(&mut self, host: &Signalled) {
        let (path, bytes) = self.candidate();
        let ended = run(&mut self.command(&["swap", "h", path.to_str().unwrap()]));
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        WriteStyle::Rename.write(&self.project.path("h.wasm"), &bytes).unwrap();
        assert_eq!(Self::serving(host), short(&bytes));
        self.confirmed(short(&bytes), &ended);
    }

    /// The operator was told that `digest` is confirmed: a restart begins with it, unless a warning says
    /// that it could not be kept.
    fn confirmed(&mut self, digest: String, told: &Ended) {
        if !told.stderr.contains("warning:") {
            self.expected.clear();
        }
        self.expected.insert(digest);
    }

    /// The operator goes back. The host may have nothing to go back to, and says so.
    fn rollback(&mut self, host: &Signalled) {
        let ended = run(&mut self.command(&["rollback", "h"]));
        match ended.code {
            Some(0) => self.confirmed(Self::serving(host), &ended),
            Some(1) => assert!(ended.stderr.contains("generation"), "{}", ended.stderr),
            code => panic!("ended with {code:?}: {}", ended.stderr),
        }
    }

    fn round(&mut self, mishap: Mishap) {
        let file = self.project.path("h.wasm");
        let aside = self.project.path("aside.wasm");
        if mishap == Mishap::Missing {
            fs::rename(&file, &aside).unwrap();
        }
        let mut host = self.start(mishap == Mishap::Full);
        let serving = Self::serving(&host);
        assert!(self.expected.contains(&serving), "{serving} and not {:?}", self.expected);
        if mishap == Mishap::Missing {
            fs::rename(&aside, &file).unwrap();
        }
        for _ in 0..CHANGES {
            // A rollback makes the file's bytes ones that are refused.
            if self.below(3) == 0 {
                self.rollback(&host)
            } else {
                self.swap(&host)
            }
            let serving = Self::serving(&host);
            assert!(self.expected.contains(&serving), "{serving} and not {:?}", self.expected);
        }
        match mishap {
            Mishap::Killed => {
                let (path, bytes) = self.candidate();
                let mut command = self.command(&["swap", "h", path.to_str().unwrap()]);
                let quiet = command.stdout(Stdio::null()).stderr(Stdio::null());
                let mut swap = quiet.spawn().unwrap();
                host.signal(Signal::KILL);
                if swap.wait().unwrap().success() {
                    self.expected = BTreeSet::from([short(&bytes)]);
                } else {
                    self.expected.insert(short(&bytes));
                }
                assert_eq!(host.wait(), None);
                return;
            }
            Mishap::Second => {
                let mut command = self.command(&["serve", "--listen", ":0", "--admin", "off"]);
                command.arg(self.project.root()).stderr(Stdio::piped());
                let mut second = command.spawn().unwrap();
                let mut said = String::new();
                // Whether it serves or is refused, it says so.
                BufReader::new(second.stderr.take().unwrap()).read_line(&mut said).unwrap();
                assert_ne!(said, "");
                // It may have ended.
                let _ = second.kill();
                second.wait().unwrap();
                assert!(self.expected.contains(&Self::serving(&host)));
            }
            Mishap::Missing | Mishap::Full | Mishap::Restarted => {}
        }
        host.signal(Signal::TERM);
        assert_eq!(host.wait(), Some(0));
    }
}

#[test]
fn what_was_confirmed_serves_after_every_mishap() {
    let rounds = env::var("WRT_CHAOS_ROUNDS").ok().map_or(ROUNDS, |n| n.parse().unwrap());
    let mut night = night();
    night.round(Mishap::Restarted);
    for round in 0..rounds {
        night.round(Mishap::ALL[round % Mishap::ALL.len()]);
    }
    night.round(Mishap::Restarted);
}

/// Has `command` run where files have [`FULL`] KiB at most: a write beyond that fails, as on a disk
/// without room, and comes with a signal that ends whoever does not expect it.
fn limit_files(command: &mut Command) {
    let mut limited = Command::new("bash");
    limited.arg("-c").arg(format!("ulimit -f {FULL} && exec \"$0\" \"$@\""));
    limited.arg(command.get_program()).args(command.get_args()).stdin(Stdio::null());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => limited.env(name, value),
            None => limited.env_remove(name),
        };
    }
    if let Some(dir) = command.get_current_dir() {
        limited.current_dir(dir);
    }
    *command = limited;
}
