//! Which directories a cache accepts, and how it makes them its own.

use std::os::unix::fs::{PermissionsExt as _, chown, symlink};

use super::*;
use crate::error::{Hint, chain};

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

/// Opening a cache at `path` is refused, with a message about `path` that contains `what`.
#[track_caller]
fn check(path: &Path, what: &str) -> CacheUnavailable {
    let error = DiskCache::open(path, AMPLE).unwrap_err();
    let text = chain(&error);
    assert!(text.contains(what), "expected {what:?} in {text:?}");
    assert!(text.contains(path.to_str().unwrap()), "{text:?} does not name the path");
    assert_eq!(error.hints().len(), 1);
    error
}

#[test]
fn a_directory_is_made_with_those_above_it() {
    let home = Home::new();
    let path = home.path().join("of/somebody");
    write(&DiskCache::open(&path, AMPLE).unwrap(), &code("a"), b"x");
    assert_eq!(mode(&path), 0o700);
}

#[test]
fn what_is_no_directory_is_refused() {
    let home = Home::new();
    let path = home.path();
    fs::write(&path, "").unwrap();
    let error = check(&path, "found no directory");
    assert!(matches!(error, CacheUnavailable::NotADirectory { .. }), "{error:?}");
    let error = check(&path.join("below"), "failed to make");
    assert!(matches!(error, CacheUnavailable::Create { .. }), "{error:?}");
    fs::remove_file(&path).unwrap();

    let elsewhere = home.0.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    symlink(&elsewhere, &path).unwrap();
    let error = check(&path, "found a symbolic link");
    assert!(matches!(error, CacheUnavailable::NotADirectory { .. }), "{error:?}");
    // With a slash behind it, the system would follow the link.
    let with_slash = PathBuf::from(format!("{}/", path.display()));
    assert!(DiskCache::open(&with_slash, AMPLE).is_err());
    assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0, "something was made behind the link");
}

#[test]
fn a_directory_inside_of_the_cache_is_no_link_either() {
    let home = Home::new();
    drop(home.open());
    let kind = home.path().join("v1/code");
    fs::remove_dir(&kind).unwrap();
    symlink(home.0.path(), &kind).unwrap();
    check(&kind.parent().unwrap().parent().unwrap().join(""), "found a symbolic link");
}

#[test]
fn a_directory_of_another_user_is_refused() {
    let home = Home::new();
    let path = if rustix::process::geteuid().is_root() {
        drop(home.open());
        chown(home.path(), Some(12345), None).unwrap();
        home.path()
    } else {
        PathBuf::from("/usr")
    };
    let error = check(&path, "belongs to user");
    assert!(matches!(error, CacheUnavailable::ForeignOwner { .. }), "{error:?}");
}

#[test]
fn a_directory_that_cannot_be_written_to_is_refused() {
    let home = Home::new();
    fs::create_dir(home.path()).unwrap();
    set_mode(&home.path(), 0o500);
    // For root, modes do not bind, and there is nothing to refuse.
    if rustix::process::geteuid().is_root() {
        write(&home.open(), &code("a"), b"x");
    } else {
        let error = check(&home.path(), "cannot be written to");
        assert!(matches!(error, CacheUnavailable::ReadOnly { .. }), "{error:?}");
        set_mode(&home.path(), 0o700);
    }
}

#[test]
fn a_cache_that_others_could_write_to_is_closed_and_begins_anew() {
    let home = Home::new();
    let name = code("a");
    write(&home.open(), &name, b"code");
    let bucket = home.path().join("v1/code/0000000000000001");
    assert!(home.open().has(&name));
    for path in [home.path(), home.path().join("v1"), home.path().join("v1/code")] {
        set_mode(&path, 0o777);
        let key = fs::read(home.path().join("key")).unwrap();
        let cache = home.open();
        assert_eq!(mode(&path), 0o700, "of {}", path.display());
        assert_ne!(fs::read(home.path().join("key")).unwrap(), key, "others may know the key");
        assert_eq!(read(&cache, &name), None);
        write(&cache, &name, b"code");
    }
    assert_eq!(read(&home.open(), &name).unwrap(), b"code");
    assert_eq!(mode(&bucket), 0o700);
}

#[test]
fn a_directory_with_other_things_in_it_is_not_closed() {
    let home = Home::new();
    fs::create_dir(home.path()).unwrap();
    fs::write(home.path().join("somebody's"), "").unwrap();
    set_mode(&home.path(), 0o1777);
    let error = check(&home.path(), "can be written to by others");
    assert!(matches!(error, CacheUnavailable::OpenToOthers { source: None, .. }), "{error:?}");
    assert_eq!(mode(&home.path()), 0o1777);
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1);
}

#[test]
fn a_key_that_can_be_no_secret_is_replaced() {
    type Damage = fn(&Path);
    let damages: [(&str, Damage); 6] = [
        ("readable by others", |path| set_mode(path, 0o640)),
        ("empty", |path| fs::write(path, "").unwrap()),
        ("too short", |path| fs::write(path, [1; 31]).unwrap()),
        ("too long", |path| fs::write(path, [1; 33]).unwrap()),
        ("a link", |path| {
            let aside = path.with_file_name("../aside");
            fs::rename(path, &aside).unwrap();
            symlink(&aside, path).unwrap();
        }),
        ("a directory", |path| {
            fs::remove_file(path).unwrap();
            fs::create_dir(path).unwrap();
        }),
    ];
    for (what, damage) in damages {
        let home = Home::new();
        let name = code("a");
        write(&home.open(), &name, b"code");
        let key = home.path().join("key");
        damage(&key);
        let cache = home.open();
        assert_eq!(read(&cache, &name), None, "the key was {what}");
        write(&cache, &name, b"code");
        assert_eq!(read(&home.open(), &name).unwrap(), b"code");
        assert_eq!((fs::read(&key).unwrap().len(), mode(&key)), (32, 0o600), "the key was {what}");
    }
}

#[test]
fn a_key_is_random() {
    let keys = [Home::new(), Home::new()].map(|home| {
        drop(home.open());
        fs::read(home.path().join("key")).unwrap()
    });
    assert_ne!(keys[0], keys[1]);
    assert_ne!(keys[0], [0; 32]);
}
