//! Decides whether a snapshot of another component can become a state of this one.

use super::{RestoreError, Restored, Snapshot, State};
use serde::de::DeserializeOwned;

type Outcome<S> = Result<(S, Restored), RestoreError>;

/// Makes a state from a snapshot; nothing else changes.
pub(crate) fn restore<S: State>(snapshot: &Snapshot) -> Outcome<S> {
    let added = match added(S::VERSION, S::SCHEMA, snapshot) {
        Ok(added) => added,
        Err(misfit) => return migrate(snapshot).unwrap_or(Err(misfit)),
    };
    match serde_json::from_slice(&snapshot.payload) {
        Ok(state) => Ok((state, Restored::Carried)),
        // The bytes are JSON, so what is missing are the new fields.
        Err(error) if error.is_data() && !added.is_empty() => {
            migrate(snapshot).unwrap_or_else(|| Err(no_default(&error, &added, S::VERSION)))
        }
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

/// The leaves that this component has and the snapshot has not.
///
/// # Errors
///
/// The versions differ, or the snapshot has leaves that this component has not.
fn added(
    version: u32,
    schema: &'static str,
    snapshot: &Snapshot,
) -> Result<Vec<&'static str>, RestoreError> {
    if snapshot.version != version {
        return Err(RestoreError::Incompatible(other_version(version, snapshot.version)));
    }
    if snapshot.schema == schema {
        return Ok(Vec::new());
    }
    let old: Vec<&str> = leaves(&snapshot.schema).collect();
    let new: Vec<&str> = leaves(schema).collect();
    let lost: Vec<&str> = old.iter().filter(|leaf| !new.contains(leaf)).copied().collect();
    let added: Vec<&'static str> = leaves(schema).filter(|leaf| !old.contains(leaf)).collect();
    if lost.is_empty() { Ok(added) } else { Err(misfit(&lost, &added, version)) }
}

fn leaves(schema: &str) -> impl Iterator<Item = &str> {
    schema.split(';').filter(|leaf| !leaf.is_empty())
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

fn no_default(error: &serde_json::Error, added: &[&str], version: u32) -> RestoreError {
    RestoreError::Incompatible(format!(
        "the state lacks what is new: {error}; new are `{}`; give new fields `#[serde(default)]`, \
         or {}",
        added.join("`, `"),
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
