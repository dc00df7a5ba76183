//! Counts what a component consists of, before the compiler sees it.
//!
//! A compilation runs in this process and cannot be stopped. Most of what a component holds costs the
//! compiler a multiple of its bytes, and some of it any multiple: a component that is instantiated
//! twice in each of thirty levels is a kilobyte, and a thousand million instances. So everything that
//! multiplies is counted first, and a component above a bound is refused. Each bound is far above what
//! compilers write; together they keep what the compiler holds for counts alone within some 2 GiB.
//!
//! The walk itself reads section by section, and a section of too many items is refused by its header,
//! so that its own memory is bounded too. What cannot be parsed is left to the compiler to refuse.

use std::collections::BTreeMap;

use wasmparser::{
    BinaryReaderError, ComponentAlias, ComponentExternalKind, ComponentInstance,
    ComponentOuterAliasKind, Data, DataKind, ElementItems, Encoding, Instance, Operator, Parser,
    Payload, TypeRef,
};

/// What the component itself imports and exports, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Survey {
    pub(crate) imports: Vec<String>,
    pub(crate) exports: Vec<String>,
}

impl Survey {
    /// The first interface of WASI 0.3 among the imports and exports, such as
    /// `wasi:http/types@0.3.0`; those of its release candidates are others.
    pub(crate) fn wasi03(self) -> Option<String> {
        let is_wasi03 = |name: &String| {
            let version = name.strip_prefix("wasi:").and_then(|rest| rest.split_once("@0.3."));
            version.is_some_and(|(_, patch)| patch.bytes().all(|byte| byte.is_ascii_digit()))
        };
        self.imports.into_iter().chain(self.exports).find(is_wasi03)
    }
}

/// A count that is above its bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Exceeded {
    /// What was counted, in words.
    pub(super) what: &'static str,
    /// How many were counted before the walk ended; there may be more.
    pub(super) found: u64,
    pub(super) limit: u64,
}

/// A kind of thing, and how many of it a component may have.
struct Bound {
    what: &'static str,
    limit: u64,
}

impl Bound {
    const fn new(limit: u64, what: &'static str) -> Self {
        Self { what, limit }
    }

    fn check(&self, found: u64) -> Result<(), Stop> {
        if found > self.limit {
            let Self { what, limit } = *self;
            return Err(Stop::Exceeded(Exceeded { what, found, limit }));
        }
        Ok(())
    }
}

// Over all modules, each counted once however often it is instantiated.

/// 6 KiB each in the compiler, if they do nothing, and 15 KiB if they can be called from outside of
/// their module or through a table. A script engine has 25,000, a debug build of a large program twice
/// that.
const FUNCTIONS: Bound = Bound::new(100_000, "functions");

/// Beside its own code, each exported function gets code for its callers. A library that is linked as
/// a module exports its whole interface, which is 10,000 names for a language's runtime.
const CORE_EXPORTS: Bound = Bound::new(50_000, "exports of core modules");

/// Some 100 bytes each. Modules that are linked with others import what those export.
const CORE_IMPORTS: Bound = Bound::new(100_000, "imports of core modules");

/// Some 200 bytes each, in the compiler and for as long as the code lives. Function types repeat: a
/// large program has some thousand.
const CORE_TYPES: Bound = Bound::new(50_000, "types of core modules");

/// Some 100 bytes each. Modules that are linked with others have one for each symbol that they share.
const GLOBALS: Bound = Bound::new(100_000, "globals");

/// A store has 200 at most.
const MEMORIES: Bound = Bound::new(1_000, "memories");

/// A store has 200 at most.
const TABLES: Bound = Bound::new(1_000, "tables");

/// The compiler writes down what each place of a table holds at the start, in 4 bytes. A table of
/// more than 100,000 cannot be instantiated.
const TABLE_PLACES: Bound = Bound::new(2_000_000, "places in tables");

/// Up to 750 bytes each, as expressions. A function that can be called through a table is named there
/// once, and a table that can be instantiated has 100,000 places.
const ELEMENTS: Bound = Bound::new(300_000, "functions named in element segments");

/// Some 100 bytes each. A compiler writes a handful; a snapshot of a script engine has thousands.
const SEGMENTS: Bound = Bound::new(100_000, "data and element segments");

/// Of a memory whose data lie far apart, the compiler makes an image with the gaps, of 16 MiB at most
/// ([`LARGEST_IMAGE`]), and holds it four times. Compilers put data side by side, so this is room for
/// eight odd memories; a few hundred bytes could ask for any number of them.
const GAPS: Bound = Bound::new(128 * 1024 * 1024, "bytes in the memories' initial images");

/// The size of a table up to which the compiler writes down what is in it.
const LARGEST_TABLE: u64 = 1024 * 1024;

/// wasmtime's default of `memory_guaranteed_dense_image_size`.
const LARGEST_IMAGE: u64 = 16 * 1024 * 1024;

/// A hundred libraries that are linked into one component are a hundred modules.
const MODULES: Bound = Bound::new(2_000, "core modules");

/// Components are composed of some tens of others.
const COMPONENTS: Bound = Bound::new(2_000, "nested components");

/// Composition nests by one or two for each tool that had its hands on it.
const DEPTH: Bound = Bound::new(32, "levels of nested components");

/// Types are read whole, into some 40 times their bytes. All of WASI takes 50 KiB, and a component
/// that is composed of others repeats them for each.
const TYPE_BYTES: Bound = Bound::new(8 * 1024 * 1024, "bytes of component types");

// Over all instances: what a nested component has counts as often as that is instantiated.

/// A store has 200 at most.
const CORE_INSTANCES: Bound = Bound::new(2_000, "core instances, over all instances of components");

/// 10 KiB each, where they are used: code that goes between a core module and what is outside of it.
/// A component of WASI has some 300.
const CANONICAL: Bound =
    Bound::new(30_000, "canonical functions, over all instances of components");

/// Some 100 bytes each. A component of WASI has some 2,000 with its types.
const ITEMS: Bound = Bound::new(500_000, "items, over all instances of components");

/// Which component is instantiated has to be seen here, or it cannot be counted. No toolchain passes
/// components to components, and wasmtime does not let the outermost one import any.
const PASSED: Bound = Bound::new(0, "instances of a component that was passed to another");

/// Why the walk ended early.
enum Stop {
    Exceeded(Exceeded),
    Unreadable,
}

impl From<BinaryReaderError> for Stop {
    fn from(_: BinaryReaderError) -> Self {
        Self::Unreadable
    }
}

/// Walks over `component`. `None` for what cannot be parsed, which the compiler refuses.
///
/// # Errors
///
/// The first count that is above its bound.
pub(super) fn survey(component: &[u8]) -> Result<Option<Survey>, Exceeded> {
    match Walk::default().over(component) {
        Ok(survey) => Ok(Some(survey)),
        Err(Stop::Unreadable) => Ok(None),
        Err(Stop::Exceeded(exceeded)) => Err(exceeded),
    }
}

#[derive(Default)]
struct Walk {
    survey: Survey,
    levels: Vec<Level>,
    functions: u64,
    core_exports: u64,
    core_imports: u64,
    core_types: u64,
    globals: u64,
    memories: u64,
    tables: u64,
    table_places: u64,
    elements: u64,
    segments: u64,
    gaps: u64,
    modules: u64,
    components: u64,
    type_bytes: u64,
}

/// What is being read, from the outermost component to the innermost part.
enum Level {
    Module {
        /// The first of its memories by index; their data are not the compiler's.
        imported_memories: u32,
    },
    Component(Component),
}

#[derive(Default)]
struct Component {
    /// What one instance of it adds.
    weight: Weight,
    /// The components that it can instantiate, by index; `None` for one that it was passed.
    components: Vec<Option<Weight>>,
}

/// What an instance of a component consists of, with the instances that it makes.
#[derive(Debug, Clone, Copy, Default)]
struct Weight {
    items: u64,
    canonical: u64,
    core_instances: u64,
}

impl Weight {
    fn add(&mut self, other: Self) -> Result<(), Stop> {
        self.items = self.items.saturating_add(other.items);
        self.canonical = self.canonical.saturating_add(other.canonical);
        self.core_instances = self.core_instances.saturating_add(other.core_instances);
        ITEMS.check(self.items)?;
        CANONICAL.check(self.canonical)?;
        CORE_INSTANCES.check(self.core_instances)
    }

    fn items(items: u64) -> Self {
        Self { items, ..Self::default() }
    }
}

/// Adds to a count and holds it against its bound.
fn add(count: &mut u64, n: u64, bound: &Bound) -> Result<(), Stop> {
    *count = count.saturating_add(n);
    bound.check(*count)
}

impl Walk {
    fn over(mut self, component: &[u8]) -> Result<Survey, Stop> {
        for payload in Parser::new(0).parse_all(component) {
            self.see(payload?)?;
        }
        Ok(self.survey)
    }

    fn see(&mut self, payload: Payload<'_>) -> Result<(), Stop> {
        match payload {
            Payload::Version { encoding: Encoding::Module, .. } => {
                self.levels.push(Level::Module { imported_memories: 0 });
            }
            Payload::Version { encoding: Encoding::Component, .. } => {
                self.levels.push(Level::Component(Component::default()));
                DEPTH.check(self.levels.len() as u64)?;
            }
            Payload::End(_) => self.end()?,
            Payload::ModuleSection { .. } => {
                add(&mut self.modules, 1, &MODULES)?;
                self.weigh(Weight::items(1))?;
            }
            Payload::ComponentSection { .. } => {
                add(&mut self.components, 1, &COMPONENTS)?;
                self.weigh(Weight::items(1))?;
            }
            _ => match self.levels.last() {
                Some(&Level::Module { imported_memories }) => {
                    self.in_module(payload, imported_memories)?;
                }
                Some(Level::Component(_)) => self.in_component(payload)?,
                None => return Err(Stop::Unreadable),
            },
        }
        Ok(())
    }

    /// The end of a module or component, whose weight its parent knows from here on.
    fn end(&mut self) -> Result<(), Stop> {
        if let Some(Level::Component(ended)) = self.levels.pop()
            && !self.levels.is_empty()
        {
            self.component()?.components.push(Some(ended.weight));
        }
        Ok(())
    }

    fn in_module(&mut self, payload: Payload<'_>, imported_memories: u32) -> Result<(), Stop> {
        match payload {
            Payload::TypeSection(types) => {
                add(&mut self.core_types, types.count().into(), &CORE_TYPES)?;
                let mut beyond = 0;
                for group in types {
                    // A group counted as one above.
                    beyond += group?.types().len().saturating_sub(1) as u64;
                    CORE_TYPES.check(self.core_types + beyond)?;
                }
                add(&mut self.core_types, beyond, &CORE_TYPES)?;
            }
            Payload::ImportSection(imports) => {
                let mut memories = 0;
                for import in imports.into_imports() {
                    add(&mut self.core_imports, 1, &CORE_IMPORTS)?;
                    memories += u32::from(matches!(import?.ty, TypeRef::Memory(_)));
                }
                if let Some(Level::Module { imported_memories }) = self.levels.last_mut() {
                    *imported_memories = memories;
                }
            }
            Payload::FunctionSection(functions) => {
                add(&mut self.functions, functions.count().into(), &FUNCTIONS)?;
            }
            Payload::TableSection(tables) => {
                add(&mut self.tables, tables.count().into(), &TABLES)?;
                for table in tables {
                    let places = table?.ty.initial.min(LARGEST_TABLE);
                    add(&mut self.table_places, places, &TABLE_PLACES)?;
                }
            }
            Payload::MemorySection(memories) => {
                add(&mut self.memories, memories.count().into(), &MEMORIES)?;
            }
            Payload::GlobalSection(globals) => {
                add(&mut self.globals, globals.count().into(), &GLOBALS)?;
            }
            Payload::TagSection(tags) => {
                add(&mut self.globals, tags.count().into(), &GLOBALS)?;
            }
            Payload::ExportSection(exports) => {
                add(&mut self.core_exports, exports.count().into(), &CORE_EXPORTS)?;
            }
            Payload::ElementSection(segments) => {
                add(&mut self.segments, segments.count().into(), &SEGMENTS)?;
                for segment in segments {
                    let n = match segment?.items {
                        ElementItems::Functions(functions) => functions.count(),
                        ElementItems::Expressions(_, expressions) => expressions.count(),
                    };
                    add(&mut self.elements, n.into(), &ELEMENTS)?;
                }
            }
            Payload::DataSection(segments) => {
                add(&mut self.segments, segments.count().into(), &SEGMENTS)?;
                let mut images = BTreeMap::<u32, Image>::new();
                for segment in segments {
                    if let Some((memory, start, data)) = placed(&segment?)
                        && memory >= imported_memories
                    {
                        images.entry(memory).or_default().place(start, data);
                    }
                }
                for image in images.into_values() {
                    add(&mut self.gaps, image.with_gaps(), &GAPS)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn in_component(&mut self, payload: Payload<'_>) -> Result<(), Stop> {
        match payload {
            Payload::InstanceSection(instances) => {
                self.weigh(Weight::items(instances.count().into()))?;
                for instance in instances {
                    match instance? {
                        Instance::Instantiate { args, .. } => {
                            let items = args.len() as u64;
                            let weight = Weight { items, core_instances: 1, ..Weight::default() };
                            self.weigh(weight)?;
                        }
                        Instance::FromExports(exports) => {
                            self.weigh(Weight::items(exports.len() as u64))?;
                        }
                    }
                }
            }
            Payload::CoreTypeSection(types) => {
                add(&mut self.type_bytes, types.range().len() as u64, &TYPE_BYTES)?;
                self.weigh(Weight::items(types.count().into()))?;
            }
            Payload::ComponentTypeSection(types) => {
                add(&mut self.type_bytes, types.range().len() as u64, &TYPE_BYTES)?;
                self.weigh(Weight::items(types.count().into()))?;
            }
            Payload::ComponentInstanceSection(instances) => {
                self.weigh(Weight::items(instances.count().into()))?;
                for instance in instances {
                    match instance? {
                        ComponentInstance::Instantiate { component_index, args } => {
                            self.weigh(Weight::items(args.len() as u64))?;
                            let components = &self.component()?.components;
                            match components.get(component_index as usize).copied() {
                                Some(Some(weight)) => self.weigh(weight)?,
                                Some(None) => PASSED.check(1)?,
                                None => return Err(Stop::Unreadable),
                            }
                        }
                        ComponentInstance::FromExports(exports) => {
                            self.weigh(Weight::items(exports.len() as u64))?;
                        }
                    }
                }
            }
            Payload::ComponentAliasSection(aliases) => {
                self.weigh(Weight::items(aliases.count().into()))?;
                for alias in aliases {
                    self.alias(&alias?)?;
                }
            }
            Payload::ComponentCanonicalSection(functions) => {
                let (items, canonical) = (functions.count().into(), functions.count().into());
                self.weigh(Weight { items, canonical, ..Weight::default() })?;
            }
            Payload::ComponentImportSection(imports) => {
                self.weigh(Weight::items(imports.count().into()))?;
                for import in imports {
                    let import = import?;
                    if import.ty.kind() == ComponentExternalKind::Component {
                        self.component()?.components.push(None);
                    }
                    if self.levels.len() == 1 {
                        self.survey.imports.push(import.name.name.to_owned());
                    }
                }
            }
            Payload::ComponentExportSection(exports) => {
                self.weigh(Weight::items(exports.count().into()))?;
                for export in exports {
                    let export = export?;
                    if export.kind == ComponentExternalKind::Component {
                        // An export is a further name, with an index of its own.
                        let components = &mut self.component()?.components;
                        let known = components.get(export.index as usize).copied();
                        components.push(known.ok_or(Stop::Unreadable)?);
                    }
                    if self.levels.len() == 1 {
                        self.survey.exports.push(export.name.name.to_owned());
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn alias(&mut self, alias: &ComponentAlias<'_>) -> Result<(), Stop> {
        let known = match *alias {
            ComponentAlias::InstanceExport { kind: ComponentExternalKind::Component, .. } => None,
            ComponentAlias::Outer { kind: ComponentOuterAliasKind::Component, count, index } => {
                let at = self.levels.len().checked_sub(1 + count as usize);
                match at.and_then(|at| self.levels.get(at)) {
                    Some(Level::Component(outer)) => {
                        let known = outer.components.get(index as usize).copied();
                        known.ok_or(Stop::Unreadable)?
                    }
                    _ => return Err(Stop::Unreadable),
                }
            }
            _ => return Ok(()),
        };
        self.component()?.components.push(known);
        Ok(())
    }

    fn weigh(&mut self, weight: Weight) -> Result<(), Stop> {
        self.component()?.weight.add(weight)
    }

    /// The component that is being read.
    fn component(&mut self) -> Result<&mut Component, Stop> {
        match self.levels.last_mut() {
            Some(Level::Component(component)) => Ok(component),
            _ => Err(Stop::Unreadable),
        }
    }
}

/// The memory, the first address and the length of data whose place is known to the compiler.
fn placed(segment: &Data<'_>) -> Option<(u32, u64, u64)> {
    let DataKind::Active { memory_index, offset_expr } = &segment.kind else { return None };
    let start = match offset_expr.get_operators_reader().read().ok()? {
        Operator::I32Const { value } => u64::from(value.cast_unsigned()),
        Operator::I64Const { value } => value.cast_unsigned(),
        _ => return None,
    };
    Some((*memory_index, start, segment.data.len() as u64))
}

/// The data that a memory begins with.
#[derive(Debug, Default)]
struct Image {
    bytes: u64,
    /// The first address and the one behind the last.
    extent: Option<(u64, u64)>,
}

impl Image {
    fn place(&mut self, start: u64, bytes: u64) {
        if bytes == 0 {
            return;
        }
        let end = start.saturating_add(bytes);
        self.bytes = self.bytes.saturating_add(bytes);
        self.extent = Some(match self.extent {
            Some((first, last)) => (first.min(start), last.max(end)),
            None => (start, end),
        });
    }

    /// Bytes of the image that the compiler makes, where they are more than twice the data's.
    fn with_gaps(&self) -> u64 {
        let bytes = self.extent.map_or(0, |(first, last)| last - first);
        let is_made = bytes < LARGEST_IMAGE && bytes >= self.bytes.saturating_mul(2);
        if is_made { bytes } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    fn of(text: &str) -> Result<Option<Survey>, Exceeded> {
        survey(&wat::parse_str(text).expect("the text is WebAssembly"))
    }

    #[track_caller]
    fn refused(text: &str, bound: &Bound) {
        let exceeded = of(text).expect_err("it was let through");
        assert_eq!((exceeded.what, exceeded.limit), (bound.what, bound.limit));
        assert!(exceeded.found > exceeded.limit, "{exceeded:?}");
    }

    #[track_caller]
    fn passes(text: &str) {
        assert!(of(text).expect("within all bounds").is_some(), "it was not read");
    }

    fn module(content: &str) -> String {
        format!("(component (core module {content}))")
    }

    /// As many of `item` as the bound allows pass, and one more does not. `wrap` makes a component.
    #[track_caller]
    fn bounded(bound: &Bound, item: &str, wrap: impl Fn(&str) -> String) {
        let most = usize::try_from(bound.limit).unwrap();
        passes(&wrap(&item.repeat(most)));
        refused(&wrap(&item.repeat(most + 1)), bound);
    }

    #[test]
    fn names_of_the_outermost_component_are_told() {
        let text = r#"(component
            (component $inner (import "x" (func)) (export "y" (func 0)))
            (import "wasi:http/types@0.3.0-rc-1" (instance $a))
            (import "wasi:cli/exit@0.3.0" (instance $b))
            (instance $i)
            (export "wasi:http/handler@0.3.0" (instance $i)))"#;
        let survey = of(text).unwrap().unwrap();
        assert_eq!(survey.imports, ["wasi:http/types@0.3.0-rc-1", "wasi:cli/exit@0.3.0"]);
        assert_eq!(survey.exports, ["wasi:http/handler@0.3.0"]);
        assert_eq!(survey.wasi03().as_deref(), Some("wasi:cli/exit@0.3.0"));
    }

    #[test]
    fn what_a_module_has_is_bounded_by_count() {
        bounded(&FUNCTIONS, "(func)", module);
        bounded(&CORE_TYPES, "(type (func))", module);
        bounded(&GLOBALS, "(global i32 (i32.const 0))", module);
        bounded(&SEGMENTS, r#"(data "")"#, module);
        bounded(&ELEMENTS, " 0", |items| module(&format!("(func) (elem func {items})")));
        bounded(&CORE_IMPORTS, r#"(import "" "" (func))"#, module);
        let exports = |n: u64| {
            let each = (0..n).fold(String::new(), |mut all, n| {
                let _ = write!(all, r#"(export "{n}" (func 0))"#);
                all
            });
            module(&format!("(func) {each}"))
        };
        passes(&exports(CORE_EXPORTS.limit));
        refused(&exports(CORE_EXPORTS.limit + 1), &CORE_EXPORTS);
    }

    #[test]
    fn counts_go_over_all_modules() {
        let half = "(func)".repeat(usize::try_from(FUNCTIONS.limit / 2 + 1).unwrap());
        passes(&module(&half));
        refused(
            &format!("(component (core module {half}) (component (core module {half})))"),
            &FUNCTIONS,
        );
        let memories = format!("(core module {})", "(memory 0)".repeat(100));
        passes(&format!("(component {})", memories.repeat(10)));
        refused(&format!("(component {})", memories.repeat(11)), &MEMORIES);
        let tables = format!("(core module {})", "(table 0 funcref)".repeat(100));
        refused(&format!("(component {})", tables.repeat(11)), &TABLES);
        let sub = format!("(rec {})", "(type (func))".repeat(1000));
        refused(&module(&sub.repeat(51)), &CORE_TYPES);
    }

    #[test]
    fn large_tables_are_bounded_over_all_of_them() {
        passes(&module(&"(table 100000 funcref)".repeat(20)));
        refused(&module(&"(table 100000 funcref)".repeat(21)), &TABLE_PLACES);
        // One that is not written down counts as the largest that is.
        passes(&module("(table 4000000000 funcref)"));
    }

    #[test]
    fn images_with_gaps_are_bounded_and_dense_ones_are_not() {
        let sparse = r#"(core module (memory 256)
            (data (i32.const 0) "a") (data (i32.const 16000000) "b"))"#;
        passes(&format!("(component {})", sparse.repeat(8)));
        refused(&format!("(component {})", sparse.repeat(9)), &GAPS);
        // Two 64-bit memories in one module count both.
        let two = r#"(core module (memory 256) (memory i64 256)
            (data (memory 0) (i32.const 9) "a") (data (memory 0) (i32.const 16000000) "b")
            (data (memory 1) (i64.const 9) "a") (data (memory 1) (i64.const 16000000) "b"))"#;
        refused(&format!("(component {})", two.repeat(5)), &GAPS);
        let data = "d".repeat(100_000);
        let dense = format!(
            r#"(core module (memory 256) (data (i32.const 0) "{data}") (data (i32.const 150000) "{data}"))"#
        );
        passes(&format!("(component {})", dense.repeat(100)));
        // Too large to be made, into a memory that is another's, or in a place that is not known.
        for module in [
            r#"(core module (memory 1000) (data (i32.const 0) "a") (data (i32.const 60000000) "b"))"#,
            r#"(core module (import "" "" (memory 256)) (data (i32.const 0) "a")
                (data (i32.const 16000000) "b"))"#,
            r#"(core module (import "" "" (global $g i32)) (memory 256) (data (global.get $g) "a")
                (data (i32.const 16000000) "b"))"#,
        ] {
            passes(&format!("(component {})", module.repeat(20)));
        }
    }

    /// A core instance in `levels` components, each of which instantiates the one before it `times`.
    fn laughs(levels: usize, times: usize) -> String {
        let mut text =
            "(component $c (core module $m) (core instance (instantiate $m)))".to_owned();
        for _ in 1..levels {
            let twice = "(instance (instantiate $c))".repeat(times);
            text = format!("(component $c {text} {twice})");
        }
        text
    }

    /// The same side by side, each knowing the one before it by an alias.
    fn laughs_side_by_side(levels: usize, times: usize) -> String {
        let mut text =
            String::from("(component $0 (core module $m) (core instance (instantiate $m)))");
        for level in 1..levels {
            let twice = "(instance (instantiate $before))".repeat(times);
            let before = level - 1;
            let _ = write!(
                text,
                "(component ${level} (alias outer 1 ${before} (component $before)) {twice})"
            );
        }
        format!("(component {text} (instance (instantiate ${})))", levels - 1)
    }

    #[test]
    fn instances_of_components_are_multiplied_through_nesting() {
        for laughs in [laughs, laughs_side_by_side] {
            passes(&laughs(10, 2));
            passes(&laughs(20, 1));
            refused(&laughs(30, 2), &CORE_INSTANCES);
            refused(&laughs(4, 15), &CORE_INSTANCES);
        }
        // Without anything in them but each other, in numbers that no counter holds.
        let mut text = "(component $c)".to_owned();
        for _ in 0..20 {
            text = format!("(component $c {text} {})", "(instance (instantiate $c))".repeat(900));
        }
        refused(&text, &ITEMS);
        // What is defined and never instantiated is no harm.
        passes(&format!("(component {} (component))", laughs(10, 2)));
    }

    #[test]
    fn what_an_instance_adds_is_counted_with_all_that_it_defines() {
        let drops = "(core func (canon resource.drop $r))".repeat(1000);
        let instances = |n| {
            let instances = "(instance (instantiate $c))".repeat(n);
            format!("(component (component $c (type $r (resource (rep i32))) {drops}) {instances})")
        };
        passes(&instances(30));
        refused(&instances(31), &CANONICAL);
        let types = "(type u8)".repeat(10_000);
        let instances = |n| {
            let instances = "(instance (instantiate $c))".repeat(n);
            format!("(component (component $c {types}) {instances})")
        };
        passes(&instances(49));
        refused(&instances(50), &ITEMS);
    }

    #[test]
    fn a_component_is_the_same_by_its_further_names() {
        let text = |times| {
            format!(
                r#"(component {} (export $e "e" (component $c))
                    (component (alias outer 1 $e (component $d)) {}))"#,
                laughs(10, 2),
                "(instance (instantiate $d))".repeat(times)
            )
        };
        passes(&text(3));
        refused(&text(4), &CORE_INSTANCES);
    }

    #[test]
    fn a_component_that_was_passed_on_is_not_instantiated() {
        let imported = r#"(component (component
            (import "c" (component $c)) (instance (instantiate $c))))"#;
        refused(imported, &PASSED);
        let exported = r#"(component
            (component $a (component $b) (export "b" (component $b)))
            (instance $i (instantiate $a)) (alias export $i "b" (component $b))
            (instance (instantiate $b)))"#;
        refused(exported, &PASSED);
    }

    #[test]
    fn nesting_and_the_number_of_parts_are_bounded() {
        let nested =
            |levels: usize| format!("{}{}", "(component ".repeat(levels), ")".repeat(levels));
        passes(&nested(32));
        refused(&nested(33), &DEPTH);
        let hundred = format!("(component {})", "(core module)".repeat(100));
        passes(&format!("(component {})", hundred.repeat(20)));
        refused(&format!("(component {} (core module))", hundred.repeat(20)), &MODULES);
        let hundred = format!("(component {})", "(component)".repeat(99));
        passes(&format!("(component {})", hundred.repeat(20)));
        refused(&format!("(component {} (component))", hundred.repeat(20)), &COMPONENTS);
    }

    #[test]
    fn types_are_bounded_by_their_bytes_before_they_are_read() {
        let long = format!(r#"(type (enum "{}"))"#, "a".repeat(90_000));
        passes(&format!("(component {})", long.repeat(90)));
        refused(&format!("(component {})", long.repeat(100)), &TYPE_BYTES);
    }

    #[test]
    fn a_count_in_a_header_is_enough() {
        // A function section that says that it has 4,294,967,295 functions, and has none.
        let module = b"\0asm\x01\0\0\0\x03\x05\xff\xff\xff\xff\x0f";
        let mut component = b"\0asm\x0d\0\x01\0\x01".to_vec();
        component.push(u8::try_from(module.len()).unwrap());
        component.extend(module);
        let exceeded = survey(&component).unwrap_err();
        assert_eq!((exceeded.what, exceeded.found), ("functions", u64::from(u32::MAX)));
    }

    #[test]
    fn what_cannot_be_parsed_is_left_to_the_compiler() {
        let whole = wat::parse_str(laughs(5, 2)).unwrap();
        let nothing = Survey::default();
        for length in 0..whole.len() {
            // What ends where a section does may pass for a component, of nothing.
            let found = survey(&whole[..length]).unwrap().unwrap_or_default();
            assert_eq!(found, nothing, "of {length} bytes");
        }
        assert_eq!(survey(&whole[..whole.len() - 1]), Ok(None));
        // An index of nothing.
        for text in [
            "(component (instance (instantiate 7)))",
            "(component (alias outer 0 7 (component)))",
            "(component (alias outer 7 0 (component)))",
            r#"(component (export "c" (component 7)))"#,
        ] {
            assert_eq!(of(text), Ok(None), "{text}");
        }
    }
}
