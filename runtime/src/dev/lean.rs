//! Keeps a copy of the standard library without its debug information, which links faster.
//!
//! In a small handler that information is four fifths of what the linker reads and writes and of
//! what is compiled again after each save; it tells of places in the standard library only, and no
//! profile of cargo's leaves it out. Names of functions and places of panics are not part of it.
//!
//! What is copied is the compiler's directory as far as it matters to a final crate: links to all
//! of it, but for the archives of [`TARGET`].

use std::fs::{self, DirEntry};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use super::cargo::make_target_dir;
use super::sections::{PREAMBLE, leb128_u32};
use super::session::lock;
use super::target::{TARGET, Toolchain};
use crate::id::Digest;

/// Stands for what is left out and how; a change of it makes new copies.
const FORM: &str = "no debug sections 1";
/// Held while a copy is made, so that handlers that start together make one.
static COPYING: Mutex<()> = Mutex::new(());

/// The directory to name as the compiler's `--sysroot`: a copy of `toolchain`'s in `target_dir`,
/// made if it is not there. Blocks; a first copy takes about as long as a small build.
///
/// # Errors
///
/// When it can be neither read nor made; building works without it.
pub(super) fn sysroot(toolchain: &Toolchain, target_dir: &Path) -> io::Result<PathBuf> {
    let mut libraries: Vec<_> = fs::read_dir(&toolchain.lib_dir)?.collect::<io::Result<_>>()?;
    libraries.sort_by_key(DirEntry::file_name);
    let key = key(toolchain, &libraries)?;
    let parent = target_dir.join("wrt");
    let copy = parent.join(format!("sysroot-{key}"));
    let _copying = lock(&COPYING);
    if copy.is_dir() {
        return Ok(copy);
    }
    make_target_dir(target_dir)?;
    fs::create_dir_all(&parent)?;
    let new = tempfile::Builder::new().prefix(".sysroot-").tempdir_in(&parent)?;
    let (from, to) = (toolchain.sysroot.join("lib/rustlib"), new.path().join("lib/rustlib"));
    fs::create_dir_all(&to)?;
    link_all(&from, &to, &[TARGET])?;
    let lib_dir = to.join(TARGET).join("lib");
    fs::create_dir_all(&lib_dir)?;
    link_all(&from.join(TARGET), &to.join(TARGET), &["lib"])?;
    copy_libraries(libraries, &lib_dir)?;
    match fs::rename(new.path(), &copy) {
        // Another process may have been as quick.
        Err(error) if !copy.is_dir() => Err(error),
        _ => Ok(copy),
    }
}

/// Removes a copy that does not work, so that the next session makes a new one. Blocks.
///
/// # Errors
///
/// When something of it stays.
pub(super) fn discard(copy: &Path) -> io::Result<()> {
    let _copying = lock(&COPYING);
    match fs::remove_dir_all(copy) {
        // Another handler's build failed with it, too.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// What a copy depends on: changed files of a toolchain have another size, time or name.
fn key(toolchain: &Toolchain, libraries: &[DirEntry]) -> io::Result<String> {
    let mut text = format!("{FORM}\n{:?}\n", toolchain.sysroot);
    for library in libraries {
        let metadata = library.metadata()?;
        let (size, s, ns) = (metadata.size(), metadata.mtime(), metadata.mtime_nsec());
        text.push_str(&format!("{:?} {size} {s} {ns}\n", library.file_name()));
    }
    Ok(Digest::of(text.as_bytes()).short())
}

/// Links everything in `from`, but for what `except` names, into `to`.
fn link_all(from: &Path, to: &Path, except: &[&str]) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let name = entry?.file_name();
        if !except.iter().any(|one| name == *one) {
            symlink(from.join(&name), to.join(&name))?;
        }
    }
    Ok(())
}

/// Copies what can be made smaller, and links the rest.
fn copy_libraries(entries: impl IntoIterator<Item = DirEntry>, to: &Path) -> io::Result<()> {
    for entry in entries {
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            fs::create_dir(&to)?;
            let inner: Vec<_> = fs::read_dir(&path)?.collect::<io::Result<_>>()?;
            copy_libraries(inner, &to)?;
            continue;
        }
        let is_archive = path.extension().is_some_and(|end| end == "rlib" || end == "a");
        match is_archive.then(|| fs::read(&path)).transpose()?.as_deref().and_then(lean_archive) {
            Some(lean) => fs::write(&to, lean)?,
            None => symlink(&path, &to)?,
        }
    }
    Ok(())
}

/// First bytes of an archive.
const ARCHIVE: &[u8] = b"!<arch>\n";
/// Length of a member's header, and where in it the size of its content stands, in decimal digits.
const HEADER: usize = 60;
const SIZE: Range<usize> = 48..58;
/// The name of the member that says which member has which symbol: for each symbol, the offset of
/// that member's header, all numbers in 32 bits, the highest byte first.
const INDEX: &[u8] = b"/ ";

/// One member of an archive.
struct Member<'a> {
    at: usize,
    header: &'a [u8],
    content: &'a [u8],
}

/// `archive` with modules that have no debug information; `None` where it is not understood.
fn lean_archive(archive: &[u8]) -> Option<Vec<u8>> {
    let members = members(archive)?;
    let mut lean = ARCHIVE.to_vec();
    let mut moved = Vec::with_capacity(members.len());
    for Member { at, header, content } in &members {
        moved.push((u32::try_from(*at).ok()?, u32::try_from(lean.len()).ok()?));
        // Members that are no modules, such as the index and long names, stay as they are.
        let module = without_debug(content);
        let content = module.as_deref().unwrap_or(content);
        lean.extend_from_slice(&header[..SIZE.start]);
        lean.extend_from_slice(format!("{:<10}", content.len()).as_bytes());
        lean.extend_from_slice(&header[SIZE.end..]);
        lean.extend_from_slice(content);
        if content.len() % 2 == 1 {
            lean.push(b'\n');
        }
    }
    if let Some(first) = members.first().filter(|first| first.header.starts_with(INDEX)) {
        let begin = ARCHIVE.len() + HEADER;
        let index = lean.get_mut(begin..begin + first.content.len())?;
        let (n, offsets) = index.split_first_chunk_mut()?;
        let n = usize::try_from(u32::from_be_bytes(*n)).ok()?;
        let (offsets, _) = offsets.as_chunks_mut::<4>();
        for offset in offsets.get_mut(..n)? {
            let old = u32::from_be_bytes(*offset);
            let i = moved.binary_search_by_key(&old, |(at, _)| *at).ok()?;
            *offset = moved[i].1.to_be_bytes();
        }
    }
    Some(lean)
}

fn members(archive: &[u8]) -> Option<Vec<Member<'_>>> {
    if !archive.starts_with(ARCHIVE) {
        return None;
    }
    let (mut members, mut at) = (Vec::new(), ARCHIVE.len());
    while at < archive.len() {
        let header = archive.get(at..at + HEADER)?;
        let size: usize = str::from_utf8(&header[SIZE]).ok()?.trim_end().parse().ok()?;
        let begin = at + HEADER;
        let content = archive.get(begin..begin.checked_add(size)?)?;
        members.push(Member { at, header, content });
        // Members begin at even offsets.
        at = (begin + size).next_multiple_of(2);
    }
    Some(members)
}

/// `module` with empty debug sections; `None` where it is no module, or is not understood.
///
/// They stay as empty ones, because symbols name sections by their number.
fn without_debug(module: &[u8]) -> Option<Vec<u8>> {
    let mut lean = module.strip_prefix(b"\0asm").map(|_| module.get(..PREAMBLE))??.to_vec();
    let mut at = PREAMBLE;
    while at < module.len() {
        let (size, n_read) = leb128_u32(module.get(at + 1..)?)?;
        let begin = at + 1 + n_read;
        let content = module.get(begin..begin + size as usize)?;
        let section = &module[at..begin + content.len()];
        at = begin + content.len();
        let is_custom = section[0] == 0;
        let name = if is_custom { Some(custom_name(content)?) } else { None };
        match name {
            // Relocations come last, so that no other section's number changes.
            Some((_, name)) if name.starts_with(b"reloc..debug_") => {}
            Some((head, name)) if name.starts_with(b".debug_") => {
                // Names of debug sections are short, and so is the number for their length.
                let size = u8::try_from(head.len()).ok().filter(|size| *size < 0x80)?;
                lean.extend_from_slice(&[0, size]);
                lean.extend_from_slice(head);
            }
            _ => lean.extend_from_slice(section),
        }
    }
    Some(lean)
}

/// The name of a custom section; before it, the same with its length.
fn custom_name(content: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, n_read) = leb128_u32(content)?;
    let head = content.get(..n_read + len as usize)?;
    Some((head, &head[n_read..]))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::dev::process::Tools;
    use crate::dev::sections::{Shape, shape};
    use crate::dev::target;
    use crate::dev::tests::has;

    /// The toolchain that the tests are built with.
    async fn toolchain() -> Toolchain {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        target::ensure(here, &Tools::default(), true, |_| {}).await.unwrap().unwrap()
    }

    fn library(dir: &Path, name: &str) -> PathBuf {
        let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
        let is_it = |path: &PathBuf| {
            let file = path.file_name().unwrap().to_str().unwrap();
            file.starts_with(name) && file.ends_with(".rlib")
        };
        entries.into_iter().find(is_it).unwrap()
    }

    /// For each symbol of the index, the header of the member that it points to.
    fn indexed(archive: &[u8]) -> Vec<&[u8]> {
        let index = members(archive).unwrap().swap_remove(0);
        assert!(index.header.starts_with(INDEX));
        let number = |bytes: &[u8]| u32::from_be_bytes(bytes.try_into().unwrap()) as usize;
        let offsets = index.content[4..].chunks(4).take(number(&index.content[..4]));
        offsets.map(|offset| &archive[number(offset)..][..SIZE.start]).collect()
    }

    #[tokio::test]
    async fn copies_are_whole_and_have_all_but_the_debug_information() {
        let whole = fs::read(library(&toolchain().await.lib_dir, "libstd-")).unwrap();
        let lean = lean_archive(&whole).unwrap();
        assert!(lean.len() < whole.len() * 3 / 4, "{} of {}", lean.len(), whole.len());
        assert!(indexed(&whole).len() > 100);
        assert_eq!(indexed(&lean), indexed(&whole));
        let (whole, lean) = (members(&whole).unwrap(), members(&lean).unwrap());
        assert_eq!(lean.len(), whole.len());
        let mut n_modules = 0;
        for (lean, whole) in lean.iter().zip(&whole) {
            if shape(whole.content) == Shape::Whole {
                n_modules += 1;
                assert_eq!(shape(lean.content), Shape::Whole);
                assert!(!has(lean.content, "reloc..debug_"));
            }
        }
        assert!(n_modules > 0);
    }

    #[tokio::test]
    async fn what_is_not_understood_is_left_alone() {
        let whole = fs::read(library(&toolchain().await.lib_dir, "libpanic_abort-")).unwrap();
        assert!(lean_archive(&whole).is_some());
        // Neither a cut nor a wrong byte makes it panic, whatever it makes of them.
        for at in 0..whole.len().min(3000) {
            let _ = lean_archive(&whole[..at]);
            let mut wrong = whole.clone();
            wrong[at] ^= 0x55;
            let _ = lean_archive(&wrong);
        }
        assert_eq!(lean_archive(&whole[..ARCHIVE.len() + HEADER - 1]), None);
        assert_eq!(lean_archive(b"<html>"), None);
        assert_eq!(without_debug(b"\0asm\x01\0\0\0\0\x05\x01x"), None);
    }

    #[tokio::test]
    async fn a_copy_is_made_once_for_each_state_of_a_toolchain() {
        let dir = tempfile::tempdir().unwrap();
        let lib_dir = dir.path().join("rust/lib/rustlib").join(TARGET).join("lib");
        fs::create_dir_all(lib_dir.join("self-contained")).unwrap();
        let real = library(&toolchain().await.lib_dir, "libpanic_abort-");
        let archive = lib_dir.join(real.file_name().unwrap());
        fs::copy(&real, &archive).unwrap();
        fs::write(lib_dir.join("libodd.rlib"), "odd").unwrap();
        fs::write(lib_dir.join("self-contained/crt1.o"), "crt").unwrap();
        fs::create_dir_all(dir.path().join("rust/lib/rustlib/host/bin")).unwrap();
        let toolchain = Toolchain { sysroot: dir.path().join("rust"), lib_dir };
        let target_dir = dir.path().join("target");

        let copy = sysroot(&toolchain, &target_dir).unwrap();
        assert!(copy.starts_with(&target_dir));
        assert!(target_dir.join("CACHEDIR.TAG").is_file());
        assert!(copy.join("lib/rustlib/host/bin").is_dir());
        let libraries = copy.join("lib/rustlib").join(TARGET).join("lib");
        let lean = fs::read(libraries.join(real.file_name().unwrap())).unwrap();
        assert!(lean.len() as u64 <= fs::metadata(&real).unwrap().len());
        assert_eq!(fs::read(libraries.join("libodd.rlib")).unwrap(), b"odd");
        assert_eq!(fs::read(libraries.join("self-contained/crt1.o")).unwrap(), b"crt");

        fs::write(copy.join("mark"), "").unwrap();
        assert_eq!(sysroot(&toolchain, &target_dir).unwrap(), copy);
        assert!(copy.join("mark").is_file(), "it was made again");

        let later = SystemTime::now() + Duration::from_secs(60);
        fs::File::open(&archive).unwrap().set_modified(later).unwrap();
        assert_ne!(sysroot(&toolchain, &target_dir).unwrap(), copy);
        let left = fs::read_dir(target_dir.join("wrt")).unwrap().count();
        assert_eq!(left, 2, "something temporary stayed");
    }
}
