//! Takes in what is left of killed process groups, where wrt is the process that orphans come to.
//!
//! The first process of a container is that. Nobody else would wait for a build's grandchildren, and
//! each would stay in the process table.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{
    Pid, WaitOptions, child_subreaper, getpid, test_kill_process_group, waitpgid,
};

/// Between two looks at processes that were killed and are ending.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Longest time that a group is looked after. Only a process that cannot be interrupted, in a file
/// system that does not answer for example, takes that long.
const LIMIT: Duration = Duration::from_secs(10);

/// Waits, on a thread of its own, for the processes of a `group` that was killed. Does nothing where
/// orphans come to another process, which waits for them.
///
/// To be called when nobody is interested any more in how the group's leader ended.
pub(super) fn reap_aside(group: Pid) {
    let is_reaper = getpid().is_init() || matches!(child_subreaper(), Ok(Some(_)));
    if !is_reaper {
        return;
    }
    let started = thread::Builder::new().name("wrt-reaper".to_owned()).spawn(move || reap(group));
    if let Err(error) = started {
        tracing::debug!(%error, "dead processes of a build stay in the process table");
    }
}

fn reap(group: Pid) {
    let begun = Instant::now();
    loop {
        match waitpgid(group, WaitOptions::NOHANG) {
            Ok(Some(_)) | Err(Errno::INTR) => continue,
            // Some that are ending have not come to us yet. As long as the group has one of them, its
            // number is not given to another.
            Ok(None) | Err(_) => {}
        }
        let is_gone = test_kill_process_group(group).map_err(io::Error::from);
        if is_gone.is_err_and(|error| error.raw_os_error() == Some(Errno::SRCH.raw_os_error()))
            || begun.elapsed() > LIMIT
        {
            return;
        }
        thread::sleep(LOOK_EVERY);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rustix::process::set_child_subreaper;

    use super::*;
    use crate::dev::process::{command, run};

    /// Whether `pid` is in the process table, dead or alive.
    fn is_there(pid: &str) -> bool {
        Path::new("/proc").join(pid).exists()
    }

    #[tokio::test]
    async fn nothing_of_a_cancelled_group_stays_in_the_process_table() {
        // For this process what being the first one is for a container's.
        set_child_subreaper(Some(getpid())).unwrap();
        let dir = tempfile::tempdir().unwrap();
        for _ in 0..5 {
            let (sender, mut lines) = tokio::sync::mpsc::unbounded_channel();
            let mut command = command("sh", dir.path());
            command.args(["-c", "sh -c 'sleep 1000 & sleep 1000 & echo $! $$; wait'; true"]);
            let on_output = move |_, piece: &[u8]| {
                sender.send(String::from_utf8_lossy(piece).trim().to_owned()).unwrap();
            };
            let running = tokio::spawn(async move { run(&mut command, on_output).await });
            let line = lines.recv().await.unwrap();
            running.abort();
            let wait = async {
                while line.split(' ').any(is_there) {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(60), wait).await.expect("zombies stay");
        }
    }
}
