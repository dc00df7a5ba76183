//! The attributes of serde and of `State` that say what a type looks like from outside.

use super::Case;
use proc_macro2::Span;
use syn::meta::ParseNestedMeta;
use syn::spanned::Spanned;
use syn::{Attribute, Error, Expr, LitInt, LitStr, Path, Token};

/// What stands on the type itself.
#[derive(Default)]
pub(crate) struct Container {
    pub(crate) version: Option<u32>,
    pub(crate) migrate: Option<Path>,
    /// Where `version` or `migrate` is.
    pub(crate) state_span: Option<Span>,
    pub(crate) is_transparent: bool,
    /// Of the fields of a struct, and of all variants.
    pub(crate) fields_case: Case,
    pub(crate) variants_case: Case,
}

/// What stands on a field or on a variant.
#[derive(Default)]
pub(crate) struct Part {
    pub(crate) name: Option<String>,
    /// Other names under which serde reads it.
    pub(crate) aliases: Vec<String>,
    pub(crate) opaque: Option<String>,
    pub(crate) is_skipped: bool,
    /// Of the fields of a variant.
    pub(crate) fields_case: Option<Case>,
}

impl Container {
    /// `rename_all` is for the variants of an enum, and for the fields of a struct.
    pub(crate) fn parse(attributes: &[Attribute], is_enum: bool) -> Result<Self, Error> {
        let mut container = Self::default();
        each(attributes, "state", |meta| {
            container.state_span = Some(meta.path.span());
            if meta.path.is_ident("version") {
                container.version = Some(meta.value()?.parse::<LitInt>()?.base10_parse()?);
            } else if meta.path.is_ident("migrate") {
                container.migrate = Some(meta.value()?.parse()?);
            } else {
                return Err(meta.error(
                    "a state takes `version = NUMBER` and `migrate = function`; \
                     `opaque = \"…\"` belongs on a field",
                ));
            }
            Ok(())
        })?;
        each(attributes, "serde", |meta| match name_of(&meta).as_str() {
            "rename_all" if is_enum => {
                container.variants_case = case(&meta)?;
                Ok(())
            }
            "rename_all" | "rename_all_fields" => {
                container.fields_case = case(&meta)?;
                Ok(())
            }
            "transparent" => {
                container.is_transparent = true;
                Ok(())
            }
            // The name of the type is not in its JSON.
            "rename" | "default" | "deny_unknown_fields" | "bound" | "crate" | "expecting" => {
                ignore(&meta)
            }
            _ => Err(not_described(&meta)),
        })?;
        Ok(container)
    }
}

impl Part {
    pub(crate) fn parse(attributes: &[Attribute]) -> Result<Self, Error> {
        let mut part = Self::default();
        each(attributes, "state", |meta| {
            if !meta.path.is_ident("opaque") {
                return Err(meta.error("a part of a state takes `opaque = \"…\"` only"));
            }
            let words: LitStr = meta.value()?.parse()?;
            part.opaque = Some(checked(&words)?);
            Ok(())
        })?;
        let is_opaque = part.opaque.is_some();
        each(attributes, "serde", |meta| match name_of(&meta).as_str() {
            "rename" => {
                let name = meta.value().and_then(|value| value.parse::<LitStr>());
                part.name = Some(checked(&name.map_err(|_| not_described(&meta))?)?);
                Ok(())
            }
            "rename_all" => {
                part.fields_case = Some(case(&meta)?);
                Ok(())
            }
            "skip" => {
                part.is_skipped = true;
                Ok(())
            }
            "alias" => {
                part.aliases.push(meta.value()?.parse::<LitStr>()?.value());
                Ok(())
            }
            "default" | "bound" | "borrow" | "skip_serializing_if" => ignore(&meta),
            // Words describe whatever these write.
            "with" | "serialize_with" | "deserialize_with" if is_opaque => ignore(&meta),
            _ => Err(not_described(&meta)),
        })?;
        Ok(part)
    }
}

/// Calls `read` for each thing in the brackets of the attributes called `name`.
fn each(
    attributes: &[Attribute],
    name: &str,
    mut read: impl FnMut(ParseNestedMeta<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    let named = attributes.iter().filter(|attribute| attribute.path().is_ident(name));
    named.into_iter().try_for_each(|attribute| attribute.parse_nested_meta(&mut read))
}

fn name_of(meta: &ParseNestedMeta<'_>) -> String {
    meta.path.get_ident().map(ToString::to_string).unwrap_or_default()
}

fn case(meta: &ParseNestedMeta<'_>) -> Result<Case, Error> {
    let name: LitStr =
        meta.value().and_then(|value| value.parse()).map_err(|_| not_described(meta))?;
    Case::parse(&name.value()).ok_or_else(|| Error::new(name.span(), "unknown case"))
}

/// Skips the value of something that does not change the shape.
fn ignore(meta: &ParseNestedMeta<'_>) -> Result<(), Error> {
    if meta.input.peek(Token![=]) {
        meta.value()?.parse::<Expr>()?;
    } else if meta.input.peek(syn::token::Paren) {
        meta.parse_nested_meta(|inside| ignore(&inside))?;
    }
    Ok(())
}

fn not_described(meta: &ParseNestedMeta<'_>) -> Error {
    let name = name_of(meta);
    let help = match name.as_str() {
        "with" | "serialize_with" | "deserialize_with" => {
            "describe it in words, `#[state(opaque = \"…\")]`"
        }
        "rename" | "rename_all" | "rename_all_fields" => {
            "give one name for both ways, `rename = \"…\"`"
        }
        _ => "remove it, or keep it out of the state",
    };
    meta.error(format!("`serde({name})` is not described by the schema of a state: {help}"))
}

/// Text that can stand in a schema, in which some characters are signs.
fn checked(text: &LitStr) -> Result<String, Error> {
    let value = text.value();
    let is_sign = |it: char| it.is_control() || ".;:|?[]{}\"\\".contains(it);
    if value.is_empty() || value.contains(is_sign) {
        let message =
            "in a state, this text is not empty and has none of `. ; : | ? [ ] { } \" \\`";
        return Err(Error::new(text.span(), message));
    }
    Ok(value)
}
