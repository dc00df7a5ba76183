//! Cranelift's function cache: a recompiled component reuses the code of unchanged functions.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lru::LruCache;
use wasmtime::CacheStore;

/// Compilations for which a key stays that nobody asks for, although others lead to its code: more
/// than the handlers that somebody edits in turns. See [`Codes`] for why there are ever more of them.
const UNUSED_KEPT: usize = 64;

/// How many compilations pass between two looks for such keys.
const LOOK_EVERY: usize = UNUSED_KEPT / 4;

/// Compiled functions by the compiler's own key, least recently used out first.
#[derive(Debug)]
pub(crate) struct FunctionCache {
    entries: Mutex<Entries>,
    hits: AtomicUsize,
    misses: AtomicUsize,
    /// Number of the compilation that began last.
    compilation: AtomicUsize,
}

#[derive(Debug)]
struct Entries {
    by_key: LruCache<Arc<[u8]>, Function>,
    codes: Codes,
    /// Bytes of the keys.
    key_bytes: usize,
    budget: usize,
    /// Functions of `by_key` that are to be saved.
    unsaved: usize,
}

#[derive(Debug)]
struct Function {
    code: Arc<[u8]>,
    /// Whether it need not be saved: it is, or its code was known by another key before.
    is_saved: bool,
    /// Number of the compilation that made it; 0 for a saved one.
    made: usize,
    /// Number of the compilation that asked for it last.
    used: usize,
}

/// Code, once however many keys lead to it: a component has many functions that are the same, and
/// the compiler asks for the same function by several keys, depending on what the thread compiled
/// before it (its key covers the exception tables, which it does not clear between functions).
#[derive(Debug, Default)]
struct Codes {
    users: HashMap<Arc<[u8]>, Users>,
    bytes: usize,
}

/// The keys that lead to one code.
#[derive(Debug, Clone, Copy)]
struct Users {
    n: usize,
    /// Number of the compilation that made the first of them.
    since: usize,
}

impl Codes {
    /// The one copy of `code`, for one more key that `compilation` made; with the number of the
    /// compilation that made the first one.
    fn share(&mut self, code: &[u8], compilation: usize) -> (Arc<[u8]>, usize) {
        if let Some((code, users)) = self.users.get_key_value(code) {
            let (code, users) = (Arc::clone(code), Users { n: users.n + 1, ..*users });
            self.users.insert(Arc::clone(&code), users);
            return (code, users.since);
        }
        // Not a slice of what somebody read, which would keep all of that in memory.
        let code = Arc::<[u8]>::from(code);
        self.bytes += code.len();
        self.users.insert(Arc::clone(&code), Users { n: 1, since: compilation });
        (code, compilation)
    }

    fn has_other_keys(&self, code: &[u8]) -> bool {
        self.users.get(code).is_some_and(|users| users.n > 1)
    }

    /// One key less leads to `code`.
    fn release(&mut self, code: &Arc<[u8]>) {
        match self.users.get_mut(code) {
            Some(users) if users.n > 1 => users.n -= 1,
            _ => {
                self.users.remove(code);
                self.bytes -= code.len();
            }
        }
    }
}

/// How often the compiler asked, and what it came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Lookups {
    /// Found, and made by an earlier compilation.
    hits: usize,
    /// Not found, and so compiled.
    misses: usize,
}

impl Lookups {
    /// Whether more were found than not since `earlier`.
    pub(crate) fn mostly_hit_since(self, earlier: Self) -> bool {
        self.hits - earlier.hits > self.misses - earlier.misses
    }
}

/// A function that somebody else may keep: the compiler's key, and what it made.
pub(crate) type KeyedCode = (Arc<[u8]>, Arc<[u8]>);

impl FunctionCache {
    /// An empty cache that keeps up to `budget` bytes of keys and code. The debug build of a small
    /// handler takes some 4 MiB and that of a large one some 40 MiB.
    pub(crate) fn new(budget: u64) -> Self {
        // On a 32-bit host the address space is the tighter limit.
        let budget = usize::try_from(budget).unwrap_or(usize::MAX);
        let (by_key, codes) = (LruCache::unbounded(), Codes::default());
        let entries = Entries { by_key, codes, key_bytes: 0, budget, unsaved: 0 };
        Self {
            entries: Mutex::new(entries),
            hits: AtomicUsize::new(0),
            misses: AtomicUsize::new(0),
            compilation: AtomicUsize::new(0),
        }
    }

    /// A compilation begins: what is found from now on and was made before is a hit. A component
    /// has many functions that are the same, and finding those says nothing.
    pub(crate) fn begin_compilation(&self) {
        // Ordering: a figure for people, and a measure of age that may be one off.
        let number = self.compilation.fetch_add(1, Ordering::Relaxed) + 1;
        if number.is_multiple_of(LOOK_EVERY) {
            self.lock().forget_unused(number);
        }
    }

    /// What the compiler asked for so far.
    pub(crate) fn lookups(&self) -> Lookups {
        // Ordering: figures for people.
        let [hits, misses] =
            [&self.hits, &self.misses].map(|counter| counter.load(Ordering::Relaxed));
        Lookups { hits, misses }
    }

    /// The functions that were compiled since the last call and are still here, latest first. They
    /// count as saved from now on, whatever becomes of them.
    pub(crate) fn take_unsaved(&self) -> Vec<KeyedCode> {
        let mut entries = self.lock();
        let Entries { by_key, unsaved, .. } = &mut *entries;
        let mut taken = Vec::with_capacity(*unsaved);
        for (key, function) in by_key.iter_mut() {
            // New ones are in front, so most of the cache is not walked through.
            if *unsaved == 0 {
                break;
            }
            if !function.is_saved {
                function.is_saved = true;
                *unsaved -= 1;
                taken.push((Arc::clone(key), Arc::clone(&function.code)));
            }
        }
        taken
    }

    /// Adds functions that were saved earlier, the most useful first, behind those that are here.
    /// `false` when one did not fit: then the cache is full, and nothing left for its sake.
    pub(crate) fn fill<'a>(&self, saved: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> bool {
        let mut entries = self.lock();
        saved.into_iter().all(|(key, code)| entries.add(key, code))
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        // A panic under the lock cannot leave the map half changed in a way that matters: an
        // entry is only bytes that the compiler checks against its key.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    fn bytes(&self) -> usize {
        self.key_bytes + self.codes.bytes
    }

    fn insert(&mut self, key: &[u8], code: &[u8], compilation: usize) {
        self.key_bytes += key.len();
        let (code, since) = self.codes.share(code, compilation);
        // One more way to what is there already would be saved with all of the code.
        let is_saved = since < compilation;
        self.unsaved += usize::from(!is_saved);
        let function = Function { code, is_saved, made: compilation, used: compilation };
        if let Some((key, old)) = self.by_key.push(key.into(), function) {
            self.forget(&key, &old);
        }
        while self.bytes() > self.budget {
            let Some((key, function)) = self.by_key.pop_lru() else { break };
            self.forget(&key, &function);
        }
    }

    /// Forgets the keys that the last compilations before `now` did not ask for, but for the last key
    /// of each code.
    fn forget_unused(&mut self, now: usize) {
        // From the least recently used on.
        let unused = self.by_key.iter().rev().take_while(|(_, it)| it.used + UNUSED_KEPT < now);
        let spare = unused.filter(|(_, it)| self.codes.has_other_keys(&it.code));
        let keys: Vec<_> = spare.map(|(key, _)| Arc::clone(key)).collect();
        for key in keys {
            let is_spare = |it: &Function| self.codes.has_other_keys(&it.code);
            if self.by_key.peek(&key).is_some_and(is_spare)
                && let Some(function) = self.by_key.pop(&key)
            {
                self.forget(&key, &function);
            }
        }
    }

    /// Takes what is no longer in the map off the sums.
    fn forget(&mut self, key: &[u8], function: &Function) {
        self.key_bytes -= key.len();
        self.codes.release(&function.code);
        self.unsaved -= usize::from(!function.is_saved);
    }

    /// Adds a saved function as the first to leave; `false` when there is no room.
    fn add(&mut self, key: &[u8], code: &[u8]) -> bool {
        if self.by_key.contains(key) {
            return true;
        }
        let is_known = self.codes.users.contains_key(code);
        let more = key.len() + if is_known { 0 } else { code.len() };
        if self.bytes() + more > self.budget {
            return false;
        }
        self.key_bytes += key.len();
        let (code, _) = self.codes.share(code, 0);
        let function = Function { code, is_saved: true, made: 0, used: 0 };
        self.by_key.push(key.into(), function);
        self.by_key.demote(key);
        true
    }
}

impl CacheStore for FunctionCache {
    fn get(&self, key: &[u8]) -> Option<Cow<'_, [u8]>> {
        let compilation = self.compilation.load(Ordering::Relaxed);
        let (code, made) = {
            let mut entries = self.lock();
            let Some(function) = entries.by_key.get_mut(key) else {
                self.misses.fetch_add(1, Ordering::Relaxed);
                return None;
            };
            function.used = compilation;
            (Arc::clone(&function.code), function.made)
        };
        if made < compilation {
            self.hits.fetch_add(1, Ordering::Relaxed);
        }
        Some(Cow::Owned(code.to_vec()))
    }

    fn insert(&self, key: &[u8], value: Vec<u8>) -> bool {
        let compilation = self.compilation.load(Ordering::Relaxed);
        self.lock().insert(key, &value, compilation);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET: usize = 3000;

    fn keys(functions: &[KeyedCode]) -> Vec<&[u8]> {
        functions.iter().map(|(key, _)| &**key).collect()
    }

    #[test]
    fn the_least_recently_used_functions_leave_when_the_budget_is_spent() {
        let cache = FunctionCache::new(BUDGET as u64);
        // Two fit beside their keys, and three do not.
        let third = |byte| vec![byte; BUDGET / 3];
        for key in [b"a", b"b"] {
            cache.insert(key, third(key[0]));
        }
        assert!(cache.get(b"a").is_some());
        cache.insert(b"c", third(b'c'));
        assert!(cache.get(b"b").is_none(), "the least recently used one left");
        assert!(cache.get(b"c").is_some());
        assert!(cache.lock().bytes() <= BUDGET);
        assert_eq!(keys(&cache.take_unsaved()), [b"c", b"a"]);
    }

    #[test]
    fn a_function_stored_twice_counts_once() {
        let cache = FunctionCache::new(BUDGET as u64);
        for _ in 0..3 {
            cache.insert(b"key", vec![0; 100]);
        }
        assert_eq!(cache.lock().bytes(), 103);
        assert_eq!(cache.take_unsaved().len(), 1);
    }

    #[test]
    fn code_that_several_keys_lead_to_is_kept_once_until_the_last_of_them_leaves() {
        let cache = FunctionCache::new(BUDGET as u64);
        let half = vec![1; BUDGET / 2];
        for key in [b"a", b"b", b"c"] {
            cache.insert(key, half.clone());
        }
        assert!(cache.fill([(&b"d"[..], &half[..])]), "it takes the room of its key only");
        assert_eq!(cache.lock().bytes(), half.len() + 4);
        cache.insert(b"e", vec![2; BUDGET / 2]);
        let left: Vec<_> =
            [b"a", b"b", b"c", b"d", b"e"].map(|key| cache.get(key).is_some()).into();
        assert_eq!(left, [false, false, false, false, true]);
        assert_eq!(cache.lock().bytes(), BUDGET / 2 + 1, "nothing of it is left");
        assert_eq!(cache.lock().codes.users.len(), 1);
    }

    #[test]
    fn further_keys_of_a_code_are_not_saved_and_go_when_nobody_asks_for_them() {
        let cache = FunctionCache::new(1 << 20);
        let number = |n: usize| u32::try_from(n).unwrap().to_le_bytes();
        cache.begin_compilation();
        cache.insert(b"first", vec![1; 100]);
        cache.insert(b"alone", vec![2; 100]);
        assert_eq!(cache.take_unsaved().len(), 2);
        for n in 0..4 * UNUSED_KEPT {
            cache.begin_compilation();
            cache.insert(&number(n), vec![1; 100]);
            assert!(cache.get(b"first").is_some(), "it was asked for");
            assert!(cache.take_unsaved().is_empty(), "its code is known");
            assert!(cache.lock().by_key.len() <= 3 + UNUSED_KEPT + LOOK_EVERY);
        }
        assert!(cache.get(&number(0)).is_none());
        assert!(cache.get(&number(4 * UNUSED_KEPT - 1)).is_some());
        assert!(cache.get(b"alone").is_some(), "nothing else leads to its code");
        let Entries { key_bytes, by_key, .. } = &*cache.lock();
        assert_eq!(*key_bytes, by_key.iter().map(|(key, _)| key.len()).sum::<usize>());
    }

    #[test]
    fn only_functions_of_earlier_compilations_are_hits() {
        let cache = FunctionCache::new(BUDGET as u64);
        let counted = |hits, misses| cache.lookups() == Lookups { hits, misses };
        assert!(cache.fill([(&b"saved"[..], &[1][..])]));
        cache.begin_compilation();
        assert!(cache.get(b"a").is_none() && counted(0, 1));
        cache.insert(b"a", vec![1]);
        assert!(cache.get(b"a").is_some() && counted(0, 1));
        assert!(cache.get(b"saved").is_some() && counted(1, 1));
        let before = cache.lookups();
        assert!(!before.mostly_hit_since(Lookups::default()), "as many as were not there");
        cache.begin_compilation();
        assert!(cache.get(b"a").is_some() && counted(2, 1));
        assert!(cache.lookups().mostly_hit_since(before));
    }

    #[test]
    fn a_function_is_taken_for_saving_once() {
        let cache = FunctionCache::new(BUDGET as u64);
        cache.insert(b"a", vec![1]);
        cache.insert(b"b", vec![2]);
        // Used since, and no longer among the first.
        assert!(cache.get(b"a").is_some());
        assert_eq!(keys(&cache.take_unsaved()), [b"a", b"b"]);
        assert!(cache.take_unsaved().is_empty());
        cache.insert(b"c", vec![3]);
        let taken = cache.take_unsaved();
        assert_eq!(taken.len(), 1);
        assert_eq!((&*taken[0].0, &*taken[0].1), (&b"c"[..], &[3][..]));
    }

    #[test]
    fn saved_functions_are_found_and_not_saved_again() {
        let cache = FunctionCache::new(BUDGET as u64);
        assert!(cache.fill([(&b"a"[..], &[1][..])]));
        assert_eq!(cache.get(b"a").as_deref(), Some(&[1][..]));
        assert!(cache.take_unsaved().is_empty());
        // The compiler's word counts, not the disk's.
        cache.insert(b"b", vec![2]);
        assert!(cache.fill([(&b"b"[..], &[9][..])]));
        assert_eq!(cache.get(b"b").as_deref(), Some(&[2][..]));
        assert_eq!(keys(&cache.take_unsaved()), [b"b"]);
    }

    #[test]
    fn saved_functions_take_what_room_there_is_and_leave_first() {
        let cache = FunctionCache::new(BUDGET as u64);
        let thirds = [b"a", b"b", b"c", b"d", b"e"].map(|key| (&key[..], [key[0]; BUDGET / 3 - 1]));
        cache.insert(b"a", thirds[0].1.to_vec());
        assert!(
            !cache.fill(thirds[1..4].iter().map(|(key, code)| (*key, &code[..]))),
            "the last one does not fit"
        );
        assert!(cache.lock().bytes() <= BUDGET);
        assert!(cache.lock().by_key.contains(&b"a"[..]), "it did not leave for a saved one");
        assert!(!cache.lock().by_key.contains(&b"d"[..]));
        cache.insert(b"e", thirds[4].1.to_vec());
        let left: Vec<_> = [b"a", b"b", b"c", b"e"].map(|key| cache.get(key).is_some()).into();
        assert_eq!(left, [true, true, false, true], "the least useful of the saved ones left");
    }
}
