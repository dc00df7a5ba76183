//! Decides whether a snapshot of another component can become a state of this one.

use super::compare::{Fit, compare, leaves};
use super::{RestoreError, Restored, Schema, Snapshot, State};
use serde::de::DeserializeOwned;

type Outcome<S> = Result<(S, Restored), RestoreError>;

/// Makes a state from a snapshot; nothing else changes.
pub(crate) fn restore<S: State>(snapshot: &Snapshot) -> Outcome<S> {
    let fit = match fit::<S>(snapshot) {
        Ok(fit) => fit,
        Err(misfit) => return migrate(snapshot).unwrap_or(Err(misfit)),
    };
    match serde_json::from_slice(&snapshot.payload) {
        Ok(state) => Ok((state, Restored::Carried)),
        Err(error) if error.is_data() => match fit.lack(&error, S::VERSION) {
            Some(lack) => migrate(snapshot).unwrap_or(Err(lack)),
            None => Err(unreadable(&error, snapshot.version)),
        },
        Err(error) => Err(unreadable(&error, snapshot.version)),
    }
}

/// What the author's migration makes of a snapshot, if there is one.
fn migrate<S: State>(snapshot: &Snapshot) -> Option<Outcome<S>> {
    let migrate = S::MIGRATE?;
    let migrated = migrate(snapshot.version, &snapshot.payload);
    Some(match migrated {
        Ok(state) => Ok((state, Restored::Migrated)),
        Err(error) => Err(migration_failed(&error, snapshot.version)),
    })
}

/// Reads the payload of a snapshot as the state that it once was, for a migration.
///
/// # Errors
///
/// The payload is not the JSON of a `T`.
pub fn read<T: DeserializeOwned>(payload: &[u8]) -> crate::Result<T> {
    Ok(serde_json::from_slice(payload)?)
}

/// How a snapshot fits a state that does not lose any of it.
struct Fitting<'a> {
    /// Leaves of the state alone.
    added: Vec<&'static str>,
    /// Leaves that may be missing in the snapshot, and that the state wants.
    wanted: Vec<&'a str>,
}

impl Fitting<'_> {
    /// Why `error` came of it, if it may have: the snapshot is sound, and lacks something.
    fn lack(&self, error: &serde_json::Error, version: u32) -> Option<RestoreError> {
        let quoted = |leaves: &[&str]| format!("`{}`", leaves.join("`, `"));
        let (added, wanted) = (&self.added, &self.wanted);
        let what = match (added.is_empty(), wanted.is_empty()) {
            (true, true) => return None,
            (false, true) => format!("new are {}", quoted(added)),
            (true, false) => format!("no longer optional are {}", quoted(wanted)),
            (false, false) => {
                format!("new are {}; no longer optional are {}", quoted(added), quoted(wanted))
            }
        };
        Some(RestoreError::Incompatible(format!(
            "the state lacks what is new: {error}; {what}; give new fields `#[serde(default)]`, or \
             {}",
            how_to_migrate(version.saturating_add(1))
        )))
    }
}

/// How `snapshot` fits `S`.
///
/// # Errors
///
/// The versions differ, or the snapshot has leaves that `S` would lose.
fn fit<S: State>(snapshot: &Snapshot) -> Result<Fitting<'_>, RestoreError> {
    let version = S::VERSION;
    if snapshot.version != version {
        return Err(RestoreError::Incompatible(other_version(version, snapshot.version)));
    }
    if snapshot.schema == S::SCHEMA {
        return Ok(Fitting { added: Vec::new(), wanted: Vec::new() });
    }
    let old: Vec<&str> = leaves(&snapshot.schema).collect();
    let added = leaves(S::SCHEMA).filter(|leaf| !old.contains(leaf));
    let Fit { lost, wanted } = compare(&snapshot.schema, <S as Schema>::SHAPE);
    if !lost.is_empty() {
        return Err(misfit(&lost, &added.collect::<Vec<_>>(), version));
    }
    // A leaf at the place of an old one is that one, with a wider type.
    let is_new = |new: &&str| old.iter().all(|old| place(old) != place(new));
    Ok(Fitting { added: added.filter(is_new).collect(), wanted })
}

fn other_version(version: u32, found: u32) -> String {
    let relation = if found > version { "newer" } else { "older" };
    format!(
        "the state has version {found}, {relation} than version {version} of this component; \
         {}",
        how_to_migrate(version)
    )
}

fn misfit(lost: &[&str], added: &[&str], version: u32) -> RestoreError {
    let lost: Vec<String> = lost
        .iter()
        .map(|old| match added.iter().find(|new| place(new) == place(old)) {
            Some(new) => format!("`{old}` has become `{new}`"),
            None => format!("`{old}` is gone"),
        })
        .collect();
    RestoreError::Incompatible(format!(
        "the state would lose parts: {}; keep them, or {}",
        lost.join(", "),
        how_to_migrate(version.saturating_add(1))
    ))
}

fn unreadable(error: &serde_json::Error, version: u32) -> RestoreError {
    RestoreError::Failed(format!("failed to read the state of version {version}: {error}"))
}

fn how_to_migrate(version: u32) -> String {
    format!("name a migration with `#[state(version = {version}, migrate = …)]`")
}

fn migration_failed(error: &crate::Error, from_version: u32) -> RestoreError {
    let chain = error.chain();
    RestoreError::Failed(format!(
        "failed to migrate the state from version {from_version}: {chain}"
    ))
}

/// A leaf without its type, and without how often it may be there: what stays when a `u64` becomes
/// an `Option<u64>`.
fn place(leaf: &str) -> String {
    let path = leaf.rsplit_once(':').map_or(leaf, |(path, _)| path);
    let mut depth = 0_usize;
    path.chars()
        .filter(|character| {
            match character {
                '[' | '{' => depth += 1,
                ']' | '}' => {
                    depth = depth.saturating_sub(1);
                    return false;
                }
                _ => {}
            }
            depth == 0 && *character != '?'
        })
        .collect()
}
