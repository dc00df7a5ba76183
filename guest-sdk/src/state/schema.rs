//! Which types a state may be made of, and what each looks like.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::rc::Rc;
use std::time::Duration;

/// What a value looks like to whoever reads its JSON, without the names of its types.
///
/// The text of a shape has one `path:type` for each leaf, separated by `;`. In a path, `.name` is a
/// field, `|Name` a variant, `?` may be missing, `[]` is each of a list, `[3]` of an array, `{}` of a
/// set and `{string}` of a map with keys of that type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[doc(hidden)]
pub enum Shape {
    /// Has no parts. The name is free of `;`.
    Leaf(&'static str),
    /// Is there or not.
    Optional(&'static Self),
    /// Any number of the same.
    List(&'static Self),
    /// A list without order.
    Set(&'static Self),
    /// A fixed number of the same.
    Array(usize, &'static Self),
    /// Values by key.
    Map(&'static Self, &'static Self),
    /// All of these.
    Record(&'static [Part]),
    /// One of these.
    Choice(&'static [Part]),
}

/// A field or a variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[doc(hidden)]
pub struct Part {
    /// How serde writes its name.
    pub name: &'static str,
    /// Other names under which serde reads it. They are in no schema, which tells what is written.
    pub aliases: &'static [&'static str],
    /// The shape of the value that the field or variant holds.
    pub shape: &'static Shape,
}

impl Part {
    /// A field or a variant, for what the derive writes.
    pub const fn new(
        name: &'static str,
        aliases: &'static [&'static str],
        shape: &'static Shape,
    ) -> Self {
        Self { name, aliases, shape }
    }
}

/// A type that a state may contain.
///
/// Numbers, `bool`, `char`, text, `Duration`, `Option`, lists, arrays, tuples of up to six, sets and
/// maps are such types, and `#[derive(wrt_guest::State)]` makes one of a struct or an enum. For a
/// field of any other type, `#[state(opaque = "…")]` says in words of the author's own what it looks
/// like; other words are another shape. A type that contains itself needs that for one field of the
/// circle, because its schema would have no end: the compiler speaks of a cycle in `SHAPE`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no schema, so it cannot be a part of a state",
    label = "expected something that implements `Schema`",
    note = "derive `wrt_guest::State` for a type of your own; describe the field of another crate's \
            type with `#[state(opaque = \"…\")]`, or leave it out with `#[serde(skip)]`"
)]
pub trait Schema {
    /// What its values look like.
    #[doc(hidden)]
    const SHAPE: &'static Shape;
}

macro_rules! leaves {
    ($($name:literal: $($ty:ty)*;)*) => {$($(
        impl Schema for $ty {
            const SHAPE: &'static Shape = &Shape::Leaf($name);
        }
    )*)*};
}

leaves! {
    "u8": u8; "u16": u16; "u32": u32; "u64": u64; "u128": u128; "usize": usize;
    "i8": i8; "i16": i16; "i32": i32; "i64": i64; "i128": i128; "isize": isize;
    "f32": f32; "f64": f64; "bool": bool; "char": char; "unit": ();
    "string": String str;
    "duration": Duration;
    "json": serde_json::Value;
}

/// Those whose JSON is the JSON of what is inside.
macro_rules! same_as_inside {
    ($($ty:ty)*) => {$(
        impl<T: Schema + ?Sized> Schema for $ty {
            const SHAPE: &'static Shape = T::SHAPE;
        }
    )*};
}

same_as_inside!(Box<T> Rc<T>);

impl<T: Schema + ToOwned + ?Sized> Schema for Cow<'_, T> {
    const SHAPE: &'static Shape = T::SHAPE;
}

impl<T: Schema> Schema for [T] {
    const SHAPE: &'static Shape = &Shape::List(T::SHAPE);
}

impl<T: Schema> Schema for Option<T> {
    const SHAPE: &'static Shape = &Shape::Optional(T::SHAPE);
}

impl<T: Schema> Schema for Vec<T> {
    const SHAPE: &'static Shape = &Shape::List(T::SHAPE);
}

impl<T: Schema> Schema for VecDeque<T> {
    const SHAPE: &'static Shape = &Shape::List(T::SHAPE);
}

impl<T: Schema> Schema for BTreeSet<T> {
    const SHAPE: &'static Shape = &Shape::Set(T::SHAPE);
}

impl<T: Schema, H> Schema for HashSet<T, H> {
    const SHAPE: &'static Shape = &Shape::Set(T::SHAPE);
}

impl<T: Schema, const N: usize> Schema for [T; N] {
    const SHAPE: &'static Shape = &Shape::Array(N, T::SHAPE);
}

impl<K: Schema, V: Schema> Schema for BTreeMap<K, V> {
    const SHAPE: &'static Shape = &Shape::Map(K::SHAPE, V::SHAPE);
}

impl<K: Schema, V: Schema, H> Schema for HashMap<K, V, H> {
    const SHAPE: &'static Shape = &Shape::Map(K::SHAPE, V::SHAPE);
}

macro_rules! tuples {
    ($(($($name:literal $ty:ident),*))*) => {$(
        impl<$($ty: Schema),*> Schema for ($($ty,)*) {
            const SHAPE: &'static Shape =
                &Shape::Record(&[$(Part::new($name, &[], $ty::SHAPE)),*]);
        }
    )*};
}

tuples! {
    ("0" A)
    ("0" A, "1" B)
    ("0" A, "1" B, "2" C)
    ("0" A, "1" B, "2" C, "3" D)
    ("0" A, "1" B, "2" C, "3" D, "4" E)
    ("0" A, "1" B, "2" C, "3" D, "4" E, "5" F)
}
