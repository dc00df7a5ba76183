//! Turns a struct or an enum into its schema, and into the traits of a state.

mod attributes;
mod case;

use attributes::{Container, Part};
use case::Case;
use proc_macro2::{Ident, TokenStream, TokenTree};
use quote::{ToTokens, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Data, DeriveInput, Error, Field, Fields, GenericParam, Type, Variant};

/// The expansion; a mistake of the author becomes a compile error at its place.
pub(crate) fn derive(item: TokenStream) -> TokenStream {
    syn::parse2(item).and_then(try_derive).unwrap_or_else(Error::into_compile_error)
}

fn try_derive(input: DeriveInput) -> Result<TokenStream, Error> {
    let container = Container::parse(&input.attrs, matches!(input.data, Data::Enum(_)))?;
    let shape = match &input.data {
        Data::Struct(data) => {
            fields(&input.ident, &data.fields, container.fields_case, &container)?
        }
        Data::Enum(data) => {
            let mut variants = Vec::new();
            for it in &data.variants {
                variants.extend(variant(&input.ident, it, &container)?);
            }
            quote!(&::wrt_guest::state::Shape::Choice(&[#(#variants),*]))
        }
        Data::Union(data) => {
            let message = "a state cannot be a union: what is in it, only its owner knows";
            return Err(Error::new(data.union_token.span, message));
        }
    };
    let name = &input.ident;
    let mut generics = input.generics.clone();
    for parameter in &mut generics.params {
        if let GenericParam::Type(it) = parameter {
            it.bounds.push(syn::parse_quote!(::wrt_guest::state::Schema));
        }
    }
    let (impl_generics, type_generics, where_clause) = generics.split_for_impl();
    let state = if input.generics.params.is_empty() {
        state(name, &container)
    } else if let Some(span) = container.state_span {
        let message = "a state cannot be generic, only the types in it: name the types, as in \
                       `struct Whole(Part<u32>)`";
        return Err(Error::new(span, message));
    } else {
        TokenStream::new()
    };
    Ok(quote! {
        impl #impl_generics ::wrt_guest::state::Schema for #name #type_generics #where_clause {
            const SHAPE: &'static ::wrt_guest::state::Shape = #shape;
        }
        #state
    })
}

/// What makes the type a state of its own; its schema is written while it is compiled.
fn state(name: &Ident, container: &Container) -> TokenStream {
    let version = container.version.unwrap_or(1);
    let migrate = match &container.migrate {
        Some(path) => quote_spanned!(path.span() => ::core::option::Option::Some(#path)),
        None => quote!(::core::option::Option::None),
    };
    quote! {
        impl ::wrt_guest::State for #name {
            const VERSION: u32 = #version;
            const MIGRATE: ::core::option::Option<::wrt_guest::state::Migrate<Self>> = #migrate;
            const SCHEMA: &'static str = {
                const SHAPE: &::wrt_guest::state::Shape =
                    <#name as ::wrt_guest::state::Schema>::SHAPE;
                const TEXT: &[u8; ::wrt_guest::__private::schema_len(SHAPE)] =
                    &::wrt_guest::__private::schema(SHAPE);
                ::wrt_guest::__private::schema_str(TEXT)
            };
        }
    }
}

/// The shape of what is between the brackets of a struct or a variant.
fn fields(
    owner: &Ident,
    fields: &Fields,
    case: Case,
    container: &Container,
) -> Result<TokenStream, Error> {
    let mut shapes = Vec::new();
    for (index, field) in fields.iter().enumerate() {
        let part = Part::parse(&field.attrs)?;
        if part.is_skipped {
            if field.ident.is_none() {
                let message =
                    "a field of a tuple cannot be skipped: the others would change places";
                return Err(Error::new(field.span(), message));
            }
            continue;
        }
        let name = match (&part.name, &field.ident) {
            (Some(name), _) => name.clone(),
            (None, Some(ident)) => case.of_field(&plain(ident)),
            (None, None) => index.to_string(),
        };
        let shape = shape_of(owner, field, &part)?;
        shapes.push((name, part.aliases, shape));
    }
    let inside = match (fields, &*shapes) {
        (Fields::Unit, _) => return Ok(quote!(&::wrt_guest::state::Shape::Leaf("unit"))),
        (Fields::Unnamed(_), [(_, _, inside)]) => Some(inside),
        (_, [(_, _, inside)]) if container.is_transparent => Some(inside),
        _ => None,
    };
    if let Some(inside) = inside {
        return Ok(inside.clone());
    }
    let shapes = shapes.iter().map(|(name, aliases, shape)| part_of(name, aliases, shape));
    Ok(quote!(&::wrt_guest::state::Shape::Record(&[#(#shapes),*])))
}

fn shape_of(owner: &Ident, field: &Field, part: &Part) -> Result<TokenStream, Error> {
    if let Some(words) = &part.opaque {
        let name = format!("opaque {words}");
        return Ok(quote!(&::wrt_guest::state::Shape::Leaf(#name)));
    }
    let ty = &field.ty;
    if names(ty, owner) {
        let message = format!(
            "`{owner}` contains itself, so its schema has no end: describe this field in words, \
             `#[state(opaque = \"{}\")]`, and change them when `{owner}` changes",
            owner.to_string().to_lowercase(),
        );
        return Err(Error::new(ty.span(), message));
    }
    Ok(quote_spanned!(ty.span() => <#ty as ::wrt_guest::state::Schema>::SHAPE))
}

/// Whether `owner` stands in `ty`, not as a part of a path.
fn names(ty: &Type, owner: &Ident) -> bool {
    fn within(tokens: TokenStream, owner: &Ident) -> bool {
        let mut after_colon = false;
        tokens.into_iter().any(|token| {
            let found = match &token {
                TokenTree::Ident(it) => !after_colon && (it == owner || it == "Self"),
                TokenTree::Group(group) => within(group.stream(), owner),
                _ => false,
            };
            after_colon = matches!(&token, TokenTree::Punct(it) if it.as_char() == ':');
            found
        })
    }
    within(ty.to_token_stream(), owner)
}

fn variant(
    owner: &Ident,
    variant: &Variant,
    container: &Container,
) -> Result<Option<TokenStream>, Error> {
    let part = Part::parse(&variant.attrs)?;
    if part.is_skipped {
        return Ok(None);
    }
    if let Some(words) = &part.opaque {
        let message = format!("`opaque = \"{words}\"` belongs on a field of the variant");
        return Err(Error::new(variant.span(), message));
    }
    let name = match &part.name {
        Some(name) => name.clone(),
        None => container.variants_case.of_variant(&plain(&variant.ident)),
    };
    let case = part.fields_case.unwrap_or(container.fields_case);
    let shape = fields(owner, &variant.fields, case, container)?;
    Ok(Some(part_of(&name, &part.aliases, &shape)))
}

/// A field or a variant of a shape.
fn part_of(name: &str, aliases: &[String], shape: &TokenStream) -> TokenStream {
    quote!(::wrt_guest::state::Part::new(#name, &[#(#aliases),*], #shape))
}

/// A name as serde sees it.
fn plain(ident: &Ident) -> String {
    let name = ident.to_string();
    name.strip_prefix("r#").map_or(name.clone(), ToOwned::to_owned)
}

#[cfg(test)]
mod tests;
