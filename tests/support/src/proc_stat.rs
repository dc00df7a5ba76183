//! What the kernel says a process holds: resident memory, open files, threads.

use std::fs;

use anyhow::{Context as _, Result};

/// One look at a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcStat {
    /// Resident memory in bytes.
    pub rss: u64,
    /// Open file descriptors.
    pub n_files: usize,
    /// Threads.
    pub n_threads: usize,
}

impl ProcStat {
    /// Looks at process `pid` now.
    ///
    /// # Errors
    ///
    /// When there is no such process, or it belongs to somebody else.
    pub fn of(pid: u32) -> Result<Self> {
        let path = format!("/proc/{pid}/status");
        let status =
            fs::read_to_string(&path).with_context(|| format!("failed to read `{path}`"))?;
        let files = format!("/proc/{pid}/fd");
        let n_files =
            fs::read_dir(&files).with_context(|| format!("failed to read `{files}`"))?.count();
        Ok(Self {
            // The kernel's unit is always `kB`, meaning KiB.
            rss: field(&status, "VmRSS:")? * 1024,
            n_files,
            n_threads: field(&status, "Threads:")? as usize,
        })
    }
}

/// The number behind `name` in the text of `/proc/PID/status`.
fn field(status: &str, name: &str) -> Result<u64> {
    status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
        .with_context(|| format!("expected a field `{name}` in the process status, found none"))
}

#[cfg(test)]
mod tests {
    use super::*;

    // Other tests of this process open files and start threads meanwhile, so a quiet child, which
    // waits for its closed standard input, is looked at.
    #[test]
    fn a_child_with_one_more_file_shows_one_more() {
        let look = |script: &str| {
            let mut child = std::process::Command::new("sh")
                .args(["-c", &format!("{script}; echo; read line")])
                .stdin(std::process::Stdio::piped())
                .stdout(std::process::Stdio::piped())
                .spawn()
                .unwrap();
            let mut line = String::new();
            let stdout = child.stdout.take().unwrap();
            std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).unwrap();
            let stat = ProcStat::of(child.id()).unwrap();
            drop(child.stdin.take());
            child.wait().unwrap();
            stat
        };
        let (plain, one_more) = (look(":"), look("exec 7</dev/null"));
        assert_eq!(one_more.n_files, plain.n_files + 1);
        assert_eq!(plain.n_threads, 1);
        assert!(plain.rss > 0);
    }

    #[test]
    fn missing_process_is_an_error_that_names_it() {
        // Process 0 never appears under `/proc`.
        assert!(ProcStat::of(0).unwrap_err().to_string().contains("/proc/0/status"));
    }
}
