//! Keeps the beginning and the end of output of any length in a bounded amount of memory.

use std::collections::VecDeque;

/// Bytes kept from the beginning, where the first error is, and as many from the end, where tools
/// sum up. Together more than anybody reads, and nothing beside a compiler's memory.
const KEEP: usize = 128 * 1024;

/// Output, capped.
#[derive(Debug, Default)]
pub(super) struct Capped {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    n_dropped: u64,
}

impl Capped {
    /// Adds output.
    pub(super) fn push(&mut self, mut bytes: &[u8]) {
        let room = KEEP - self.head.len();
        let first = bytes.len().min(room);
        self.head.extend_from_slice(&bytes[..first]);
        bytes = &bytes[first..];
        if bytes.len() > KEEP {
            self.n_dropped += (bytes.len() - KEEP) as u64;
            bytes = &bytes[bytes.len() - KEEP..];
        }
        let overflow = (self.tail.len() + bytes.len()).saturating_sub(KEEP);
        self.tail.drain(..overflow);
        self.n_dropped += overflow as u64;
        self.tail.extend(bytes);
    }

    /// The output as text, with a line in place of what was left out.
    pub(super) fn into_text(self) -> String {
        let mut text = String::from_utf8_lossy(&self.head).into_owned();
        if self.n_dropped > 0 {
            let dropped = self.n_dropped.div_ceil(1024);
            text.push_str(&format!("\n… {dropped} KiB of output left out …\n"));
        }
        let tail = Vec::from(self.tail);
        text.push_str(&String::from_utf8_lossy(&tail));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_output_is_kept_whole() {
        let mut capped = Capped::default();
        capped.push(b"one ");
        capped.push(b"two");
        assert_eq!(capped.into_text(), "one two");
    }

    #[test]
    fn long_output_keeps_both_ends_and_says_so() {
        let mut capped = Capped::default();
        capped.push(b"first");
        for _ in 0..1024 {
            capped.push(&[b'x'; 1000]);
        }
        capped.push(&[b'y'; 3 * KEEP]);
        capped.push(b"last");
        let text = capped.into_text();
        assert!(text.len() < 2 * KEEP + 100, "{}", text.len());
        assert!(text.starts_with("first") && text.ends_with("last"));
        assert!(text.contains("KiB of output left out"));
    }
}
