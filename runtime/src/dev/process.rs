//! Runs a child in a process group of its own, and leaves nothing of it behind.

use std::ffi::OsStr;
use std::io;
use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};
use tokio::time::Instant;

use super::reap::reap_aside;

/// How long output is still read after the child has ended. What it wrote is in the pipe already;
/// only a process that it left behind could hold the pipe open longer.
const LAST_WORDS: Duration = Duration::from_millis(50);
/// Bytes read at a time: the size of a pipe.
const CHUNK: usize = 64 * 1024;

/// The programs that builds run, by name or path.
#[derive(Debug, Clone)]
pub(super) struct Tools {
    pub(super) cargo: PathBuf,
    pub(super) rustc: PathBuf,
    pub(super) rustup: PathBuf,
}

impl Default for Tools {
    fn default() -> Self {
        Self { cargo: "cargo".into(), rustc: "rustc".into(), rustup: "rustup".into() }
    }
}

/// Kills a process group when it goes out of scope. By then it is known how its leader ended, or
/// nobody wants to know any more.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.0 {
            // It fails when nothing is left of the group, which is what is wanted.
            let _ = kill_process_group(leader, Signal::KILL);
            reap_aside(leader);
        }
    }
}

/// A command in `dir` that reads nothing and whose output is ours.
pub(super) fn command(program: impl AsRef<OsStr>, dir: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(dir);
    command
}

/// Which output a piece of text came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    Stdout,
    Stderr,
}

/// How a run came back.
pub(super) enum Ran {
    /// The child has ended.
    Ended(ExitStatus),
    /// It has said enough, and is still ending.
    SaidEnough(Box<Rest>),
}

/// A child that has said enough. Dropping it kills the whole group.
pub(super) struct Rest {
    // Dropped in this order; see `run`.
    group: Group,
    child: Child,
    _pipes: (Option<ChildStdout>, Option<ChildStderr>),
}

/// How long a child may take to end after it has said enough: it has its work done.
const LAST_STEPS: Duration = Duration::from_secs(5);

impl Rest {
    /// Waits for the child's end, bounded.
    pub(super) async fn end(mut self: Box<Self>) {
        // What it says or how it ends matters to nobody any more.
        let _ = tokio::time::timeout(LAST_STEPS, self.child.wait()).await;
        drop(self.group);
    }
}

/// Runs `command` to its end, and gives its output to `on_output` piece by piece.
///
/// Cancel-safe: dropping the future kills the whole group.
pub(super) async fn run(
    command: &mut Command,
    mut on_output: impl FnMut(Stream, &[u8]),
) -> io::Result<ExitStatus> {
    let ran = run_until(command, |stream, piece| {
        on_output(stream, piece);
        ControlFlow::Continue(())
    });
    match ran.await? {
        Ran::Ended(status) => Ok(status),
        Ran::SaidEnough(mut rest) => rest.child.wait().await,
    }
}

/// [`run`], until `on_output` has heard enough.
///
/// Cancel-safe: as `run`.
pub(super) async fn run_until(
    command: &mut Command,
    mut on_output: impl FnMut(Stream, &[u8]) -> ControlFlow<()>,
) -> io::Result<Ran> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()?;
    // The group has the number of its leader. Declared after `child`, hence dropped before it: a
    // cancelled group is killed while its leader is not reaped and the number still its own.
    let group = Group(child.id().and_then(|id| Pid::from_raw(id.cast_signed())));
    let (mut stdout, mut stderr) = (child.stdout.take(), child.stderr.take());
    let (mut out, mut err) = (vec![0; CHUNK], vec![0; CHUNK]);
    let mut status = None;
    let mut until = Instant::now();
    while stdout.is_some() || stderr.is_some() || status.is_none() {
        tokio::select! {
            n = read(&mut stdout, &mut out), if stdout.is_some() => match n {
                0 => stdout = None,
                n => if on_output(Stream::Stdout, &out[..n]).is_break() {
                    // What was said before that on the other pipe may not have been read yet.
                    let n = stderr.as_ref().map_or(0, |pipe| read_now(pipe, &mut err));
                    let _ = on_output(Stream::Stderr, &err[..n]);
                    return Ok(Ran::SaidEnough(Box::new(Rest { group, child, _pipes: (stdout, stderr) })));
                },
            },
            n = read(&mut stderr, &mut err), if stderr.is_some() => match n {
                0 => stderr = None,
                n => if on_output(Stream::Stderr, &err[..n]).is_break() {
                    return Ok(Ran::SaidEnough(Box::new(Rest { group, child, _pipes: (stdout, stderr) })));
                },
            },
            ended = child.wait(), if status.is_none() => {
                status = Some(ended?);
                until = Instant::now() + LAST_WORDS;
            }
            () = tokio::time::sleep_until(until), if status.is_some() => {
                // On a busy machine, the child's own last words may still be there.
                let n = stdout.as_ref().map_or(0, |pipe| read_now(pipe, &mut out));
                let _ = on_output(Stream::Stdout, &out[..n]);
                let n = stderr.as_ref().map_or(0, |pipe| read_now(pipe, &mut err));
                let _ = on_output(Stream::Stderr, &err[..n]);
                break;
            }
        }
    }
    drop(group);
    // The loop ends only with a status; waiting again gives the same one.
    Ok(Ran::Ended(match status {
        Some(status) => status,
        None => child.wait().await?,
    }))
}

/// Reads a piece; 0 at the end, which a failing pipe is taken for.
async fn read(pipe: &mut Option<impl AsyncRead + Unpin>, chunk: &mut [u8]) -> usize {
    match pipe {
        Some(pipe) => pipe.read(chunk).await.unwrap_or(0),
        None => 0,
    }
}

/// Reads what is in `pipe` already, without waiting; 0 when there is nothing. The pipe is one that
/// does not block, as all of tokio's are.
fn read_now(pipe: &impl AsFd, chunk: &mut [u8]) -> usize {
    rustix::io::read(pipe, chunk).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_said_on_the_other_pipe_before_enough_was_said_is_heard() {
        let dir = tempfile::tempdir().unwrap();
        for _ in 0..20 {
            let mut command = command("sh", dir.path());
            command.args(["-c", "echo before >&2; echo enough; sleep 1000"]);
            let mut heard = Vec::new();
            let on_output = |stream, piece: &[u8]| match stream {
                Stream::Stdout => ControlFlow::Break(()),
                Stream::Stderr => {
                    heard.extend_from_slice(piece);
                    ControlFlow::Continue(())
                }
            };
            drop(run_until(&mut command, on_output).await.unwrap());
            assert_eq!(heard, b"before\n");
        }
    }

    #[tokio::test]
    async fn what_has_said_enough_ends_by_itself() {
        let dir = tempfile::tempdir().unwrap();
        let mut command = command("sh", dir.path());
        command.args(["-c", "echo enough; sleep 0.01; echo more > file"]);
        let ran = run_until(&mut command, |_, _| ControlFlow::Break(())).await.unwrap();
        let Ran::SaidEnough(rest) = ran else { panic!("it ended before it said anything") };
        rest.end().await;
        assert!(dir.path().join("file").is_file(), "it was not left to its end");
    }

    async fn shell(script: &str, dir: &Path) -> (ExitStatus, String) {
        let mut out = Vec::new();
        let mut command = command("sh", dir);
        command.args(["-c", script]);
        let status = run(&mut command, |_, piece| out.extend_from_slice(piece)).await.unwrap();
        (status, String::from_utf8(out).unwrap())
    }

    #[tokio::test]
    async fn output_and_status_are_those_of_the_child() {
        let dir = tempfile::tempdir().unwrap();
        let (status, out) = shell("echo one; echo two; exit 3", dir.path()).await;
        assert_eq!((status.code(), out.as_str()), (Some(3), "one\ntwo\n"));
    }

    #[tokio::test]
    async fn a_background_process_neither_holds_us_up_nor_survives() {
        let dir = tempfile::tempdir().unwrap();
        let (status, out) = shell("sleep 1000 & echo $!", dir.path()).await;
        assert!(status.success());
        let pid = out.trim().to_owned();
        wait_until_dead(&pid).await;
    }

    // With further threads, because one that is busy does not see the time pass.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn last_words_are_heard_by_who_is_late() {
        let dir = tempfile::tempdir().unwrap();
        for _ in 0..10 {
            let mut command = command("sh", dir.path());
            command.args(["-c", "sleep 1000 & echo 1; sleep 0.02; echo 2; echo 3 >&2"]);
            let mut n_heard = 0;
            let on_output = |_, piece: &[u8]| {
                n_heard += piece.len();
                // As on a machine that has other things to do.
                std::thread::sleep(2 * LAST_WORDS);
            };
            run(&mut command, on_output).await.unwrap();
            assert_eq!(n_heard, 6);
        }
    }

    #[tokio::test]
    async fn dropping_the_run_kills_the_grandchildren() {
        let dir = tempfile::tempdir().unwrap();
        let (sender, mut pids) = tokio::sync::mpsc::unbounded_channel();
        let mut command = command("sh", dir.path());
        command.args(["-c", "sh -c 'sleep 1000 & echo $!; wait'; true"]);
        let on_output = move |_, piece: &[u8]| {
            sender.send(String::from_utf8_lossy(piece).trim().to_owned()).unwrap();
        };
        let running = tokio::spawn(async move { run(&mut command, on_output).await });
        let pid = pids.recv().await.unwrap();
        running.abort();
        wait_until_dead(&pid).await;
    }

    /// Waits until the process is gone, or is only waiting to be reaped by its new parent.
    async fn wait_until_dead(pid: &str) {
        let alive = || {
            std::fs::read_to_string(format!("/proc/{pid}/stat"))
                .is_ok_and(|stat| !stat.contains(") Z "))
        };
        tokio::time::timeout(Duration::from_secs(30), async {
            while alive() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await
        .unwrap();
    }
}
