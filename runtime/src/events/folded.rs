//! What goes on for long, told at once and then now and then, with a count.

use std::time::Duration;

use tokio::time::Instant;

/// Time between two words about the same thing: it lasts, and comes again with each call or connection.
const TOLD_EVERY: Duration = Duration::from_secs(60);

/// Something that goes on for long, told at once and then now and then, with a count.
#[derive(Debug, Default)]
pub(crate) struct Folded {
    told_at: Option<Instant>,
    n_untold: u64,
}

impl Folded {
    /// Counts the thing, `now`. When it is to be told, returns how often it came since it was told last.
    pub(crate) fn met(&mut self, now: Instant) -> Option<u64> {
        self.n_untold += 1;
        if self.told_at.is_some_and(|told_at| now - told_at < TOLD_EVERY) {
            return None;
        }
        self.told_at = Some(now);
        Some(std::mem::take(&mut self.n_untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_on_is_told_at_once_and_then_once_a_minute_with_its_count() {
        let (mut folded, start) = (Folded::default(), Instant::now());
        assert_eq!(folded.met(start), Some(1));
        for _ in 0..1000 {
            assert_eq!(folded.met(start + TOLD_EVERY / 2), None);
        }
        assert_eq!(folded.met(start + TOLD_EVERY), Some(1001));
        assert_eq!(folded.met(start + TOLD_EVERY), None);
    }
}
