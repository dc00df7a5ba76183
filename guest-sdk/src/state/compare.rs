//! Which parts of a saved state a type reads without loss, by the schema of the one and the shape of the
//! other.
//!
//! What counts is what serde does with JSON: a number that is read as a wider one is the same number,
//! a field that goes by another name is found by its alias, a value where an `Option` may be is `Some`.

use super::schema::{Part, Shape};

/// A leaf of a schema: its path as far as it has not been followed yet, and its type.
#[derive(Debug, Clone, Copy)]
struct Leaf<'a> {
    path: &'a str,
    ty: &'a str,
    /// All of it.
    text: &'a str,
}

/// How a state fits a type.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Fit<'a> {
    /// Leaves of the state that the type would lose.
    pub(super) lost: Vec<&'a str>,
    /// Leaves of the state that may be missing, which the type does not allow: the value decides.
    pub(super) wanted: Vec<&'a str>,
}

/// The leaves of a schema.
pub(super) fn leaves(schema: &str) -> impl Iterator<Item = &str> {
    schema.split(';').filter(|leaf| !leaf.is_empty())
}

/// Compares a state of the schema `old` with what `new` reads.
pub(super) fn compare<'a>(old: &'a str, new: &Shape) -> Fit<'a> {
    let mut fit = Fit::default();
    let mut all = Vec::new();
    for text in leaves(old) {
        match text.rsplit_once(':') {
            Some((path, ty)) => all.push(Leaf { path, ty, text }),
            None => fit.lost.push(text),
        }
    }
    if !all.is_empty() {
        fit.compare(&all, new);
    }
    fit
}

/// The first token of a path through a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token<'a> {
    /// The path is at its end.
    End,
    Optional,
    List,
    Set,
    Array(&'a str),
    Map(&'a str),
    Field(&'a str),
    Variant(&'a str),
}

impl<'a> Token<'a> {
    /// The first token of `path`, and the rest of it.
    fn first(path: &'a str) -> (Self, &'a str) {
        let Some(sign) = path.chars().next() else { return (Self::End, path) };
        let within = |close: char| path[1..].split_once(close).unwrap_or((&path[1..], ""));
        let name = |path: &'a str| {
            path.split_at(path.find(['.', '|', '?', '[', '{']).unwrap_or(path.len()))
        };
        match sign {
            '?' => (Self::Optional, &path[1..]),
            '[' => match within(']') {
                ("", rest) => (Self::List, rest),
                (length, rest) => (Self::Array(length), rest),
            },
            '{' => match within('}') {
                ("", rest) => (Self::Set, rest),
                (key, rest) => (Self::Map(key), rest),
            },
            '|' => {
                let (name, rest) = name(&path[1..]);
                (Self::Variant(name), rest)
            }
            '.' => {
                let (name, rest) = name(&path[1..]);
                (Self::Field(name), rest)
            }
            // The fields of the whole state have no mark.
            _ => {
                let (name, rest) = name(path);
                (Self::Field(name), rest)
            }
        }
    }
}

impl<'a> Fit<'a> {
    fn compare(&mut self, old: &[Leaf<'a>], new: &Shape) {
        let (token, _) = Token::first(old[0].path);
        match (token, new) {
            (_, Shape::Leaf("json")) if old.iter().all(is_json) => {}
            (Token::Optional, Shape::Optional(inner)) => self.inside(old, inner),
            (Token::Optional, _) => {
                self.wanted.extend(old.iter().map(|leaf| leaf.text));
                self.inside(old, new);
            }
            (_, Shape::Optional(inner)) if !may_be_null(token, old[0].ty) => {
                self.compare(old, inner);
            }
            (Token::End, Shape::Leaf(name)) if old.len() == 1 && reads(name, old[0].ty) => {}
            // A set has no order and nothing twice, so a list is no set.
            (Token::List, Shape::List(inner))
            | (Token::Set, Shape::Set(inner) | Shape::List(inner))
            | (Token::Array(_), Shape::List(inner)) => self.inside(old, inner),
            (Token::Array(length), Shape::Array(n, inner)) if length.parse() == Ok(*n) => {
                self.inside(old, inner);
            }
            (Token::Map(key), Shape::Map(Shape::Leaf(name), inner)) if reads_key(name, key) => {
                self.inside(old, inner);
            }
            (Token::Field(_), Shape::Record(parts)) => self.parts(old, parts, |_, _| true),
            (Token::Variant(_), Shape::Choice(parts)) => self.parts(old, parts, fits_variant),
            _ => self.lose(old),
        }
    }

    /// Goes one token further in each of `old`.
    fn inside(&mut self, old: &[Leaf<'a>], new: &Shape) {
        let (token, _) = Token::first(old[0].path);
        let mut rest = Vec::new();
        for leaf in old {
            match Token::first(leaf.path) {
                (found, path) if found == token => rest.push(Leaf { path, ..*leaf }),
                _ => self.lost.push(leaf.text),
            }
        }
        self.compare(&rest, new);
    }

    /// Compares each field or variant of `old` with the one of `parts` that serde reads it as.
    fn parts(
        &mut self,
        old: &[Leaf<'a>],
        parts: &[Part],
        is_like: impl Fn(&[Leaf<'a>], &Shape) -> bool,
    ) {
        let mut taken = Vec::new();
        for group in old.chunk_by(|a, b| Token::first(a.path).0 == Token::first(b.path).0) {
            let (Token::Field(name) | Token::Variant(name), _) = Token::first(group[0].path) else {
                self.lose(group);
                continue;
            };
            let by_name = parts.iter().position(|part| part.name == name);
            let by_alias = || parts.iter().position(|part| part.aliases.contains(&name));
            let found = by_name.or_else(by_alias);
            match found.and_then(|at| Some((at, parts.get(at)?))) {
                // Two fields that are read as one are an error of serde's.
                Some((at, part)) if !taken.contains(&at) => {
                    taken.push(at);
                    let rest: Vec<Leaf<'a>> = group
                        .iter()
                        .map(|leaf| Leaf { path: Token::first(leaf.path).1, ..*leaf })
                        .collect();
                    match is_like(&rest, part.shape) {
                        true => self.compare(&rest, part.shape),
                        false => self.lose(group),
                    }
                }
                _ => self.lose(group),
            }
        }
    }

    fn lose(&mut self, old: &[Leaf<'a>]) {
        self.lost.extend(old.iter().map(|leaf| leaf.text));
    }
}

/// Whether a variant stays one with or without something in it: serde writes its name alone when there
/// is nothing.
fn fits_variant(old: &[Leaf<'_>], new: &Shape) -> bool {
    let was_unit = old[0].path.is_empty() && old[0].ty == "unit";
    was_unit == matches!(new, Shape::Leaf("unit"))
}

/// Whether any JSON value can hold what is at the end of this leaf: numbers of 128 bits may be too
/// large for one, and what an author describes in words may be anything.
fn is_json(leaf: &Leaf<'_>) -> bool {
    !matches!(leaf.ty, "u128" | "i128") && !leaf.ty.starts_with("opaque ")
}

/// Whether serde may write `null` for a value that is there.
fn may_be_null(token: Token<'_>, ty: &str) -> bool {
    token == Token::End && (matches!(ty, "unit" | "json") || ty.starts_with("opaque "))
}

/// Whether a leaf of the type `new` reads every value of the type `old` as it is.
fn reads(new: &str, old: &str) -> bool {
    if new == old || (new, old) == ("string", "char") {
        return true;
    }
    match (integer(new), integer(old)) {
        (Some(new), Some(old)) => widens(new, old),
        // As many bits as the fraction of the float has, and its sign.
        (None, Some((is_signed, bits))) => {
            let bits = bits - u32::from(is_signed);
            match new {
                "f32" => bits <= f32::MANTISSA_DIGITS,
                "f64" => bits <= f64::MANTISSA_DIGITS,
                _ => false,
            }
        }
        _ => (new, old) == ("f64", "f32"),
    }
}

/// Whether a map with keys of the type `new` reads every key of the type `old`: in JSON, all keys are
/// text.
fn reads_key(new: &str, old: &str) -> bool {
    let is_text =
        |name: &str| matches!(name, "string" | "char" | "bool") || integer(name).is_some();
    match (integer(new), integer(old)) {
        (Some(new), Some(old)) => widens(new, old),
        _ => new == old || new == "string" && is_text(old),
    }
}

/// Whether an integer, which has a sign or not and so many bits, takes every value of another.
fn widens((is_signed, bits): (bool, u32), (was_signed, old): (bool, u32)) -> bool {
    match (is_signed, was_signed) {
        (true, false) => bits > old,
        (false, true) => false,
        _ => bits >= old,
    }
}

/// Whether the integer type `name` has a sign, and its bits.
fn integer(name: &str) -> Option<(bool, u32)> {
    let (is_signed, bits) = match name.strip_prefix('i') {
        Some(bits) => (true, bits),
        None => (false, name.strip_prefix('u')?),
    };
    let bits = if bits == "size" { usize::BITS } else { bits.parse().ok()? };
    Some((is_signed, bits))
}
