//! When to look at the disk, and which entries go. Pure.

use std::collections::BTreeSet;

use super::{Bucket, EntryInfo, EntryName};

/// Where an eviction ends: below the budget, so that not each further write evicts again.
pub(super) fn target(budget: u64) -> u64 {
    budget / 10 * 9
}

/// What this process knows of the bytes on the disk without looking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Usage {
    /// As last counted, plus what this process has written since.
    bytes: u64,
    /// Beyond it the disk is looked at.
    look_at: u64,
}

impl Usage {
    /// Before the first look, which the first write makes: opening a cache does not pay for it.
    pub(super) const UNKNOWN: Self = Self { bytes: 0, look_at: 0 };

    /// Adds `written`; whether it is time to look at the disk.
    pub(super) fn grow(&mut self, written: u64) -> bool {
        self.bytes = self.bytes.saturating_add(written);
        self.bytes > self.look_at
    }

    /// Takes over the `total` that was counted.
    pub(super) fn correct(&mut self, total: u64, budget: u64) {
        // What other processes write is seen at the next look, so it comes soon enough to bound
        // that, and seldom enough that few writes pay for one.
        let soon = total.saturating_add((budget / 16).max(1));
        // At the budget at the latest, unless pinned entries take more and nothing can be done.
        let look_at = if total < budget { soon.min(budget) } else { soon };
        *self = Self { bytes: total, look_at };
    }
}

/// The entries to remove until at most `to` bytes are left: those of buckets that nobody claimed
/// first, and of them the least recently used first.
pub(super) fn victims(
    mut entries: Vec<EntryInfo>,
    to: u64,
    claimed: &BTreeSet<Bucket>,
    is_kept: &dyn Fn(&EntryName) -> bool,
) -> Vec<EntryInfo> {
    let mut left: u64 = entries.iter().map(|entry| entry.bytes).sum();
    entries.sort_by_key(|entry| (claimed.contains(&entry.name.bucket), entry.used));
    entries.retain(|entry| {
        let goes = left > to && !is_kept(&entry.name);
        if goes {
            left -= entry.bytes;
        }
        goes
    });
    entries
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::super::EntryKind;
    use super::*;
    use crate::id::Digest;

    fn entry(name: &str, bucket: u64, bytes: u64, used: u64) -> EntryInfo {
        let (bucket, digest) = (Bucket::new(bucket), Digest::of(name.as_bytes()));
        EntryInfo {
            name: EntryName { kind: EntryKind::Code, bucket, digest },
            bytes,
            used: SystemTime::UNIX_EPOCH + Duration::from_secs(used),
        }
    }

    /// Removing from `entries` down to `to` bytes takes `expected`, in that order.
    #[track_caller]
    fn check(entries: &[EntryInfo], to: u64, pinned: &[&str], expected: &[&EntryInfo]) {
        let pinned: Vec<_> = pinned.iter().map(|name| Digest::of(name.as_bytes())).collect();
        let claimed = BTreeSet::from([Bucket::new(1)]);
        let is_kept = |name: &EntryName| pinned.contains(&name.digest);
        let found = victims(entries.to_vec(), to, &claimed, &is_kept);
        assert_eq!(found.iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn the_least_recently_used_go_first_and_pinned_ones_stay() {
        let [a, b, c] = [entry("a", 1, 10, 300), entry("b", 1, 10, 100), entry("c", 1, 10, 200)];
        let all = [a.clone(), b.clone(), c.clone()];
        check(&all, 30, &[], &[]);
        check(&all, 29, &[], &[&b]);
        check(&all, 15, &[], &[&b, &c]);
        check(&all, 15, &["b"], &[&c, &a]);
        check(&all, 0, &["a", "b", "c"], &[]);
        check(&all, 0, &[], &[&b, &c, &a]);
    }

    #[test]
    fn entries_that_nobody_reads_go_before_those_of_claimed_buckets() {
        let [old, new] = [entry("old", 1, 10, 100), entry("new", 1, 10, 200)];
        let [foreign, other] = [entry("foreign", 2, 10, 300), entry("other", 3, 10, 250)];
        let all = [new.clone(), old.clone(), foreign.clone(), other.clone()];
        check(&all, 15, &[], &[&other, &foreign, &old]);
        check(&all, 35, &["other"], &[&foreign]);
    }

    #[test]
    fn the_disk_is_looked_at_first_then_seldom_and_at_the_budget() {
        let budget = 1600;
        let mut usage = Usage::UNKNOWN;
        assert!(usage.grow(1), "nothing is known before the first look");
        usage.correct(1000, budget);
        assert!(!usage.grow(100));
        assert!(usage.grow(1), "a sixteenth of the budget was written");
        usage.correct(1550, budget);
        assert!(!usage.grow(50));
        assert!(usage.grow(1), "the budget is spent");
        // All of it is pinned: the next look waits for the next sixteenth.
        usage.correct(1700, budget);
        assert!(!usage.grow(100));
        assert!(usage.grow(1));
    }
}
