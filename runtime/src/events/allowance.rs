//! How much a handler's guests may log: lines and bytes a second, over all stores and generations.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The time over which lines and bytes are counted.
pub(crate) const WINDOW: Duration = Duration::from_secs(1);

/// Log lines that a handler may write in a second. A handler that answers some thousands of requests
/// a second may log each; more lines than that nobody reads, and each takes some microseconds of a
/// processor to pass on.
pub(crate) const MAX_LINES: u64 = 10_000;

/// Bytes of log lines that a handler may write in a second.
pub(crate) const MAX_LOG_BYTES: u64 = 4 * 1024 * 1024;

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct LogAllowance(Mutex<Window>);

#[derive(Debug)]
struct Window {
    began: Instant,
    lines: u64,
    bytes: u64,
    /// Lines that were left out and not told of.
    left_out: u64,
}

/// What becomes of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is passed on. Before it, so many were left out, which nobody was told yet.
    Passes {
        /// How many.
        left_out: u64,
    },
    /// It is left out.
    LeftOut {
        /// Whether it is the first one since the last report, so that somebody has to see to the
        /// next.
        is_first: bool,
    },
}

impl LogAllowance {
    pub(crate) fn new(now: Instant) -> Self {
        Self(Mutex::new(Window { began: now, lines: 0, bytes: 0, left_out: 0 }))
    }

    /// Judges `lines` equal lines, passed on as one, of `bytes` bytes, that are written `now`.
    pub(crate) fn judge(&self, now: Instant, lines: u64, bytes: usize) -> Verdict {
        // Figures; a panic elsewhere leaves them as good as any.
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_duration_since(window.began) >= WINDOW {
            window.began = now;
            window.lines = 0;
            window.bytes = 0;
        }
        if window.lines >= MAX_LINES || window.bytes >= MAX_LOG_BYTES {
            let is_first = window.left_out == 0;
            window.left_out += lines;
            return Verdict::LeftOut { is_first };
        }
        window.lines += 1;
        window.bytes += bytes as u64;
        Verdict::Passes { left_out: std::mem::take(&mut window.left_out) }
    }

    /// How many lines were left out and not told of; they are told of now.
    pub(crate) fn take_left_out(&self) -> u64 {
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut window.left_out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_beyond_the_allowance_of_a_second_are_left_out_and_told_of_once() {
        let start = Instant::now();
        let allowance = LogAllowance::new(start);
        for _ in 0..MAX_LINES {
            assert_eq!(allowance.judge(start, 1, 1), Verdict::Passes { left_out: 0 });
        }
        assert_eq!(allowance.judge(start, 1, 1), Verdict::LeftOut { is_first: true });
        assert_eq!(allowance.judge(start, 65_536, 1), Verdict::LeftOut { is_first: false });
        let later = start + WINDOW;
        assert_eq!(allowance.judge(later, 1, 1), Verdict::Passes { left_out: 65_537 });
        assert_eq!(allowance.judge(later, 1, 1), Verdict::Passes { left_out: 0 });
        assert_eq!(allowance.take_left_out(), 0);
    }

    #[test]
    fn long_lines_are_bounded_in_bytes() {
        let start = Instant::now();
        let allowance = LogAllowance::new(start);
        let line = 8 * 1024;
        let passed = (0..MAX_LINES)
            .filter(|_| matches!(allowance.judge(start, 1, line), Verdict::Passes { .. }))
            .count();
        assert_eq!(passed as u64, MAX_LOG_BYTES / line as u64);
        assert_eq!(allowance.take_left_out(), MAX_LINES - MAX_LOG_BYTES / line as u64);
        assert_eq!(allowance.take_left_out(), 0);
    }
}
