//! What built components show of their state: their exports, and the section for tools.

use std::error::Error;
use wasmparser::{Parser, Payload};
use wrt_test_support::guests::{Profile, plugin};

/// The exports of a component, and the data of its sections `wrt:state`.
struct Shown {
    exports: Vec<String>,
    sections: Vec<String>,
}

fn show(name: &str) -> Result<Shown, Box<dyn Error>> {
    let bytes = std::fs::read(plugin(name, Profile::Dev)?)?;
    let mut shown = Shown { exports: Vec::new(), sections: Vec::new() };
    // How deep in the component the parser is: modules and the shims of exports are within.
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(&bytes) {
        match payload? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentExportSection(exports) if depth == 0 => {
                for export in exports {
                    shown.exports.push(export?.name.0.to_owned());
                }
            }
            Payload::CustomSection(section) if section.name() == "wrt:state" => {
                shown.sections.push(String::from_utf8(section.data().to_vec())?);
            }
            _ => {}
        }
    }
    shown.exports.sort();
    Ok(shown)
}

#[test]
fn handler_with_state_shows_its_schema() {
    let Shown { exports, sections } = show("counter").unwrap();
    assert_eq!(sections, ["{\"version\":1,\"schema\":\"count:u64\"}\n"]);
    assert!(exports[0].starts_with("wasi:http/incoming-handler@"), "{exports:?}");
    assert_eq!(
        exports[1..],
        ["wrt:plugin/http@0.1.0", "wrt:plugin/lifecycle@0.1.0", "wrt:plugin/state@0.1.0"]
    );
}

#[test]
fn plain_handler_has_one_export() {
    let Shown { exports, sections } = show("orders").unwrap();
    assert_eq!(exports, ["wrt:plugin/handler@0.1.0"]);
    assert!(sections.is_empty(), "{sections:?}");
}
