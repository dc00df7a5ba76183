//! Finds the mark of WASI 0.3 in a component that did not compile, when nothing can be asked of it.

use std::str;

/// The first WASI 0.3 interface whose name is in `bytes`, such as `wasi:http/types@0.3.0`.
///
/// The binary is not parsed: a name is found as text that starts with `wasi:` and has the length
/// which the byte before it states, as names of imports and exports do (one byte is enough below
/// 128, and no WASI name is as long). Data of the guest may look the same, so the answer is good
/// for the reason of a failure that has happened, and for nothing else.
pub(super) fn interface_in(bytes: &[u8]) -> Option<&str> {
    const START: &[u8] = b"wasi:";
    let lengths_and_rests = (1..bytes.len()).map(|at| (bytes[at - 1], &bytes[at..]));
    lengths_and_rests
        .filter(|(_, rest)| rest.starts_with(START))
        .filter_map(|(length, rest)| str::from_utf8(rest.get(..usize::from(length))?).ok())
        .find(|name| name.contains("@0.3.") && !name.contains(char::is_whitespace))
}

#[cfg(test)]
mod tests {
    use super::interface_in;

    #[test]
    fn interface_is_named_without_what_follows_it() {
        let cases: &[(&[u8], Option<&str>)] = &[
            (b"\x15wasi:http/types@0.3.20\x0f[drop]", Some("wasi:http/types@0.3.2")),
            (
                b"\x00\x15wasi:http/types@0.2.1\x15wasi:http/types@0.3.0",
                Some("wasi:http/types@0.3.0"),
            ),
            (b"\x15wasi:http/types@0.2.12", None),
            (b"\x15acme:http/types@0.3.2", None),
            (b"see wasi:http/types@0.3.0 in the documents", None),
            (b"\x7fwasi:http/types@0.3.0", None),
            (b"wasi:", None),
            (b"", None),
        ];
        for (bytes, expected) in cases {
            assert_eq!(interface_in(bytes), *expected, "in {:?}", bytes.escape_ascii().to_string());
        }
    }
}
