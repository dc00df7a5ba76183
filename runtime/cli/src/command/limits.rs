//! What the system lets the process have: open files, raised as far as they may be, and memory.

/// Bytes of memory that guests may use together on this machine: three quarters of what it has, or
/// of what the process's control group may use if that is less. The rest is for the host, for
/// compilations and for what the system keeps of files. `None` where the system does not tell.
pub(crate) fn guest_memory() -> Option<u64> {
    let machine = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| total(&text));
    let group = std::fs::read_to_string("/proc/self/cgroup").ok().and_then(|text| {
        let path = text.lines().find_map(|line| line.strip_prefix("0::/"))?;
        let max = format!("/sys/fs/cgroup/{path}/memory.max");
        // The word `max`, where there is no limit, is no number.
        std::fs::read_to_string(max).ok()?.trim().parse().ok()
    });
    let least = machine.into_iter().chain(group).min()?;
    Some(least / 4 * 3)
}

/// The machine's memory in bytes, as `/proc/meminfo` has it.
fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// Lets the process open as many files as the system allows it: each connection is one, and each
/// component with data in memory is one more. The usual limit of 1,024 is for programs that wait
/// with `select`.
#[cfg(unix)]
pub(crate) fn raise() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return;
    }
    // What was allowed before goes on to hold.
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        tracing::debug!(%error, "failed to raise the limit of open files");
    }
}

/// Elsewhere there is no such limit.
#[cfg(not(unix))]
pub(crate) fn raise() {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_of_the_machine_is_read_where_it_is_told() {
        assert_eq!(total("MemFree: 1 kB\nMemTotal:       24513464 kB\n"), Some(24_513_464 << 10));
        assert_eq!(total("MemFree: 1 kB\n"), None);
        assert_eq!(guest_memory().is_some(), cfg!(target_os = "linux"));
    }
}
