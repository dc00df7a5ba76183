//! What stays in memory and what goes: budget, order, leases, tenants.

use std::sync::atomic::AtomicBool;

use super::*;
use crate::config::RuntimeConfig;
use crate::engine::Engines;

struct Bench {
    engine: Engine,
    memory: Arc<Memory>,
    tally: Arc<Tally>,
}

/// The size of each of the artifacts below: the smallest image, rounded up to pages.
fn size(engine: &Engine) -> u64 {
    artifact(engine, 0).code.size
}

fn artifact(engine: &Engine, number: u8) -> Artifact {
    let component = Component::new(engine.wasmtime(), "(component)").unwrap();
    Artifact::new(Digest::of(&[number]), engine.clone(), component)
}

/// A cache that `places` artifacts fit into.
fn bench(places: u64) -> Bench {
    let engine = Engines::new(&RuntimeConfig::default()).unwrap().optimized;
    let tally = Arc::new(Tally::default());
    let memory = Memory::new(places * size(&engine), Arc::clone(&tally));
    Bench { engine, memory, tally }
}

impl Bench {
    /// Keeps an artifact that the cache directory has, too.
    fn keep(&self, number: u8) -> Artifact {
        let artifact = artifact(&self.engine, number);
        artifact.mark(Backup::Saved);
        self.memory.keep(artifact)
    }

    fn has(&self, number: u8) -> bool {
        self.memory.has(&(Digest::of(&[number]), Tier::Optimized))
    }

    fn use_again(&self, number: u8) {
        assert!(self.memory.find(&(Digest::of(&[number]), Tier::Optimized)).is_some());
    }

    /// A tenant of an artifact, with the lease that it gives back when it is asked to.
    fn tenant(&self, number: u8) -> Arc<Fake> {
        let lease = self.memory.lease(self.keep(number));
        let fake = Arc::new(Fake::default());
        let weak: Weak<Fake> = Arc::downgrade(&fake);
        lease.moved_in(weak);
        *fake.lease.lock().unwrap() = Some(lease);
        fake
    }
}

#[derive(Default)]
struct Fake {
    lease: Mutex<Option<Lease>>,
    used: AtomicBool,
    busy: AtomicBool,
}

impl Tenant for Fake {
    fn was_used(&self) -> bool {
        self.used.swap(false, Ordering::Relaxed)
    }

    fn vacate(&self) -> bool {
        if self.busy.load(Ordering::Relaxed) {
            return false;
        }
        drop(self.lease.lock().unwrap().take());
        true
    }
}

#[test]
fn code_that_nobody_leases_goes_in_the_order_of_its_last_use() {
    let bench = bench(3);
    for number in 1..=3 {
        bench.keep(number);
    }
    bench.use_again(1);
    bench.keep(4);
    assert!(!bench.has(2) && bench.has(1) && bench.has(3) && bench.has(4));
    assert_eq!(bench.tally.counts(0).evictions, 1);
    assert_eq!(bench.memory.bytes(), 3 * size(&bench.engine));
}

#[test]
fn idle_tenants_are_asked_to_leave_and_used_ones_get_another_round() {
    let bench = bench(2);
    let (used, idle) = (bench.tenant(1), bench.tenant(2));
    used.used.store(true, Ordering::Relaxed);
    bench.keep(3);
    assert!(idle.lease.lock().unwrap().is_none(), "the idle one left");
    assert!(used.lease.lock().unwrap().is_some());
    assert!(bench.has(1) && !bench.has(2) && bench.has(3));
}

#[test]
fn busy_tenants_and_ways_back_stay_whatever_the_budget_says() {
    let bench = bench(1);
    let busy = bench.tenant(1);
    busy.busy.store(true, Ordering::Relaxed);
    let spare = bench.memory.lease(bench.keep(2)).spare();
    bench.keep(3);
    assert!(bench.has(1) && bench.has(2), "the budget is passed rather than broken for them");
    assert!(!bench.has(3));
    let pinned: Vec<_> = bench.memory.list().into_iter().filter_map(|it| it.pinned).collect();
    assert_eq!(pinned.len(), 2, "{pinned:?}");
    assert!(pinned.contains(&"a generation runs it"));
    assert!(pinned.contains(&"it is the way back from a swap"));
    drop(spare);
    assert!(!bench.has(2), "nobody needs it, and the cache directory has it");
}

#[test]
fn code_that_is_being_written_stays_after_its_last_lease_until_that_has_ended() {
    let bench = bench(2);
    let written = artifact(&bench.engine, 1);
    written.mark(Backup::Pending);
    let kept = bench.memory.keep(written);
    drop(bench.memory.lease(kept.clone()));
    assert!(bench.has(1));
    assert_eq!(bench.memory.list()[0].pinned, Some("it is being written to the cache directory"));
    bench.memory.settle(&kept, Backup::Saved);
    assert!(!bench.has(1));
    assert_eq!(bench.memory.bytes(), 0);
}

#[test]
fn without_a_cache_directory_code_goes_with_its_last_lease_and_idle_tenants_keep_theirs() {
    let engine = Engines::new(&RuntimeConfig::default()).unwrap().optimized;
    let memory = Memory::new(1, Arc::default());
    let fake = Arc::new(Fake::default());
    let weak: Weak<Fake> = Arc::downgrade(&fake);
    let lease = memory.lease(memory.keep(artifact(&engine, 1)));
    lease.moved_in(weak);
    *fake.lease.lock().unwrap() = Some(lease);
    drop(memory.lease(memory.keep(artifact(&engine, 2))));
    assert_eq!(memory.list().len(), 1, "only the compiler could bring the tenant's code back");
    drop(fake);
    assert!(memory.list().is_empty());
}

#[test]
fn the_same_code_is_kept_once() {
    let bench = bench(2);
    let (first, second) = (bench.keep(1), bench.keep(1));
    assert!(Arc::ptr_eq(&first.code, &second.code));
    assert_eq!(bench.memory.list().len(), 1);
    let digest = first.digest();
    assert!(!bench.memory.needs_file(&digest));
    let _lease = bench.memory.lease(second);
    assert!(bench.memory.needs_file(&digest));
}
