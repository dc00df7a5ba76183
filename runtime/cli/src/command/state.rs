//! Where running hosts leave their addresses and tokens, for the commands of the same user.
//!
//! One file for each control plane, `hosts/ADDRESS.json` below the state directory, with mode 0600 in
//! a directory of mode 0700. It goes with its host; one that is left by a host that was killed counts
//! for nothing, and the next host removes it.

use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::process::{Pid, test_kill_process};
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
}

impl HostFile {
    /// Leaves the `address` and `token` of this process's host in `state_dir`.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub(super) fn write(state_dir: &Path, address: SocketAddr, token: &str) -> io::Result<Self> {
        let dir = folder(state_dir);
        DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
        // It may be there with another mode; whoever can write to it can pass for a host.
        fs::set_permissions(&dir, Permissions::from_mode(0o700))?;
        for (path, host) in files(&dir) {
            if !host.is_some_and(|host| host.is_alive()) {
                // It counts for nothing, so it may as well stay.
                let _ = fs::remove_file(path);
            }
        }
        let path = dir.join(format!("{address}.json"));
        let text =
            json!({ "address": address.to_string(), "token": token, "pid": std::process::id() });
        // Made with mode 0600, and under a name that counts when it is whole.
        let mut file = tempfile::NamedTempFile::new_in(&dir)?;
        file.write_all(format!("{text}\n").as_bytes())?;
        file.persist(&path)?;
        Ok(Self { path })
    }
}

impl Drop for HostFile {
    fn drop(&mut self) {
        // Left behind, it counts for nothing.
        let _ = fs::remove_file(&self.path);
    }
}

/// The hosts that run, by their files in `state_dir`, in the order of their addresses.
pub(super) fn running(state_dir: &Path) -> Vec<Host> {
    let hosts = files(&folder(state_dir)).filter_map(|(_, host)| host);
    let mut hosts: Vec<_> = hosts.filter(Host::is_alive).collect();
    hosts.sort_by_key(|host| host.address);
    hosts
}

impl Host {
    fn parse(text: &[u8]) -> Option<Self> {
        let json: Value = serde_json::from_slice(text).ok()?;
        let text = |name| json[name].as_str();
        Some(Self {
            address: text("address")?.parse().ok()?,
            token: text("token")?.to_owned(),
            pid: u32::try_from(json["pid"].as_u64()?).ok()?,
        })
    }

    fn is_alive(&self) -> bool {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        // A process that may not be signalled is one all the same.
        pid.is_some_and(|pid| !matches!(test_kill_process(pid), Err(rustix::io::Errno::SRCH)))
    }
}

fn folder(state_dir: &Path) -> PathBuf {
    state_dir.join("hosts")
}

fn files(dir: &Path) -> impl Iterator<Item = (PathBuf, Option<Host>)> + use<> {
    let paths = fs::read_dir(dir).into_iter().flatten().flatten().map(|file| file.path());
    let named = paths.filter(|path| path.extension().is_some_and(|it| it == "json"));
    named.map(|path| {
        let host = read(&path).and_then(|text| Host::parse(&text));
        (path, host)
    })
}

/// The text of a host's file. A link, a pipe or a large file was left by somebody else, and is not read.
fn read(path: &Path) -> Option<Vec<u8>> {
    let metadata = fs::symlink_metadata(path).ok()?;
    let is_ours = metadata.is_file() && metadata.len() <= MAX_BYTES;
    is_ours.then(|| fs::read(path).ok())?
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
        // No process has the number of one that was waited for, for a while.
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        let left = dir.join("127.0.0.1:3001.json");
        let text = json!({ "address": "127.0.0.1:3001", "token": "x", "pid": child.id() });
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
}
