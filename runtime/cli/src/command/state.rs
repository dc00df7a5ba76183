//! Where running hosts leave their addresses and tokens, for the commands of the same user.
//!
//! One file for each control plane, `hosts/ADDRESS.json` below the state directory, with mode 0600 in
//! a directory of mode 0700. The host holds a lock on its file for as long as it lives, which no other
//! process can have in its name: a file without the lock was left by a host that was killed. Commands
//! pass over such a file, and the next host removes it.

use std::fs::{self, DirBuilder, File, Metadata, Permissions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::process::{Pid, geteuid, test_kill_process};
use serde_json::{Value, json};

/// Bytes of a host's file at most: an address, a token and a number take some 100.
const MAX_BYTES: u64 = 64 * 1024;

/// A host as its file tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Host {
    /// Where its control plane listens.
    pub(super) address: SocketAddr,
    /// What it wants to be shown.
    pub(super) token: String,
    /// Its process.
    pub(super) pid: u32,
}

/// The file of this process's host; dropping it removes it.
#[derive(Debug)]
pub(super) struct HostFile {
    path: PathBuf,
    /// Holds the lock.
    _file: File,
}

impl HostFile {
    /// Leaves the `address` and `token` of this process's host in `state_dir`.
    ///
    /// # Errors
    ///
    /// Those of the system; a directory of hosts that is not this user's own.
    pub(super) fn write(state_dir: &Path, address: SocketAddr, token: &str) -> io::Result<Self> {
        let dir = folder(state_dir);
        DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
        check_own(&dir)?;
        // It may be there with another mode; whoever can write to it can pass for a host.
        fs::set_permissions(&dir, Permissions::from_mode(0o700))?;
        sweep(&dir);
        let path = dir.join(format!("{address}.json"));
        // Made with mode 0600, and under a name that counts when it is whole and locked.
        let mut file = tempfile::NamedTempFile::new_in(&dir)?;
        // A file system without locks says so; then the process's number has to do.
        let is_locked = file.as_file().try_lock().is_ok();
        let host = json!({
            "address": address.to_string(),
            "token": token,
            "pid": std::process::id(),
            "is_locked": is_locked,
        });
        file.write_all(format!("{host}\n").as_bytes())?;
        let file = file.persist(&path)?;
        Ok(Self { path, _file: file })
    }
}

impl Drop for HostFile {
    fn drop(&mut self) {
        // Left behind, it counts for nothing.
        let _ = fs::remove_file(&self.path);
    }
}

/// The hosts that run, by their files in `state_dir`, in the order of their addresses. A directory
/// that others could have written to has none.
pub(super) fn running(state_dir: &Path) -> Vec<Host> {
    let dir = folder(state_dir);
    if check_own(&dir).is_err() {
        return Vec::new();
    }
    let found = files(&dir).filter_map(|path| match look(&path) {
        Found::Running(host) => Some(host),
        Found::Left(_) | Found::Gone => None,
    });
    let mut hosts: Vec<_> = found.collect();
    hosts.sort_by_key(|host| host.address);
    hosts
}

/// What a file in the directory of hosts is.
enum Found {
    Running(Host),
    /// Nobody holds this file.
    Left(Metadata),
    /// It was removed meanwhile, or cannot be read.
    Gone,
}

fn look(path: &Path) -> Found {
    let Ok(metadata) = fs::symlink_metadata(path) else { return Found::Gone };
    // A link, a pipe or a large file was left by somebody else, and is not read.
    if !metadata.is_file() || metadata.len() > MAX_BYTES {
        return Found::Left(metadata);
    }
    let Ok(file) = File::open(path) else { return Found::Gone };
    let Ok(metadata) = file.metadata() else { return Found::Gone };
    let mut text = String::new();
    // What cannot be read is damaged.
    let _ = (&file).take(MAX_BYTES).read_to_string(&mut text);
    let Some((host, is_locked)) = Host::parse(&text) else { return Found::Left(metadata) };
    // Shared, so that two commands that look at once do not take each other for the host.
    let is_held = match file.try_lock_shared() {
        Ok(()) => false,
        Err(TryLockError::WouldBlock) => true,
        Err(TryLockError::Error(_)) => host.has_process(),
    };
    if is_held || !is_locked && host.has_process() {
        Found::Running(host)
    } else {
        Found::Left(metadata)
    }
}

/// Removes what hosts left that were killed. A failure leaves a file that counts for nothing.
fn sweep(dir: &Path) {
    for path in files(dir) {
        if let Found::Left(left) = look(&path) {
            // Another host may have put its file there meanwhile.
            let is_same = fs::symlink_metadata(&path).is_ok_and(|now| now.ino() == left.ino());
            if is_same {
                let _ = fs::remove_file(path);
            }
        }
    }
}

/// Whoever else could write to `dir` could pass for a host, and be sent components and read tokens.
fn check_own(dir: &Path) -> io::Result<()> {
    let metadata = fs::symlink_metadata(dir)?;
    let (owner, user) = (metadata.uid(), geteuid().as_raw());
    let problem = if metadata.is_symlink() {
        "is a symbolic link".to_owned()
    } else if !metadata.is_dir() {
        "is no directory".to_owned()
    } else if owner != user {
        format!("belongs to user {owner}, and this is user {user}")
    } else {
        return Ok(());
    };
    Err(io::Error::other(format!("`{}` {problem}", dir.display())))
}

impl Host {
    /// What the `text` of a file says, and whether its host could lock it.
    fn parse(text: &str) -> Option<(Self, bool)> {
        let json: Value = serde_json::from_str(text).ok()?;
        let text = |name| json[name].as_str();
        let host = Self {
            address: text("address")?.parse().ok()?,
            token: text("token")?.to_owned(),
            pid: u32::try_from(json["pid"].as_u64()?).ok()?,
        };
        Some((host, json["is_locked"].as_bool().unwrap_or(true)))
    }

    /// Whether there is a process with its number, which may be another one by now.
    fn has_process(&self) -> bool {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        // A process that may not be signalled is one all the same.
        pid.is_some_and(|pid| !matches!(test_kill_process(pid), Err(rustix::io::Errno::SRCH)))
    }
}

fn folder(state_dir: &Path) -> PathBuf {
    state_dir.join("hosts")
}

fn files(dir: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let paths = fs::read_dir(dir).into_iter().flatten().flatten().map(|file| file.path());
    paths.filter(|path| path.extension().is_some_and(|it| it == "json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn host_is_found_while_it_runs_and_its_file_is_private() {
        let temp = tempfile::tempdir().unwrap();
        let state = temp.path().join("state");
        assert!(running(&state).is_empty());
        let second = HostFile::write(&state, address("127.0.0.1:3002"), "two").unwrap();
        let first = HostFile::write(&state, address("127.0.0.1:3001"), "one").unwrap();
        let hosts = running(&state);
        let found: Vec<_> = hosts.iter().map(|it| (it.address.port(), it.token.as_str())).collect();
        assert_eq!(found, [(3001, "one"), (3002, "two")]);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&folder(&state)), mode(&first.path)), (0o700, 0o600));
        drop(first);
        assert_eq!(running(&state).len(), 1);
        drop(second);
        assert_eq!(fs::read_dir(folder(&state)).unwrap().count(), 0);
    }

    #[test]
    fn file_of_a_host_that_was_killed_counts_for_nothing_and_goes() {
        let temp = tempfile::tempdir().unwrap();
        let dir = folder(temp.path());
        fs::create_dir(&dir).unwrap();
        // The number of its process is that of another one by now.
        let left = dir.join("127.0.0.1:3001.json");
        let text = json!({
            "address": "127.0.0.1:3001",
            "token": "x",
            "pid": std::process::id(),
            "is_locked": true,
        });
        fs::write(&left, text.to_string()).unwrap();
        fs::write(dir.join("127.0.0.1:9.json"), "damaged").unwrap();
        std::os::unix::fs::symlink("/dev/zero", dir.join("127.0.0.1:8.json")).unwrap();
        fs::File::create(dir.join("127.0.0.1:7.json")).unwrap().set_len(100 << 30).unwrap();
        assert!(running(temp.path()).is_empty());
        let file = HostFile::write(temp.path(), address("127.0.0.1:3002"), "y").unwrap();
        assert!(!left.exists());
        let files: Vec<_> = fs::read_dir(&dir).unwrap().map(|it| it.unwrap().path()).collect();
        assert_eq!(files, std::slice::from_ref(&file.path));
    }

    #[test]
    fn host_without_a_lock_is_known_by_its_process() {
        let temp = tempfile::tempdir().unwrap();
        let dir = folder(temp.path());
        fs::create_dir(&dir).unwrap();
        let write = |port: u16, pid: u32| {
            let address = format!("127.0.0.1:{port}");
            let text = json!({ "address": address, "token": "x", "pid": pid, "is_locked": false });
            fs::write(dir.join(format!("{address}.json")), text.to_string()).unwrap();
        };
        // No process has the number of one that was waited for, for a while.
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        write(1, child.id());
        write(2, std::process::id());
        let ports: Vec<_> = running(temp.path()).iter().map(|host| host.address.port()).collect();
        assert_eq!(ports, [2]);
    }

    #[test]
    fn directory_of_hosts_that_leads_elsewhere_is_not_used() {
        let temp = tempfile::tempdir().unwrap();
        let (state, elsewhere) = (temp.path().join("state"), temp.path().join("elsewhere"));
        fs::create_dir(&state).unwrap();
        fs::create_dir(&elsewhere).unwrap();
        fs::set_permissions(&elsewhere, Permissions::from_mode(0o755)).unwrap();
        std::os::unix::fs::symlink(&elsewhere, folder(&state)).unwrap();
        let error = HostFile::write(&state, address("127.0.0.1:3001"), "x").unwrap_err();
        assert!(error.to_string().ends_with("hosts` is a symbolic link"), "{error}");
        let mode = fs::metadata(&elsewhere).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode, fs::read_dir(&elsewhere).unwrap().count()), (0o755, 0));
        assert!(running(&state).is_empty());
    }
}
