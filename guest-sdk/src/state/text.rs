//! Writes a shape as text while the handler is compiled, so that tools can read it in the component.

use super::{Part, Shape};

/// The longest path of a leaf, in bytes. Paths of real states have a tenth of it.
const MAX_PATH: usize = 512;

/// The decimal digits of the largest number that is written.
const MAX_DIGITS: usize = 20;

/// Text that is only counted once `N` bytes are written: with `N` of 0 it measures.
struct Writer<const N: usize> {
    text: [u8; N],
    len: usize,
    path: [u8; MAX_PATH],
    path_len: usize,
}

/// The length of the text of `shape`, in bytes.
pub const fn schema_len(shape: &Shape) -> usize {
    let mut writer = Writer::<0>::new();
    writer.shape(shape);
    writer.len
}

/// The text of `shape`; `N` is its [`schema_len`].
pub const fn schema<const N: usize>(shape: &Shape) -> [u8; N] {
    let mut writer = Writer::<N>::new();
    writer.shape(shape);
    assert!(writer.len == N, "the length of a schema is that of its shape");
    writer.text
}

/// The text of `shape`, for types that are known by a parameter only.
#[cfg(test)]
pub(super) fn of(shape: &Shape) -> String {
    /// More than the schemas of tests have.
    const MAX: usize = 4096;
    let mut writer = Writer::<MAX>::new();
    writer.shape(shape);
    String::from_utf8(writer.text[..writer.len].to_vec()).expect("names are whole in a schema")
}

/// The bytes of [`schema`] as text.
pub const fn schema_str(bytes: &[u8]) -> &str {
    match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(_) => panic!("names are whole in a schema, so it is UTF-8"),
    }
}

/// The length of the section `wrt:state`, in bytes.
pub const fn section_len(version: u32, schema: &str) -> usize {
    let mut writer = Writer::<0>::new();
    writer.section(version, schema);
    writer.len
}

/// The section `wrt:state`: JSON with `version` and `schema`. `N` is its [`section_len`].
pub const fn section<const N: usize>(version: u32, schema: &str) -> [u8; N] {
    let mut writer = Writer::<N>::new();
    writer.section(version, schema);
    assert!(writer.len == N, "the length of a section is that of its text");
    writer.text
}

impl<const N: usize> Writer<N> {
    const fn new() -> Self {
        Self { text: [0; N], len: 0, path: [0; MAX_PATH], path_len: 0 }
    }

    const fn section(&mut self, version: u32, schema: &str) {
        self.put(b"{\"version\":");
        self.number(version as u64, false);
        // Names with quotes or backslashes are refused by the derive.
        self.put(b",\"schema\":\"");
        self.put(schema.as_bytes());
        self.put(b"\"}\n");
    }

    const fn shape(&mut self, shape: &Shape) {
        let before = self.path_len;
        match shape {
            Shape::Leaf(name) => self.leaf(name),
            Shape::Optional(inner) => {
                self.push(b"?");
                self.shape(inner);
            }
            Shape::List(inner) => {
                self.push(b"[]");
                self.shape(inner);
            }
            Shape::Set(inner) => {
                self.push(b"{}");
                self.shape(inner);
            }
            Shape::Array(length, inner) => {
                self.push(b"[");
                self.number(*length as u64, true);
                self.push(b"]");
                self.shape(inner);
            }
            Shape::Map(key, value) => {
                let Shape::Leaf(key) = key else {
                    panic!("the keys of a map in a state are text, numbers, `bool` or `char`");
                };
                self.push(b"{");
                self.push(key.as_bytes());
                self.push(b"}");
                self.shape(value);
            }
            Shape::Record(fields) => self.parts(b".", fields),
            Shape::Choice(variants) => self.parts(b"|", variants),
        }
        self.path_len = before;
    }

    const fn parts(&mut self, separator: &[u8], parts: &[Part]) {
        let before = self.path_len;
        let mut i = 0;
        while i < parts.len() {
            // `count` reads better than `.count`; a variant keeps its mark, to be told from a field.
            if before > 0 || separator[0] == b'|' {
                self.push(separator);
            }
            self.push(parts[i].name.as_bytes());
            self.shape(parts[i].shape);
            self.path_len = before;
            i += 1;
        }
    }

    const fn leaf(&mut self, name: &str) {
        if self.len > 0 {
            self.put(b";");
        }
        let mut i = 0;
        while i < self.path_len {
            self.put(&[self.path[i]]);
            i += 1;
        }
        self.put(b":");
        self.put(name.as_bytes());
    }

    const fn put(&mut self, bytes: &[u8]) {
        let mut i = 0;
        while i < bytes.len() {
            if self.len < N {
                self.text[self.len] = bytes[i];
            }
            self.len += 1;
            i += 1;
        }
    }

    const fn push(&mut self, bytes: &[u8]) {
        let mut i = 0;
        while i < bytes.len() {
            assert!(self.path_len < MAX_PATH, "the state is nested too deeply for a schema");
            self.path[self.path_len] = bytes[i];
            self.path_len += 1;
            i += 1;
        }
    }

    const fn number(&mut self, number: u64, is_path: bool) {
        let mut digits = [0; MAX_DIGITS];
        let mut start = MAX_DIGITS;
        let mut rest = number;
        loop {
            start -= 1;
            digits[start] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        let (_, digits) = digits.split_at(start);
        if is_path { self.push(digits) } else { self.put(digits) }
    }
}
