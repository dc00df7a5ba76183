//! Calls whose popularity follows Zipf's law, and what the best possible cache makes of them.

use std::collections::BTreeSet;

/// `n_calls` numbers below `n_items`. The k-th most popular one is called 1/k^`exponent` as often as
/// the first; which number that is, the seed decides, so that popularity and order are unrelated.
pub(crate) fn zipf(n_items: usize, n_calls: usize, exponent: f64, seed: u64) -> Vec<usize> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut by_rank: Vec<_> = (0..n_items).collect();
    random.shuffle(&mut by_rank);
    let mut sum = 0.0;
    let sums: Vec<f64> = (1..=n_items)
        .map(|rank| {
            sum += (rank as f64).powf(-exponent);
            sum
        })
        .collect();
    let mut call = || {
        let point = random.f64() * sum;
        // Rounding may put the point at the very end.
        by_rank[sums.partition_point(|it| *it < point).min(n_items - 1)]
    };
    (0..n_calls).map(|_| call()).collect()
}

/// Calls of `trace` that the least recently used cache with `n_places` places answers.
pub(crate) fn lru_hits(trace: &[usize], n_places: usize) -> usize {
    hits(trace, n_places, |now| now)
}

/// Calls that the cache answers which knows the future: it gives up the item whose next call is the
/// farthest (Belady). No cache of items of one size that has to take in what is called does better.
pub(crate) fn optimal_hits(trace: &[usize], n_places: usize) -> usize {
    let mut next_of = vec![usize::MAX; n_items(trace)];
    let mut next = vec![usize::MAX; trace.len()];
    for (now, item) in trace.iter().enumerate().rev() {
        next[now] = std::mem::replace(&mut next_of[*item], now);
    }
    // The farthest next call is to be the smallest key.
    hits(trace, n_places, |now| usize::MAX - next[now])
}

/// Counts the hits of a cache that gives up the item with the smallest key; an item's key is `key`
/// of its last call.
fn hits(trace: &[usize], n_places: usize, key: impl Fn(usize) -> usize) -> usize {
    let mut keys: Vec<Option<usize>> = vec![None; n_items(trace)];
    let mut kept = BTreeSet::new();
    let mut n_hits = 0;
    for (now, &item) in trace.iter().enumerate() {
        match keys[item].take() {
            Some(old) => {
                kept.remove(&(old, item));
                n_hits += 1;
            }
            None if kept.len() >= n_places => {
                if let Some((_, given_up)) = kept.pop_first() {
                    keys[given_up] = None;
                }
            }
            None => {}
        }
        let key = key(now);
        keys[item] = Some(key);
        kept.insert((key, item));
    }
    n_hits
}

fn n_items(trace: &[usize]) -> usize {
    trace.iter().max().map_or(0, |largest| largest + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn popular_items_are_called_as_often_as_the_law_says() {
        let trace = zipf(100, 100_000, 1.0, 7);
        assert_eq!(trace, zipf(100, 100_000, 1.0, 7), "a seed repeats the trace");
        let mut counts = vec![0_usize; 100];
        trace.iter().for_each(|item| counts[*item] += 1);
        counts.sort_unstable_by(|a, b| b.cmp(a));
        let ratio = counts[0] as f64 / counts[1] as f64;
        assert!((1.9..2.1).contains(&ratio), "{counts:?}");
        assert!(counts[99] > 0, "{counts:?}");
    }

    #[test]
    fn least_recently_used_item_is_given_up() {
        // 0 is called again before 2 comes, so 1 goes.
        assert_eq!(lru_hits(&[0, 1, 0, 2, 0, 1], 2), 2);
        assert_eq!(lru_hits(&[0, 1, 2, 0, 1, 2], 2), 0);
    }

    #[test]
    fn optimum_gives_up_what_is_called_last() {
        assert_eq!(optimal_hits(&[0, 1, 2, 0, 1, 2], 2), 2);
        // The example of Belady's anomaly, whose optimum with three places is seven misses.
        let trace = [1, 2, 3, 4, 1, 2, 5, 1, 2, 3, 4, 5];
        assert_eq!(trace.len() - optimal_hits(&trace, 3), 7);
        assert_eq!(trace.len() - lru_hits(&trace, 3), 10);
    }

    #[test]
    fn cache_for_all_misses_each_item_once() {
        let trace = zipf(50, 1000, 0.8, 1);
        let n_distinct = trace.iter().collect::<BTreeSet<_>>().len();
        assert_eq!(lru_hits(&trace, 50), 1000 - n_distinct);
        assert_eq!(optimal_hits(&trace, 50), 1000 - n_distinct);
    }
}
