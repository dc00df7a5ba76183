//! How much memory the compiler will need at most, told from a component's bytes before it starts.
//!
//! A compilation runs in this process and cannot be stopped, so what would exhaust the host has to be
//! found beforehand. Memory grows with a function's length, which harms nobody at the lengths that
//! compilers write, and with what a few bytes can multiply:
//!
//! - *merges*: the compiler makes a value of each local that is assigned within a block, where the
//!   ways through it meet. A thousand nested loops around assignments of a thousand locals are
//!   16 KiB of WebAssembly and gigabytes of these;
//! - *results*: a call is two bytes, and may return a thousand values;
//! - *arguments*: so may a branch carry them.

use wasmparser::{
    BinaryReaderError, BlockType, CompositeInnerType, FunctionBody, Operator, Parser, Payload,
    TypeSectionReader,
};

/// Bytes of memory for each byte of a function: 200 were measured on a megabyte of divisions.
const CODE: u64 = 256;

/// Bytes of a merge: 1,500 were measured on a million of them.
const MERGE: u64 = 1536;

/// Bytes of a call's result: 420 were measured on a million of them.
const RESULT: u64 = 512;

/// Bytes of a value that a branch carries: 4.6 were measured on a hundred million of them.
const ARGUMENT: u64 = 8;

/// The function that the compiler needs the most memory for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Heaviest {
    /// Its number among those that the component defines, over all modules, from 0.
    pub(super) function: usize,
    /// Bytes, as an upper bound.
    pub(super) memory: u64,
}

/// The heaviest function of `component`, if it may take more than `limit` bytes. What cannot be
/// parsed is left to the compiler to refuse.
pub(super) fn above(limit: u64, component: &[u8]) -> Option<Heaviest> {
    let (mut heaviest, mut function) = (None::<Heaviest>, 0);
    let mut widest = Widest::default();
    for payload in Parser::new(0).parse_all(component).map_while(Result::ok) {
        match payload {
            Payload::Version { .. } => widest = Widest::default(),
            Payload::TypeSection(types) => widest = Widest::of(types),
            Payload::CodeSectionEntry(body) => {
                let memory = memory(limit, widest, &body).unwrap_or(0);
                if memory > heaviest.map_or(limit, |it| it.memory) {
                    heaviest = Some(Heaviest { function, memory });
                }
                function += 1;
            }
            _ => {}
        }
    }
    heaviest
}

/// Of the function types of a module, the most values.
#[derive(Debug, Clone, Copy, Default)]
struct Widest {
    parameters: u64,
    results: u64,
}

impl Widest {
    fn of(types: TypeSectionReader<'_>) -> Self {
        let groups = types.into_iter().map_while(Result::ok);
        let types = groups.flat_map(wasmparser::RecGroup::into_types);
        types.fold(Self::default(), |widest, ty| match ty.composite_type.inner {
            CompositeInnerType::Func(ty) => Self {
                parameters: widest.parameters.max(ty.params().len() as u64),
                results: widest.results.max(ty.results().len() as u64),
            },
            _ => widest,
        })
    }

    /// Values that a block may take or leave: any type may be its type.
    fn arity(self) -> u64 {
        self.parameters.max(self.results)
    }
}

/// Bytes that `body` takes at most; it is read only when its length and locals alone do not keep it
/// within `limit`.
fn memory(limit: u64, widest: Widest, body: &FunctionBody<'_>) -> Result<u64, BinaryReaderError> {
    let bytes = body.range().len() as u64;
    let mut locals = widest.parameters;
    for declared in body.get_locals_reader()? {
        locals = locals.saturating_add(u64::from(declared?.0));
    }
    // A block or call takes at least two bytes, a branch's target one.
    let all = Counts {
        merges: (bytes / 2).saturating_mul(locals.saturating_add(widest.arity())),
        calls: bytes / 2,
        branches: bytes,
    };
    let rough = all.memory(bytes, widest);
    if rough <= limit { Ok(rough) } else { Ok(count(locals, widest, body)?.memory(bytes, widest)) }
}

/// What the memory of a function depends on, beside its length.
#[derive(Debug, Default)]
struct Counts {
    merges: u64,
    calls: u64,
    /// Targets of branches.
    branches: u64,
}

impl Counts {
    fn memory(&self, bytes: u64, widest: Widest) -> u64 {
        let parts = [
            bytes.saturating_mul(CODE),
            self.merges.saturating_mul(MERGE),
            self.calls.saturating_mul(widest.results).saturating_mul(RESULT),
            self.branches.saturating_mul(widest.arity()).saturating_mul(ARGUMENT),
        ];
        parts.into_iter().fold(0, u64::saturating_add)
    }
}

fn count(
    locals: u64,
    widest: Widest,
    body: &FunctionBody<'_>,
) -> Result<Counts, BinaryReaderError> {
    let mut counts = Counts::default();
    let mut assigned = 0_u64;
    // Of each open block, what was assigned before it.
    let mut open = Vec::new();
    for operator in body.get_operators_reader()? {
        match operator? {
            Operator::LocalSet { .. } | Operator::LocalTee { .. } => assigned += 1,
            Operator::Block { blockty } | Operator::Loop { blockty } | Operator::If { blockty } => {
                open.push(assigned);
                let values = match blockty {
                    BlockType::Empty => 0,
                    BlockType::Type(_) => 1,
                    BlockType::FuncType(_) => widest.arity(),
                };
                counts.merges = counts.merges.saturating_add(values);
            }
            Operator::TryTable { try_table } => {
                open.push(assigned);
                let carried = widest.arity().saturating_mul(1 + try_table.catches.len() as u64);
                counts.merges = counts.merges.saturating_add(carried);
            }
            Operator::End => {
                let before = open.pop().unwrap_or(assigned);
                // A local that is assigned twice is merged once.
                counts.merges = counts.merges.saturating_add((assigned - before).min(locals));
            }
            Operator::BrTable { targets } => counts.branches += u64::from(targets.len()) + 1,
            Operator::Br { .. }
            | Operator::BrIf { .. }
            | Operator::BrOnNull { .. }
            | Operator::BrOnNonNull { .. }
            | Operator::BrOnCast { .. }
            | Operator::BrOnCastFail { .. } => counts.branches += 1,
            Operator::Call { .. }
            | Operator::CallIndirect { .. }
            | Operator::CallRef { .. }
            | Operator::ReturnCall { .. }
            | Operator::ReturnCallIndirect { .. }
            | Operator::ReturnCallRef { .. } => counts.calls += 1,
            _ => {}
        }
    }
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;
    const LIMIT: u64 = 64 * MIB;

    fn component(module: &str) -> Vec<u8> {
        wat::parse_str(format!("(component (core module {module}))")).unwrap()
    }

    /// `depth` nested loops around one assignment of each of `locals` locals.
    fn nested(depth: usize, locals: usize) -> Vec<u8> {
        let assign = |local| format!("(local.set {local} (i64.const 1))");
        let all: String = (0..locals).map(assign).collect();
        let types = "i64 ".repeat(locals);
        let (open, close) = ("loop ".repeat(depth), "(br_if 0 (i32.const 0)) end ".repeat(depth));
        component(&format!("(func) (func (local {types}) {open} {all} {close})"))
    }

    #[test]
    fn nested_loops_around_many_locals_are_found_with_their_number() {
        let heaviest = above(LIMIT, &nested(300, 300)).unwrap();
        assert_eq!(heaviest.function, 1);
        // 300 times 300 merges of a local.
        assert!((128 * MIB..192 * MIB).contains(&heaviest.memory), "{heaviest:?}");
        assert_eq!(above(256 * MIB, &nested(300, 300)), None);
    }

    #[test]
    fn what_multiplies_alone_is_no_harm() {
        assert_eq!(above(LIMIT, &nested(2000, 1)), None, "many loops");
        assert_eq!(above(LIMIT, &nested(1, 2000)), None, "many locals");
        // The same local over and over.
        let assign = "(local.set 0 (i64.const 1))".repeat(300);
        let blocks = format!("{} {assign} {}", "block ".repeat(300), "end ".repeat(300));
        let locals = "i64 ".repeat(300);
        let once = component(&format!("(func (local i64) {blocks})"));
        assert_eq!(above(LIMIT, &once), None);
        // As many assignments as locals may be assignments of each.
        let each = component(&format!("(func (local {locals}) {blocks})"));
        assert!(above(LIMIT, &each).is_some());
    }

    #[test]
    fn calls_that_return_much_and_branches_that_carry_much_are_found() {
        let types = format!("(type $wide (func (result {})))", "i64 ".repeat(1000));
        let calls = |n| {
            let calls = "call $f ".repeat(n);
            component(&format!(
                "{types} (func $f (type $wide) unreachable) (func {calls} unreachable)"
            ))
        };
        assert_eq!(above(LIMIT, &calls(10)), None);
        assert_eq!(above(LIMIT, &calls(300)).unwrap().function, 1);
        let branches = |n| {
            let targets = "0 ".repeat(n);
            component(&format!(
                "{types} (func block (type $wide) unreachable (br_table {targets}) end unreachable)"
            ))
        };
        assert_eq!(above(LIMIT, &branches(100)), None);
        assert!(above(LIMIT, &branches(10_000)).is_some());
    }

    #[test]
    fn a_type_counts_in_its_own_module_only() {
        let wide = format!("(type (func (result {})))", "i64 ".repeat(1000));
        let calls = "call $f ".repeat(300);
        let modules =
            format!("(component (core module {wide}) (core module (func $f) (func {calls})))");
        assert_eq!(above(LIMIT, &wat::parse_str(modules).unwrap()), None);
    }

    #[test]
    fn what_is_cut_short_is_left_to_the_compiler() {
        let whole = nested(300, 300);
        for length in (0..whole.len()).step_by(7) {
            // No panic, and no verdict on what cannot be read.
            assert_eq!(above(LIMIT, &whole[..length]), None, "of {length} bytes");
        }
    }
}
