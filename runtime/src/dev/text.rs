//! Makes a program's output safe to show: no control characters, colours only where wanted.

/// `text` without control characters other than line feed and tab. Colour escapes stay where
/// `color` is set; every other escape sequence goes, so that output can neither move the cursor
/// nor set a title nor write to the clipboard.
pub(super) fn clean(text: &str, color: bool) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            '\n' | '\t' => out.push(c),
            '\u{1b}' => match rest.next() {
                Some('[') => take_control_sequence(&mut rest, color, &mut out),
                Some(']' | 'P' | 'X' | '^' | '_') => skip_string(&mut rest),
                // Two-character escapes such as "reset terminal".
                _ => {}
            },
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out
}

/// Consumes `ESC [ parameters final`, and keeps it where it is a colour that is wanted.
fn take_control_sequence(rest: &mut std::str::Chars<'_>, color: bool, out: &mut String) {
    let mut parameters = String::new();
    for c in rest.by_ref() {
        match c {
            'm' if color => {
                out.push_str("\u{1b}[");
                out.push_str(&parameters);
                out.push('m');
                return;
            }
            '@'..='~' => return,
            '0'..='9' | ';' | ':' => parameters.push(c),
            _ => {}
        }
    }
}

/// Consumes an operating system command or the like, up to its terminator.
fn skip_string(rest: &mut std::str::Chars<'_>) {
    while let Some(c) = rest.next() {
        match c {
            '\u{7}' | '\u{9c}' => return,
            '\u{1b}' => {
                rest.next();
                return;
            }
            // A sequence that is never closed must not swallow the lines after it.
            '\n' => return,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::clean;

    #[test]
    fn only_colours_survive_and_only_where_wanted() {
        let check = |text, plain, colored| {
            assert_eq!(clean(text, false), plain);
            assert_eq!(clean(text, true), colored);
        };
        check("\u{1b}[1;31mred\u{1b}[0m", "red", "\u{1b}[1;31mred\u{1b}[0m");
        check("a\u{1b}[2Jb\u{1b}[10;10Hc", "abc", "abc");
        check("\u{1b}]0;title\u{7}x\u{1b}]8;;http://x\u{1b}\\y", "xy", "xy");
        check("a\r\nb\u{8}\u{0}\u{9b}c\td", "a\nbc\td", "a\nbc\td");
        check("\u{1b}[", "", "");
    }
}
