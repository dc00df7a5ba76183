//! Threads that give way to those that answer.

use std::io;

/// How much less than others a thread gets that gives way, when all want to run: a tenth, so that
/// answers come first, and its work still ends.
#[cfg(target_os = "linux")]
const NICE: i32 = 10;

/// Lowers the priority of this thread alone, which Linux allows and other systems do not.
///
/// # Errors
///
/// When the system does not allow it; the thread then runs like all others.
#[cfg(target_os = "linux")]
pub(crate) fn give_way() -> io::Result<()> {
    let thread = rustix::thread::gettid();
    Ok(rustix::process::setpriority_process(Some(thread), NICE)?)
}

/// Lowers the priority of this thread alone, which Linux allows and other systems do not.
///
/// # Errors
///
/// Always.
#[cfg(not(target_os = "linux"))]
pub(crate) fn give_way() -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
