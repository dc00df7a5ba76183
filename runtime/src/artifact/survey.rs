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
mod tests;
