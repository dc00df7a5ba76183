//! What bytes look like that are not a component, in words.

use wasmparser::{Parser, Payload};

/// `None` for a component; otherwise what the bytes seem to be.
pub(super) fn not_a_component(bytes: &[u8]) -> Option<&'static str> {
    /// The second half of the eight-byte preamble.
    const MODULE: &[u8] = &[0x01, 0x00, 0x00, 0x00];
    /// Version 13 of the component layer, the only one there is.
    const COMPONENT: &[u8] = &[0x0d, 0x00, 0x01, 0x00];

    let Some(rest) = bytes.strip_prefix(b"\0asm") else {
        return Some(without_magic(bytes));
    };
    match rest.get(..4) {
        Some(COMPONENT) => None,
        Some(MODULE) if imports_preview_1(bytes) => {
            Some("a core WebAssembly module for WASI preview 1")
        }
        Some(MODULE) => Some("a core WebAssembly module"),
        Some(_) => Some("WebAssembly of an unknown version"),
        None => Some("a WebAssembly file that ends within its first 8 bytes"),
    }
}

/// Whether the core module `bytes` imports the functions of WASI before there were components.
fn imports_preview_1(bytes: &[u8]) -> bool {
    let sections = Parser::new(0).parse_all(bytes).map_while(Result::ok);
    let imports = sections.filter_map(|section| match section {
        Payload::ImportSection(imports) => Some(imports.into_imports().map_while(Result::ok)),
        _ => None,
    });
    imports.flatten().any(|import| import.module == "wasi_snapshot_preview1")
}

fn without_magic(bytes: &[u8]) -> &'static str {
    let start = &bytes[..bytes.len().min(256)];
    let text = String::from_utf8_lossy(start).trim_start().to_ascii_lowercase();
    if bytes.is_empty() {
        "an empty file"
    } else if text.starts_with("<!doctype") || text.starts_with("<html") {
        "an HTML page"
    } else if text.starts_with("(component") || text.starts_with("(module") {
        "WebAssembly text"
    } else if start.starts_with(b"\x7fELF") {
        "a native program"
    } else if start.starts_with(b"PK\x03\x04") || start.starts_with(b"\x1f\x8b") {
        "an archive"
    } else if std::str::from_utf8(start).is_ok() {
        "text"
    } else {
        "something else"
    }
}

#[cfg(test)]
mod tests {
    use super::not_a_component;

    #[test]
    fn each_kind_of_mistake_has_its_name() {
        let cases: &[(&[u8], Option<&str>)] = &[
            (b"\0asm\x0d\0\x01\0", None),
            (b"\0asm\x01\0\0\0rest", Some("a core WebAssembly module")),
            (b"\0asm\x09\0\0\0", Some("WebAssembly of an unknown version")),
            (b"\0asm\x0d", Some("a WebAssembly file that ends within its first 8 bytes")),
            (b"", Some("an empty file")),
            (b"\n<!DOCTYPE html><title>404", Some("an HTML page")),
            (b"(component)", Some("WebAssembly text")),
            (b"\x7fELF\x02", Some("a native program")),
            (b"PK\x03\x04", Some("an archive")),
            (b"hello", Some("text")),
            (b"\xff\xfe\xfd", Some("something else")),
        ];
        for (bytes, expected) in cases {
            assert_eq!(not_a_component(bytes), *expected, "for {bytes:?}");
        }
    }
}
