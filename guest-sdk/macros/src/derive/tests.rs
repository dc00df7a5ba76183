//! What authors are told about a type that cannot be in a state, and what a good one looks like.

use super::derive;
use quote::quote;

#[track_caller]
fn check_error(item: proc_macro2::TokenStream, expected: &str) {
    let expansion = derive(item).to_string();
    assert!(expansion.contains("compile_error"), "no compile error in {expansion}");
    assert!(expansion.contains(expected), "`{expected}` not in {expansion}");
}

#[track_caller]
fn check_shape(item: proc_macro2::TokenStream, expected: &str) {
    let expansion = derive(item).to_string();
    assert!(!expansion.contains("compile_error"), "{expansion}");
    let short = expansion
        .replace(":: wrt_guest :: state :: Shape :: ", "")
        .replace(":: wrt_guest :: state :: Part :: new ", "")
        .replace(" as :: wrt_guest :: state :: Schema", "");
    assert!(short.contains(expected), "`{expected}` not in {short}");
}

#[test]
fn names_are_those_that_serde_writes() {
    check_shape(
        quote!(
            #[serde(rename_all = "camelCase", deny_unknown_fields)]
            struct S {
                first_name: String,
                #[serde(rename = "n", alias = "m", default = "one")]
                number: u8,
                r#type: u8,
                #[serde(skip)]
                cache: Cache,
            }
        ),
        r#"Record (& [("firstName" , & [] , < String > :: SHAPE) , ("n" , & ["m"] , < u8 > :: SHAPE) , ("type" , & [] , < u8 > :: SHAPE)])"#,
    );
    check_shape(
        quote!(
            #[serde(rename_all = "kebab-case", rename_all_fields = "UPPERCASE")]
            enum E {
                #[serde(alias = "later", alias = "someday")]
                NotYet,
                #[serde(rename_all = "PascalCase")]
                AtLast {
                    the_day: u8,
                },
                Both(u8, u16),
                Each {
                    one: u8,
                },
                #[serde(skip)]
                Never(Cache),
            }
        ),
        r#"Choice (& [("not-yet" , & ["later" , "someday"] , & Leaf ("unit")) , ("at-last" , & [] , & Record (& [("TheDay" , & [] , < u8 > :: SHAPE)])) , ("both" , & [] , & Record (& [("0" , & [] , < u8 > :: SHAPE) , ("1" , & [] , < u16 > :: SHAPE)])) , ("each" , & [] , & Record (& [("ONE" , & [] , < u8 > :: SHAPE)]))])"#,
    );
}

#[test]
fn newtype_is_what_is_inside() {
    check_shape(
        quote!(
            struct S(Vec<u8>);
        ),
        "Shape = < Vec < u8 > > :: SHAPE ;",
    );
    check_shape(
        quote!(
            #[serde(transparent)]
            struct S {
                inside: u8,
            }
        ),
        "Shape = < u8 > :: SHAPE ;",
    );
}

#[test]
fn type_without_schema_is_described_in_words() {
    check_shape(
        quote!(
            struct Tree {
                name: u8,
                #[state(opaque = "tree 1")]
                #[serde(with = "other")]
                children: Vec<Tree>,
            }
        ),
        r#"("children" , & [] , & Leaf ("opaque tree 1"))"#,
    );
}

#[test]
fn version_and_migration_are_those_of_the_attribute() {
    let plain = quote!(
        struct S {
            n: u8,
        }
    );
    let expansion = derive(plain.clone()).to_string();
    assert!(expansion.contains("const VERSION : u32 = 1u32 ;"), "{expansion}");
    let expansion = derive(quote!(#[state(version = 3, migrate = old::migrate)] #plain));
    let expansion = expansion.to_string();
    assert!(expansion.contains("const VERSION : u32 = 3u32 ;"), "{expansion}");
    assert!(expansion.contains("Some (old :: migrate)"), "{expansion}");
}

#[test]
fn generic_type_is_a_part_only() {
    let expansion = derive(quote!(
        struct S<T> {
            t: T,
        }
    ))
    .to_string();
    assert!(expansion.contains("impl < T : :: wrt_guest :: state :: Schema >"), "{expansion}");
    assert!(!expansion.contains(":: wrt_guest :: State for"), "{expansion}");
    check_error(
        quote!(
            #[state(version = 2)]
            struct S<T> {
                t: T,
            }
        ),
        "a state cannot be generic",
    );
}

#[test]
fn each_mistake_is_named() {
    check_error(
        quote!(
            union U {
                a: u8,
            }
        ),
        "a state cannot be a union",
    );
    check_error(
        quote!(
            struct Tree {
                children: Vec<Tree>,
            }
        ),
        "`Tree` contains itself",
    );
    check_error(
        quote!(
            struct S {
                #[serde(flatten)]
                rest: Rest,
            }
        ),
        "`serde(flatten)` is not described by the schema of a state: remove it",
    );
    check_error(
        quote!(
            #[serde(untagged)]
            enum E {
                A,
            }
        ),
        "`serde(untagged)` is not described",
    );
    check_error(
        quote!(
            #[serde(tag = "kind")]
            enum E {
                A,
            }
        ),
        "`serde(tag)` is not described",
    );
    check_error(
        quote!(
            struct S {
                #[serde(with = "other")]
                n: u8,
            }
        ),
        "describe it in words",
    );
    check_error(
        quote!(
            struct S {
                #[serde(rename(serialize = "a", deserialize = "b"))]
                n: u8,
            }
        ),
        "give one name for both ways",
    );
    check_error(
        quote!(
            struct S {
                #[serde(rename = "a.b")]
                n: u8,
            }
        ),
        "has none of",
    );
    check_error(
        quote!(
            struct S(#[serde(skip)] u8, u8);
        ),
        "a field of a tuple cannot be skipped",
    );
    check_error(
        quote!(
            #[state(name = "x")]
            struct S;
        ),
        "a state takes `version = NUMBER` and `migrate = function`",
    );
    check_error(
        quote!(
            struct S {
                #[state(version = 2)]
                n: u8,
            }
        ),
        "takes `opaque",
    );
}
