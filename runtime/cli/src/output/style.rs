//! How text may look: colour where it is wanted, and nothing that steers a terminal by itself.

/// Whether to colour. Text is understandable without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Style {
    color: bool,
}

impl Style {
    /// No colour, for tests of text.
    #[cfg(test)]
    pub(crate) const PLAIN: Self = Self { color: false };

    /// Colour on a terminal that understands it, unless somebody objects: `no_color`, the value of
    /// `NO_COLOR`, counts when it is set and not empty.
    pub(crate) fn choose(is_terminal: bool, no_color: Option<&str>, term: Option<&str>) -> Self {
        let objection = no_color.is_some_and(|value| !value.is_empty()) || term == Some("dumb");
        Self { color: is_terminal && !objection }
    }

    /// The word that starts an error.
    pub(crate) fn error(self, text: &str) -> String {
        self.paint("1;31", text)
    }

    /// The word that starts a warning.
    pub(crate) fn warning(self, text: &str) -> String {
        self.paint("1;33", text)
    }

    /// The word that starts a note.
    pub(crate) fn note(self, text: &str) -> String {
        self.paint("1", text)
    }

    /// The word that starts a hint.
    pub(crate) fn hint(self, text: &str) -> String {
        self.paint("1;36", text)
    }

    /// A handler's name in front of a line.
    pub(crate) fn handler(self, text: &str) -> String {
        self.paint("36", text)
    }

    /// Good news.
    pub(crate) fn good(self, text: &str) -> String {
        self.paint("32", text)
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.color { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

/// One line of text with control characters spelled out, but for tabs, and with those that turn the
/// direction of writing, which could make a line read as another.
pub(crate) fn escape(text: &str) -> String {
    let steers = |c: char| {
        (c.is_control() && c != '\t')
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if steers(c) { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_needs_a_terminal_and_no_objection() {
        let check = |is_terminal, no_color, term, expect| {
            assert_eq!(Style::choose(is_terminal, no_color, term).color, expect);
        };
        check(true, None, Some("xterm"), true);
        check(true, Some(""), None, true);
        check(true, Some("1"), None, false);
        check(true, None, Some("dumb"), false);
        check(false, None, Some("xterm"), false);
    }

    #[test]
    fn escape_leaves_nothing_that_steers() {
        assert_eq!(escape("plain ä\t✓"), "plain ä\t✓");
        assert_eq!(escape("a\u{1b}[31m\r\nb\u{7}\u{9b}"), "a\\u{1b}[31m\\r\\nb\\u{7}\\u{9b}");
        assert_eq!(escape("\u{202e}gpj.exe"), "\\u{202e}gpj.exe");
    }
}
