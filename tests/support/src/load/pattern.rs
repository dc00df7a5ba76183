//! Request bodies whose every byte is known, so that an echo can be checked as it arrives.

use std::pin::Pin;
use std::sync::LazyLock;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// Longest chunk of a body.
pub(super) const MAX_CHUNK_LEN: usize = 64 * 1024;

/// How many different starting points a chunk has; prime, so that they go by in no simple rhythm.
const N_STARTS: usize = 251;

/// Bytes without a short period; every chunk is a slice of them, so no body is ever copied.
static BYTES: LazyLock<Bytes> = LazyLock::new(|| {
    let mut state = 1_u32;
    let next = || {
        // The constants of Numerical Recipes' linear congruential generator; its high bits are
        // the good ones.
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    std::iter::repeat_with(next).take(MAX_CHUNK_LEN + N_STARTS).collect()
});

/// A body's content.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pattern {
    seed: usize,
    n_chunks: usize,
    chunk_len: usize,
}

impl Pattern {
    /// `n_chunks` chunks of `chunk_len` bytes, chosen by `seed`; longer chunks are cut.
    pub(super) fn new(seed: usize, n_chunks: usize, chunk_len: usize) -> Self {
        Self { seed, n_chunks, chunk_len: chunk_len.min(MAX_CHUNK_LEN) }
    }

    pub(super) fn len(&self) -> usize {
        self.n_chunks * self.chunk_len
    }

    pub(super) fn body(self) -> PatternBody {
        PatternBody { pattern: self, next: 0, has_yielded: true }
    }

    /// Whether the content has exactly `data` at byte `offset`.
    pub(super) fn has_at(&self, mut offset: usize, mut data: &[u8]) -> bool {
        while !data.is_empty() {
            if offset >= self.len() {
                return false;
            }
            let chunk = self.chunk(offset / self.chunk_len);
            let rest = &chunk[offset % self.chunk_len..];
            let n_shared = rest.len().min(data.len());
            if rest[..n_shared] != data[..n_shared] {
                return false;
            }
            offset += n_shared;
            data = &data[n_shared..];
        }
        true
    }

    fn chunk(&self, number: usize) -> Bytes {
        let start = self.seed.wrapping_add(number) % N_STARTS;
        BYTES.slice(start..start + self.chunk_len)
    }
}

/// Sends a [`Pattern`], one frame per chunk.
#[derive(Debug)]
pub(super) struct PatternBody {
    pattern: Pattern,
    next: usize,
    has_yielded: bool,
}

impl Body for PatternBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.next >= self.pattern.n_chunks {
            return Poll::Ready(None);
        }
        // Between chunks others get a turn, so that a streamed body reaches the server in pieces
        // and not in one write.
        if !std::mem::replace(&mut self.has_yielded, true) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let chunk = self.pattern.chunk(self.next);
        self.next += 1;
        self.has_yielded = false;
        Poll::Ready(Some(Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.next >= self.pattern.n_chunks
    }

    fn size_hint(&self) -> SizeHint {
        // A length makes the client send `content-length`; several chunks are a stream without.
        match self.pattern.n_chunks {
            0 | 1 => SizeHint::with_exact((self.pattern.len()) as u64),
            _ => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(pattern: &Pattern) -> Vec<u8> {
        (0..pattern.n_chunks).flat_map(|number| pattern.chunk(number)).collect()
    }

    #[test]
    fn content_is_recognised_at_any_boundary() {
        let pattern = Pattern::new(7, 5, 100);
        let content = content(&pattern);
        for piece in [1, 7, 99, 100, 101, 500] {
            for (i, data) in content.chunks(piece).enumerate() {
                assert!(pattern.has_at(i * piece, data), "piece {i} of {piece}");
            }
        }
    }

    #[test]
    fn changed_moved_or_surplus_bytes_are_noticed() {
        let pattern = Pattern::new(7, 5, 100);
        let mut content = content(&pattern);
        assert!(!pattern.has_at(1, &content[..400]));
        assert!(!pattern.has_at(400, &[&content[400..], b"x"].concat()));
        content[250] ^= 1;
        assert!(!pattern.has_at(0, &content));
    }

    #[test]
    fn seeds_differ() {
        assert_ne!(content(&Pattern::new(1, 1, 64)), content(&Pattern::new(2, 1, 64)));
    }
}
