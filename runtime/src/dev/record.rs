//! Remembers on disk what a package was last built from, so that content decides where cargo would go
//! by times alone.
//!
//! Cargo compiles a file again when the file is newer than the last compilation. A file that is
//! replaced by another with an older time (`cp -p`, an unpacked archive, a restored backup) is not
//! newer, and a component that another package's build wrote over looks as good as its own.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::cargo;
use super::package::Package;
use super::session::lock;
use super::snapshot::Input;
use crate::id::Digest;

/// A file written this shortly after a build began may have the same time as the build, because
/// kernels stamp files in steps of 4 to 10 ms; tools that compare times may then not notice it.
const STAMP_STEP: Duration = Duration::from_millis(20);
/// Largest file that is read as a record: 100,000 inputs take less.
const MAX_BYTES: u64 = 32 * 1024 * 1024;

/// What a package was built from by the last build that began, and what the last good one made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    /// Digests by path. A path that is no text is left out, and so never counts as changed.
    inputs: BTreeMap<String, Option<Digest>>,
    /// When the build began, in nanoseconds since 1970.
    began: u64,
    /// The component as the last good build left it.
    component: Option<Component>,
}

/// A file as it was: what differs after anybody wrote it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Component {
    path: PathBuf,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

/// The records of a session, read from and kept in target directories.
#[derive(Debug, Default)]
pub(super) struct Records(Mutex<HashMap<PathBuf, Record>>);

impl Records {
    /// A build of `package` with the profile `release` or not begins, from `inputs`: makes cargo look
    /// again at what it would overlook, and takes down what it is built from. Blocks.
    pub(super) fn begin(
        &self,
        package: &Package,
        target_dir: &Path,
        release: bool,
        inputs: &[Input],
    ) {
        let path = path_of(package, target_dir, release);
        let mut records = lock(&self.0);
        let before = records.get(&path).cloned().or_else(|| read(&path));
        let packages = match &before {
            // The first build by wrt here: cargo knows best what it compiled.
            None => BTreeSet::new(),
            Some(before) if before.is_overwritten() => package.all(),
            Some(before) => package.owners(&before.overlooked(inputs)),
        };
        if !packages.is_empty() {
            cargo::distrust_times(target_dir, &packages, release);
        }
        let component = before.and_then(|before| before.component);
        let record = Record::new(inputs, SystemTime::now(), component);
        write_or_tell(&path, &record);
        records.insert(path, record);
    }

    /// The build that began last has made `component`. Blocks.
    pub(super) fn built(
        &self,
        package: &Package,
        target_dir: &Path,
        release: bool,
        component: &Path,
    ) {
        let path = path_of(package, target_dir, release);
        let mut records = lock(&self.0);
        let Some(record) = records.get_mut(&path) else { return };
        let now = Component::at(component);
        if record.component != now {
            record.component = now;
            write_or_tell(&path, record);
        }
    }
}

impl Record {
    fn new(inputs: &[Input], began: SystemTime, component: Option<Component>) -> Self {
        let text = |input: &Input| Some((input.path.to_str()?.to_owned(), input.digest));
        Self {
            inputs: inputs.iter().filter_map(text).collect(),
            began: nanoseconds(began),
            component,
        }
    }

    /// Whether somebody else wrote the component, or removed it.
    fn is_overwritten(&self) -> bool {
        self.component.as_ref().is_some_and(|then| Component::at(&then.path).as_ref() != Some(then))
    }

    /// Those of `inputs` with other content than here that are no newer than the last build.
    fn overlooked(&self, inputs: &[Input]) -> Vec<PathBuf> {
        let is_overlooked = |input: &&Input| {
            let Some(path) = input.path.to_str() else { return false };
            let step = u64::try_from(STAMP_STEP.as_nanos()).unwrap_or_default();
            self.inputs.get(path) != Some(&input.digest)
                && nanoseconds(input.modified) <= self.began.saturating_add(step)
        };
        inputs.iter().filter(is_overlooked).map(|input| input.path.clone()).collect()
    }
}

impl Component {
    fn at(path: &Path) -> Option<Self> {
        let data = fs::metadata(path).ok()?;
        let modified = (data.mtime(), data.mtime_nsec());
        Some(Self { path: path.to_owned(), inode: data.ino(), size: data.size(), modified })
    }
}

fn nanoseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    // Enough until the year 2554.
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// The directory of records in a target directory.
const DIR: &str = "wrt-built";

/// Where the record of `package` is.
fn path_of(package: &Package, target_dir: &Path, release: bool) -> PathBuf {
    let profile = if release { "release" } else { "debug" };
    let key = Digest::of(package.spec.as_bytes()).short();
    target_dir.join(DIR).join(format!("{profile}-{key}.json"))
}

/// The record at `path`; `None` when there is none, or none that can be read.
fn read(path: &Path) -> Option<Record> {
    let size = fs::metadata(path).ok().filter(fs::Metadata::is_file)?.len();
    if size > MAX_BYTES {
        return None;
    }
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// Writes `record` whole. Without it the next session goes by times, as cargo does.
fn write_or_tell(path: &Path, record: &Record) {
    if let Err(error) = write(path, record) {
        tracing::debug!(%error, "failed to remember what `{}` was built from", path.display());
    }
}

fn write(path: &Path, record: &Record) -> io::Result<()> {
    let dir = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    // Records are in a directory of the target directory, which may be the first thing in it.
    cargo::make_target_dir(dir.parent().ok_or(io::ErrorKind::InvalidInput)?)?;
    fs::create_dir_all(dir)?;
    let mut file = tempfile::Builder::new().prefix(".built-").tempfile_in(dir)?;
    file.write_all(&serde_json::to_vec(record)?)?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(path: &str, text: &str, at: SystemTime) -> Input {
        Input { path: path.into(), digest: Some(Digest::of(text.as_bytes())), modified: at }
    }

    #[test]
    fn other_content_with_an_older_time_is_what_cargo_overlooks() {
        let now = SystemTime::now();
        let (older, newer) = (now - Duration::from_secs(9), now + Duration::from_secs(9));
        let record = Record::new(&[input("/a", "1", older), input("/b", "1", older)], now, None);
        let found = |inputs: &[Input]| record.overlooked(inputs);
        assert!(found(&[input("/a", "1", older), input("/b", "1", newer)]).is_empty());
        assert!(found(&[input("/a", "2", newer)]).is_empty());
        assert_eq!(found(&[input("/a", "2", older)]), [Path::new("/a")]);
        assert_eq!(found(&[input("/c", "1", older)]), [Path::new("/c")]);
    }

    #[test]
    fn a_record_is_read_as_it_was_written_and_doubt_makes_it_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("target/wrt-built/x.json");
        assert_eq!(read(&path), None);
        let file = dir.path().join("x.wasm");
        fs::write(&file, "1").unwrap();
        let inputs = [input("/a", "1", SystemTime::now())];
        let record = Record::new(&inputs, SystemTime::now(), Component::at(&file));
        write(&path, &record).unwrap();
        assert_eq!(read(&path), Some(record.clone()));
        assert!(dir.path().join("target/CACHEDIR.TAG").is_file());
        assert!(!record.is_overwritten());
        fs::write(&file, "22").unwrap();
        assert!(record.is_overwritten());
        fs::write(&path, "{").unwrap();
        assert_eq!(read(&path), None);
    }
}
