//! The file descriptors that connections may use, and those that they leave to others.

use std::os::fd::{AsFd, AsRawFd as _};

use rustix::process::{Resource, getrlimit};

/// Descriptors that connections of the data plane leave to others: the control plane, files of components,
/// caches and histories, outgoing requests. Where the process has few, an eighth of them.
const KEPT_BACK: u64 = 64;
const KEPT_PART: u64 = 8;

/// How many descriptors connections may use.
#[derive(Debug, Clone, Copy)]
pub(super) struct Descriptors {
    /// The process's own limit, if it has one.
    limit: Option<u64>,
    /// Those at its end that are kept back.
    kept_back: u64,
}

impl Descriptors {
    /// For connections that leave some to others.
    pub(super) fn of_data_plane() -> Self {
        let limit = getrlimit(Resource::Nofile).current;
        let kept_back = limit.map_or(0, |limit| KEPT_BACK.min(limit / KEPT_PART));
        Self { limit, kept_back }
    }

    /// For connections that may use all there are.
    pub(super) fn all() -> Self {
        Self { limit: None, kept_back: 0 }
    }

    pub(super) fn limit(self) -> Option<u64> {
        self.limit
    }

    /// Whether the descriptors that are kept back are free, given that `newest` is the last one that was
    /// opened: the system gives out the lowest number that is free.
    pub(super) fn are_enough(self, newest: impl AsFd) -> bool {
        let newest = u64::try_from(newest.as_fd().as_raw_fd()).unwrap_or(0);
        self.limit.is_none_or(|limit| newest < limit - self.kept_back)
    }

    /// [`are_enough`](Self::are_enough) now, for whoever has had `any` open for a while.
    pub(super) fn are_enough_again(self, any: impl AsFd) -> bool {
        // At the limit, there is none to look with.
        rustix::io::fcntl_dupfd_cloexec(any, 0).is_ok_and(|newest| self.are_enough(newest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_at_the_end_are_kept_back() {
        let file = std::fs::File::open("/dev/null").unwrap();
        let number = u64::try_from(file.as_raw_fd()).unwrap();
        let with = |limit, kept_back| Descriptors { limit: Some(limit), kept_back };
        assert!(with(number + 2, 1).are_enough(&file));
        assert!(!with(number + 1, 1).are_enough(&file));
        assert!(Descriptors::all().are_enough(&file));
        // Nothing else opens so many between the two.
        assert!(with(number + 2000, 1000).are_enough_again(&file));
        assert!(!with(1, 1).are_enough_again(&file));
    }
}
