//! Runs the binary: to its end, or as a server that tells events.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use wrt_test_support::guests;
use wrt_test_support::process::{Event, Ready, ServerProcess};

/// `wrt` with arguments, and without what the machine's own settings would change.
pub(crate) fn wrt<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
    // Under `nohup`, SIGHUP is ignored by all that is started, and `wrt` goes by that.
    let mut command = Command::new("env");
    command.args(["--default-signal=HUP", env!("CARGO_BIN_EXE_wrt")]);
    command.args(arguments).stdin(Stdio::null()).env_remove("WRT_LOG").env_remove("NO_COLOR");
    // Not the user's, and shared by the tests as it is by a user's processes.
    let shared = Path::new(env!("CARGO_TARGET_TMPDIR"));
    command.env("XDG_CACHE_HOME", shared.join("cache"));
    // A host begins with what an earlier one of the same project confirmed, so each has its own.
    // A new name is enough: wrt makes the directory when it needs one.
    let own = tempfile::tempdir_in(shared).unwrap().path().to_owned();
    command.env("XDG_STATE_HOME", own);
    command
}

/// How a command ended, and what it said.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs `command` to its end.
pub(crate) fn run(command: &mut Command) -> Ended {
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ended { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// Starts `wrt COMMAND PATH` with `flags` on a free port, with events and without a control plane. A
/// first build may take longer than a request waits for it, so a test of `dev` waits for the first
/// swap before it asks.
pub(crate) fn start(command: &str, path: &Path, flags: &[&str]) -> ServerProcess {
    let mut wrt = wrt([command, "--json", "--listen", "127.0.0.1:0", "--admin", "off"]);
    wrt.arg(path).args(flags).env("CARGO_TARGET_DIR", guest_target_dir());
    ServerProcess::start(wrt, Ready::WRT).unwrap()
}

/// The guests' own target directory, so that what they depend on is compiled once for all.
pub(crate) fn guest_target_dir() -> PathBuf {
    guests::target_dir().join("guests")
}

/// Waits for the next event `name` of `handler` after the first `from` events.
pub(crate) fn wait(server: &ServerProcess, handler: &str, name: &str, from: usize) -> Event {
    let what = format!("`{name}` of `{handler}`");
    let found =
        server.wait_for(&what, from, |event| event.is(name) && event.text("handler") == handler);
    found.unwrap()
}

/// How many events `name` of `handler` there were after the first `from` events.
pub(crate) fn count(server: &ServerProcess, handler: &str, name: &str, from: usize) -> usize {
    let events = server.events(from);
    events.iter().filter(|event| event.is(name) && event.text("handler") == handler).count()
}

/// A server whose signals and end are of interest, rather than its events.
pub(crate) struct Signalled {
    child: Child,
    /// Its standard error, unless that was closed or is a file.
    stderr: Option<BufReader<ChildStderr>>,
    pub(crate) address: SocketAddr,
}

impl Signalled {
    /// Starts `command`, which serves, and waits until it says where.
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        stderr.read_line(&mut line).unwrap();
        let address = address(&line).unwrap_or_else(|| panic!("found {line:?}"));
        Self { child, stderr: Some(stderr), address }
    }

    /// Starts `command`, which writes events to a pipe, and waits until they say where it serves.
    pub(crate) fn start_by_events(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        // Byte by byte, so that what follows stays in the pipe.
        let stdout = child.stdout.as_mut().unwrap();
        while !line.ends_with('\n') {
            let mut byte = [0];
            stdout.read_exact(&mut byte).unwrap();
            line.push(char::from(byte[0]));
        }
        let event: serde_json::Value = serde_json::from_str(&line).unwrap();
        let url = event["url"].as_str().and_then(|url| url.strip_prefix("http://"));
        let address = url.unwrap_or_else(|| panic!("found {line:?}")).parse().unwrap();
        Self { child, stderr: None, address }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Signals until it has ended: a second signal that comes soon after the first one counts as the same.
    /// Returns the exit status.
    pub(crate) fn stop_at_once(&mut self) -> Option<i32> {
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            self.signal(Signal::TERM);
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Its standard output, which the command made a pipe.
    pub(crate) fn stdout(&mut self) -> ChildStdout {
        self.child.stdout.take().unwrap()
    }

    /// Nobody reads its standard error from now on.
    pub(crate) fn close_stderr(&mut self) {
        self.stderr = None;
    }

    /// Reads standard error up to a line with `words`, which is returned.
    pub(crate) fn wait_for_line(&mut self, words: &str) -> String {
        let mut line = String::new();
        while !line.contains(words) {
            line.clear();
            let n = self.stderr.as_mut().unwrap().read_line(&mut line).unwrap();
            assert_ne!(n, 0, "no line with `{words}`");
        }
        line
    }

    /// Reads standard error to its end.
    pub(crate) fn rest(&mut self) -> String {
        let mut rest = String::new();
        self.stderr.as_mut().unwrap().read_to_string(&mut rest).unwrap();
        rest
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    /// Waits for its end without closing its streams before. Returns the exit status.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        // `Child::wait` closes standard input only.
        self.child.wait().unwrap().code()
    }
}

/// Where a host listens whose first line is `line`.
fn address(line: &str) -> Option<SocketAddr> {
    line.trim_end().strip_prefix("listening on http://")?.parse().ok()
}

impl Drop for Signalled {
    fn drop(&mut self) {
        // Of a failed test; one that has ended cannot be killed, and need not be.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
