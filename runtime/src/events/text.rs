//! The one place that cuts texts of guests: whatever a guest says is cut before the host keeps it.

/// Longest text of a guest that the host keeps, in bytes: an error, a reason, a backtrace, a log
/// line. It is enough for any text that a person reads; a guest may well write 30 MB.
pub const MAX_TEXT: usize = 8 * 1024;

/// `text`, cut to [`MAX_TEXT`]. A text that was cut says so, and how long it was.
pub(crate) fn cut(text: String) -> String {
    if text.len() <= MAX_TEXT {
        return text;
    }
    // A new text, so that the memory of the long one is given back.
    let kept = &text[..text.floor_char_boundary(MAX_TEXT)];
    format!("{kept}… (cut, {} bytes in all)", text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_at_a_character_and_says_so_and_a_short_one_is_kept() {
        let fits = "x".repeat(MAX_TEXT);
        assert_eq!(cut(fits.clone()), fits);
        let long = format!("x{}", "ä".repeat(MAX_TEXT));
        let text = cut(long);
        assert!(text.ends_with("ä… (cut, 16385 bytes in all)"), "{}", &text[MAX_TEXT - 4..]);
        assert!(text.capacity() < 2 * MAX_TEXT, "the long one is not held");
    }
}
