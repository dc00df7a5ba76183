//! `wrt cache`: what the directory of compiled code holds, whether it is sound, and emptying it.

use std::collections::BTreeMap;
use std::time::SystemTime;

use serde_json::json;
use wrt::cache::{CacheDirectory, CacheEntry, CacheEntryKind};
use wrt::{Hint as _, RuntimeConfig, chain};

use crate::args::CacheVerb;
use crate::exit::{AtFault, ExitStatus};
use crate::output::Output;

pub(crate) fn run(
    verb: CacheVerb,
    config: &RuntimeConfig,
    output: &mut Output,
) -> anyhow::Result<ExitStatus> {
    let Some(dir) = &config.cache_dir else {
        let error = AtFault::new("there is no cache directory");
        return Err(error.hint("set `HOME`, or `cache.dir` in the manifest").into());
    };
    let cache = CacheDirectory::open(dir).map_err(|error| {
        let fault = AtFault::new(chain(&error));
        error.hints().into_iter().fold(fault, AtFault::hint)
    })?;
    let dir = dir.display();
    match verb {
        CacheVerb::Stat => stat(&cache, config, output)?,
        CacheVerb::Ls => list(&cache, output)?,
        CacheVerb::Verify => {
            let found = cache.verify();
            let removed: Vec<_> = found.removed.iter().map(ToString::to_string).collect();
            let (good, size) = (found.good, size(found.bytes));
            output.datum(
                &format!(
                    "{good} entries are sound ({size}), {} were not and are gone",
                    removed.len()
                ),
                &json!({ "good": found.good, "bytes": found.bytes, "removed": removed }),
            )?;
        }
        CacheVerb::Prune => {
            let (entries, bytes) = cache.prune(0);
            output.datum(
                &format!("removed {entries} entries ({}) from `{dir}`", size(bytes)),
                &json!({ "entries": entries, "bytes": bytes }),
            )?;
        }
    }
    Ok(ExitStatus::Success)
}

/// Entries and bytes of one kind.
#[derive(Default)]
struct Sum {
    entries: usize,
    bytes: u64,
}

fn stat(
    cache: &CacheDirectory,
    config: &RuntimeConfig,
    output: &mut Output,
) -> std::io::Result<()> {
    let mut kinds: BTreeMap<CacheEntryKind, Sum> = BTreeMap::new();
    for entry in cache.entries() {
        let sum = kinds.entry(entry.kind).or_default();
        sum.entries += 1;
        sum.bytes += entry.bytes;
    }
    let total: u64 = kinds.values().map(|sum| sum.bytes).sum();
    let dir = config.cache_dir.as_ref().map(|dir| dir.display().to_string()).unwrap_or_default();
    let mut lines = vec![format!("{} of {} in `{dir}`", size(total), size(config.cache_disk))];
    let mut by_kind = serde_json::Map::new();
    for (kind, Sum { entries, bytes }) in kinds {
        lines.push(format!("{:<10} {entries:>6} entries  {:>10}", word(kind), size(bytes)));
        by_kind.insert(word(kind).to_owned(), json!({ "entries": entries, "bytes": bytes }));
    }
    let data = json!({
        "dir": dir, "bytes": total, "budget": config.cache_disk, "kinds": by_kind,
    });
    output.datum(&lines.join("\n"), &data)
}

fn list(cache: &CacheDirectory, output: &mut Output) -> std::io::Result<()> {
    for entry in cache.entries() {
        let CacheEntry { kind, bucket, digest, bytes, used, .. } = &entry;
        // A time in the future is one of a clock that was set back.
        let idle = SystemTime::now().duration_since(*used).unwrap_or_default().as_secs();
        let line = format!(
            "{}  {:<9}  {bucket}  {:>10}  used {} min ago",
            digest.short(),
            word(*kind),
            size(*bytes),
            idle / 60
        );
        let data = json!({
            "kind": word(*kind), "bucket": bucket, "digest": digest.to_string(), "bytes": bytes,
            "idle_seconds": idle,
        });
        output.datum(&line, &data)?;
    }
    Ok(())
}

fn word(kind: CacheEntryKind) -> &'static str {
    match kind {
        CacheEntryKind::Code => "code",
        CacheEntryKind::Functions => "functions",
        _ => "memo",
    }
}

/// Bytes for people.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["B", "KiB", "MiB", "GiB"];
    let (mut value, mut unit) = (bytes, 0);
    while value >= 10 * 1024 && unit + 1 < UNITS.len() {
        value /= 1024;
        unit += 1;
    }
    format!("{value} {}", UNITS[unit])
}
