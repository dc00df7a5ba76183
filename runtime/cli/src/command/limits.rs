//! The process's own limits, raised as far as they may be.

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
