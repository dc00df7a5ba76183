//! The layers of the library: which module may import which.

use std::collections::BTreeSet;

use super::source::{Source, is_word};

/// A module and the modules it imports, from the bottom up: each knows only those above it here.
/// A new arrow is a decision; it changes the picture in `ARCHITECTURE.md` too.
pub(crate) const LAYERS: &[(&str, &[&str])] = &[
    ("id", &[]),
    ("snapshot", &[]),
    ("files", &[]),
    ("cloudevent", &[]),
    ("limit", &[]),
    ("config", &["id"]),
    ("events", &["id"]),
    ("engine", &["config", "events"]),
    ("host", &["config", "events", "id", "limit"]),
    // These two know each other: a refused component is one of the reasons to refuse a candidate.
    ("error", &["cloudevent", "config", "contract", "events", "id"]),
    ("contract", &["cloudevent", "error", "host", "id", "snapshot"]),
    ("manifest", &["config", "error", "files", "id"]),
    ("history", &["error", "events", "files", "id"]),
    ("artifact", &["config", "engine", "error", "events", "files", "id"]),
    ("cache", &["artifact", "id"]),
    ("generation", &["artifact", "error", "events", "id"]),
    (
        "instance",
        &[
            "cloudevent",
            "config",
            "contract",
            "engine",
            "error",
            "events",
            "generation",
            "host",
            "id",
            "snapshot",
        ],
    ),
    ("handler", &["config", "error", "events", "generation", "id", "limit"]),
    (
        "supervisor",
        &[
            "artifact",
            "config",
            "error",
            "events",
            "generation",
            "handler",
            "history",
            "id",
            "snapshot",
        ],
    ),
    (
        "stage",
        &[
            "artifact",
            "config",
            "contract",
            "engine",
            "error",
            "events",
            "generation",
            "handler",
            "host",
            "id",
            "instance",
            "snapshot",
            "supervisor",
        ],
    ),
    ("ingress", &["cloudevent", "config", "error", "events", "handler", "id", "instance"]),
    (
        "runtime",
        &[
            "artifact",
            "cloudevent",
            "config",
            "contract",
            "engine",
            "error",
            "events",
            "handler",
            "history",
            "host",
            "id",
            "ingress",
            "instance",
            "stage",
            "supervisor",
        ],
    ),
    ("dev", &["artifact", "config", "error", "events", "handler", "id", "runtime", "supervisor"]),
    ("admin", &["artifact", "config", "error", "events", "id", "ingress", "runtime", "supervisor"]),
    (
        "fuzz",
        &[
            "admin", "artifact", "config", "contract", "dev", "error", "history", "id", "ingress",
            "manifest", "runtime",
        ],
    ),
];

/// The one pair that may know each other.
const MUTUAL: (&str, &str) = ("error", "contract");

/// Which module of the library `file` belongs to; `lib.rs` belongs to none and may name all.
fn module(file: &Source) -> Option<&str> {
    let inside = file.path.strip_prefix("runtime/src/")?;
    let name = inside.split('/').next()?;
    let name = name.strip_suffix(".rs").unwrap_or(name);
    (name != "lib").then_some(name)
}

/// The imports of `file` that leave its module, as (module, imported module).
pub(crate) fn arrows(file: &Source) -> Vec<(String, String)> {
    let Some(module) = module(file).filter(|_| !file.is_test()) else { return Vec::new() };
    let code = file.code();
    let mut arrows = Vec::new();
    for (start, found) in code.match_indices("crate::") {
        // `$crate` in a macro is a path of whoever uses the macro.
        let before = code[..start].chars().next_back().unwrap_or(' ');
        if before == '$' || is_word(before) {
            continue;
        }
        let rest = &code[start + found.len()..];
        let name: String = rest.chars().take_while(|it| is_word(*it)).collect();
        if name != module {
            arrows.push((module.to_owned(), name));
        }
    }
    arrows
}

/// Imports that [`LAYERS`] does not have.
pub(crate) fn imports(file: &Source) -> Vec<String> {
    let mut violations = Vec::new();
    for (module, imported) in arrows(file) {
        let path = &file.path;
        match LAYERS.iter().find(|(name, _)| *name == module) {
            None => violations.push(format!("{path}: module `{module}` is in no layer")),
            Some((_, allowed)) if !allowed.contains(&imported.as_str()) => {
                violations.push(format!("{path}: `{module}` may not import `{imported}`"));
            }
            Some(_) => {}
        }
    }
    violations
}

/// Arrows of [`LAYERS`] that are not among those `used`.
pub(crate) fn unused(used: &BTreeSet<(String, String)>) -> Vec<String> {
    let all = LAYERS.iter().flat_map(|(module, allowed)| {
        allowed.iter().map(|imported| ((*module).to_owned(), (*imported).to_owned()))
    });
    all.filter(|arrow| !used.contains(arrow))
        .map(|(module, imported)| format!("`{module}` no longer imports `{imported}`"))
        .collect()
}

/// Arrows of `layers` that do not point downwards.
pub(crate) fn upward(layers: &[(&str, &[&str])]) -> Vec<String> {
    let place = |name: &str| layers.iter().position(|(it, _)| *it == name);
    let mut violations = Vec::new();
    for (i, (module, allowed)) in layers.iter().enumerate() {
        for imported in *allowed {
            let is_below = place(imported).is_some_and(|place| place < i);
            if !is_below && (*module, *imported) != MUTUAL {
                violations.push(format!("`{imported}` is not below `{module}`"));
            }
        }
    }
    violations
}
