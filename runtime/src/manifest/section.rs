//! Typed access to the tables of a manifest; whatever does not fit becomes a problem with a place.

use std::fmt::Display;
use std::ops::Range;
use std::path::PathBuf;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Surroundings;
use super::expand::{ExpandError, expand};
use super::nearest::nearest;
use super::problem::Problem;
use crate::config::MAX_COUNT;

/// One table of the manifest, and what messages call it.
pub(super) struct Section<'a> {
    pub(super) object: String,
    table: &'a DeTable<'a>,
}

impl<'a> Section<'a> {
    pub(super) fn new(object: impl Into<String>, table: &'a DeTable<'a>) -> Self {
        Self { object: object.into(), table }
    }

    pub(super) fn get(&self, key: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.table.get(key)
    }

    /// Where `key` stands, for a problem with its value.
    pub(super) fn span_of(&self, key: &str) -> Range<usize> {
        self.table.get_key_value(key).map_or(0..0, |(key, _)| key.span())
    }

    /// Every entry, for a table whose keys the author chooses.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&'a str, &'a Spanned<DeValue<'a>>)> {
        self.table.iter().map(|(key, value)| (key.get_ref().as_ref(), value))
    }
}

/// Reads values and collects the problems on the way.
pub(super) struct Reader<'a> {
    text: &'a str,
    pub(super) around: &'a Surroundings<'a>,
    problems: Vec<Problem>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a str, around: &'a Surroundings<'a>) -> Self {
        Self { text, around, problems: Vec::new() }
    }

    /// Everything reported, in the order of the text.
    pub(super) fn into_problems(mut self) -> Vec<Problem> {
        self.problems.sort_by_key(|problem| problem.position);
        self.problems
    }

    pub(super) fn report(&mut self, at: Range<usize>, message: String, hint: Option<String>) {
        self.problems.push(Problem::new(self.text, &at, message, hint));
    }

    /// Reports a value of the wrong type.
    pub(super) fn expected(&mut self, what: &str, wanted: &str, found: &Spanned<DeValue<'_>>) {
        let kind = match found.get_ref() {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a number with a fraction",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date or time",
            DeValue::Array(_) => "an array",
            DeValue::Table(_) => "a table",
        };
        self.report(found.span(), format!("{what}: expected {wanted}, found {kind}"), None);
    }

    /// Reports each key that is neither in `known` nor in `later`; the latter pairs keys that this
    /// version lacks with what to do instead.
    pub(super) fn refuse_unknown(
        &mut self,
        section: &Section<'_>,
        known: &[&str],
        later: &[(&str, &str)],
    ) {
        for (key, _) in section.entries() {
            let span = section.span_of(key);
            if let Some((_, instead)) = later.iter().find(|(name, _)| *name == key) {
                let message =
                    format!("`{key}` in {} is not available in this version", section.object);
                self.report(span, message, Some((*instead).to_owned()));
            } else if !known.contains(&key) {
                let message = format!("unknown key `{}` in {}", key.escape_debug(), section.object);
                let hint = match nearest(key, known) {
                    Some(word) => format!("did you mean `{word}`?"),
                    None => format!("the known keys are `{}`", known.join("`, `")),
                };
                self.report(span, message, Some(hint));
            }
        }
    }

    pub(super) fn table<'t>(
        &mut self,
        section: &Section<'t>,
        key: &str,
    ) -> Option<&'t DeTable<'t>> {
        let value = section.get(key)?;
        match value.get_ref() {
            DeValue::Table(table) => Some(table),
            _ => {
                self.expected(&what(section, key), "a table", value);
                None
            }
        }
    }

    pub(super) fn boolean(&mut self, section: &Section<'_>, key: &str) -> Option<bool> {
        let value = section.get(key)?;
        if let DeValue::Boolean(boolean) = value.get_ref() {
            return Some(*boolean);
        }
        self.expected(&what(section, key), "`true` or `false`", value);
        None
    }

    /// A whole number between `least` and [`MAX_COUNT`].
    pub(super) fn count(
        &mut self,
        section: &Section<'_>,
        key: &str,
        least: usize,
    ) -> Option<usize> {
        let value = section.get(key)?;
        let DeValue::Integer(integer) = value.get_ref() else {
            self.expected(&what(section, key), "a whole number", value);
            return None;
        };
        let number = usize::from_str_radix(integer.as_str(), integer.radix()).ok();
        let number = number.filter(|number| (least..=MAX_COUNT).contains(number));
        if number.is_none() {
            let message = format!(
                "{}: expected a whole number between {least} and {MAX_COUNT}, found `{}`",
                what(section, key),
                self.source(value)
            );
            self.report(value.span(), message, None);
        }
        number
    }

    /// A number, with a fraction or without.
    pub(super) fn number(&mut self, section: &Section<'_>, key: &str) -> Option<f64> {
        let value = section.get(key)?;
        if !matches!(value.get_ref(), DeValue::Float(_) | DeValue::Integer(_)) {
            self.expected(&what(section, key), "a number", value);
            return None;
        }
        // Hexadecimal and the like are numbers, too, and nobody writes them here.
        let number = self.source(value).replace('_', "").parse().ok();
        if number.is_none() {
            self.expected(&what(section, key), "a decimal number", value);
        }
        number
    }

    /// A string, its variables replaced, made into a `T`.
    pub(super) fn parsed<T, E: Display>(
        &mut self,
        section: &Section<'_>,
        key: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<T> {
        let value = section.get(key)?;
        self.parsed_value(&what(section, key), value, parse)
    }

    /// An array of strings, each made into a `T`; empty when the key is absent.
    pub(super) fn list<T, E: Display>(
        &mut self,
        section: &Section<'_>,
        key: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Vec<T> {
        let Some(value) = section.get(key) else { return Vec::new() };
        let what = what(section, key);
        let DeValue::Array(items) = value.get_ref() else {
            self.expected(&what, "an array of strings", value);
            return Vec::new();
        };
        items.iter().filter_map(|item| self.parsed_value(&what, item, &parse)).collect()
    }

    /// A path, relative ones from the manifest's directory on.
    pub(super) fn path(&mut self, section: &Section<'_>, key: &str) -> Option<PathBuf> {
        let root = self.around.root;
        self.parsed(section, key, |text| to_path(root, text))
    }

    fn parsed_value<T, E: Display>(
        &mut self,
        what: &str,
        value: &Spanned<DeValue<'_>>,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<T> {
        let DeValue::String(string) = value.get_ref() else {
            // `timeout = 30` deserves the answer that `timeout = "30"` gets: the wanted form.
            match parse(self.source(value)) {
                Ok(_) => self.expected(what, "a string", value),
                Err(error) => self.report(value.span(), format!("{what}: {error}"), None),
            }
            return None;
        };
        let text = self.expanded(what, value.span(), string)?;
        match parse(&text) {
            Ok(parsed) => Some(parsed),
            Err(error) => {
                self.report(value.span(), format!("{what}: {error}"), None);
                None
            }
        }
    }

    /// `text` with its variables replaced.
    pub(super) fn expanded(&mut self, what: &str, at: Range<usize>, text: &str) -> Option<String> {
        let (message, hint) = match expand(text, self.around.env) {
            Ok(expanded) => return Some(expanded),
            Err(ExpandError::Malformed) => (
                format!("{what}: expected a variable such as `${{NAME}}` after `${{`"),
                "write `$${` for the characters `${` themselves".to_owned(),
            ),
            Err(ExpandError::Unset(name)) => (
                format!("{what}: environment variable `{}` is not set", name.escape_debug()),
                "set it before the start, or write `$${` for the characters `${` themselves"
                    .to_owned(),
            ),
        };
        self.report(at, message, Some(hint));
        None
    }

    /// The value as it stands in the text.
    fn source(&self, value: &Spanned<DeValue<'_>>) -> &'a str {
        self.text.get(value.span()).unwrap_or_default()
    }
}

/// What messages call a value.
pub(super) fn what(section: &Section<'_>, key: &str) -> String {
    format!("`{key}` of {}", section.object)
}

pub(super) fn to_path(root: &std::path::Path, text: &str) -> Result<PathBuf, &'static str> {
    if text.is_empty() {
        Err("expected a path, found an empty string")
    } else {
        Ok(root.join(text))
    }
}
