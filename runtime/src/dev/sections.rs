//! Tells whether a component or module is whole, from its section headers alone.
//!
//! A half-written file then waits for its writer instead of being rejected; whether the bytes are
//! *valid* is for the compiler to say.

/// Magic number of every WebAssembly binary.
const MAGIC: &[u8] = b"\0asm";
/// Magic number, version and layer.
pub(super) const PREAMBLE: usize = 8;

/// What the section headers say about a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// The sections end exactly where the file ends.
    Whole,
    /// The file ends inside its preamble or a section.
    Cut,
    /// It does not begin like WebAssembly; waiting would not change that.
    Foreign,
}

/// Reads the section headers of `bytes`.
pub(crate) fn shape(bytes: &[u8]) -> Shape {
    if !bytes.starts_with(&MAGIC[..bytes.len().min(MAGIC.len())]) {
        return Shape::Foreign;
    }
    if bytes.len() < PREAMBLE {
        return Shape::Cut;
    }
    let mut at = PREAMBLE;
    while at < bytes.len() {
        // One byte of section id, then the size of the section's content.
        let Some((size, n_read)) = leb128_u32(&bytes[at + 1..]) else { return Shape::Cut };
        at += 1 + n_read + size as usize;
    }
    if at == bytes.len() { Shape::Whole } else { Shape::Cut }
}

/// Reads an unsigned LEB128 number of at most 32 bits; gives it and its length in bytes.
pub(super) fn leb128_u32(bytes: &[u8]) -> Option<(u32, usize)> {
    let mut value = 0_u64;
    // 32 bits in groups of 7 take at most 5 bytes.
    for (n, byte) in bytes.iter().take(5).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * n);
        if byte & 0x80 == 0 {
            return Some((u32::try_from(value).ok()?, n + 1));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A component with a section of 3 bytes and one of 200.
    fn sample() -> Vec<u8> {
        let mut bytes = b"\0asm\x0d\0\x01\0".to_vec();
        bytes.extend([0, 3, 1, 2, 3, 0, 0xc8, 0x01]);
        bytes.extend([7; 200]);
        bytes
    }

    #[test]
    fn a_file_is_whole_only_at_a_section_boundary() {
        let bytes = sample();
        assert_eq!(shape(&bytes), Shape::Whole);
        for len in 0..bytes.len() {
            let at_boundary = len == 8 || len == 13;
            let expect = if at_boundary { Shape::Whole } else { Shape::Cut };
            assert_eq!(shape(&bytes[..len]), expect, "{len}");
        }
    }

    #[test]
    fn other_files_are_foreign_at_once() {
        assert_eq!(shape(b"<html>"), Shape::Foreign);
        assert_eq!(shape(b"<"), Shape::Foreign);
    }

    #[test]
    fn a_size_that_is_no_number_is_cut() {
        let mut bytes = sample();
        bytes.extend([1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(shape(&bytes), Shape::Cut);
    }
}
