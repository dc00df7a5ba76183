//! Which interfaces wrt offers, in which versions: what a refused import is compared with.

/// Interfaces of the WASI 0.2 packages, by package.
const WASI_02: &[(&str, &[&str])] = &[
    (
        "wasi:cli",
        &[
            "environment",
            "exit",
            "stdin",
            "stdout",
            "stderr",
            "terminal-input",
            "terminal-output",
            "terminal-stdin",
            "terminal-stdout",
            "terminal-stderr",
        ],
    ),
    ("wasi:clocks", &["monotonic-clock", "wall-clock"]),
    ("wasi:filesystem", &["types", "preopens"]),
    ("wasi:http", &["types", "outgoing-handler"]),
    ("wasi:io", &["error", "poll", "streams"]),
    ("wasi:random", &["random", "insecure", "insecure-seed"]),
    (
        "wasi:sockets",
        &[
            "instance-network",
            "ip-name-lookup",
            "network",
            "tcp",
            "tcp-create-socket",
            "udp",
            "udp-create-socket",
        ],
    ),
];

/// The version of [`WASI_02`] that this wasmtime implements; any 0.2.x import is satisfied by it.
const WASI_02_VERSION: &str = "0.2.12";

/// Interfaces outside of WASI 0.2 proper, each with its one version.
const OTHERS: &[(&str, &str)] = &[
    ("wasi:config/store", "0.2.0-rc.1"),
    ("wasi:logging/logging", "0.1.0-draft"),
    // Types alone, which need nothing of the host.
    ("wrt:plugin/types", "0.1.0"),
];

/// Packages that WASI 0.3 adds versions of.
const WASI_03: &[&str] =
    &["wasi:cli", "wasi:clocks", "wasi:filesystem", "wasi:http", "wasi:random", "wasi:sockets"];

/// What wrt has to say about an import.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Offer {
    /// This version of the interface.
    Version(&'static str),
    /// Only with WASI 0.3 switched on.
    OptIn,
    /// Nothing of this name.
    Nothing,
}

/// What is offered for an import called `name`, such as `wasi:http/types@0.2.4`.
pub(crate) fn offer_for(name: &str, wasi03: bool) -> Offer {
    let (path, version) = name.split_once('@').unwrap_or((name, ""));
    if let Some((_, version)) = OTHERS.iter().find(|(offered, _)| *offered == path) {
        return Offer::Version(version);
    }
    let Some((package, interface)) = path.split_once('/') else { return Offer::Nothing };
    if version.starts_with("0.3.") && WASI_03.contains(&package) {
        return if wasi03 { Offer::Version("0.3.0") } else { Offer::OptIn };
    }
    WASI_02
        .iter()
        .find(|(offered, interfaces)| *offered == package && interfaces.contains(&interface))
        .map_or(Offer::Nothing, |_| Offer::Version(WASI_02_VERSION))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RuntimeConfig;
    use crate::engine::Engines;
    use crate::host::HostState;

    /// Every interface of the lists above, as an import with its offered version.
    fn offered() -> Vec<String> {
        let wasi = WASI_02.iter().flat_map(|(package, interfaces)| {
            interfaces.iter().map(move |name| format!("{package}/{name}@{WASI_02_VERSION}"))
        });
        wasi.chain(OTHERS.iter().map(|(path, version)| format!("{path}@{version}"))).collect()
    }

    #[test]
    fn all_that_is_said_to_be_offered_can_be_linked() {
        let config = RuntimeConfig::default();
        let engine = Engines::new(&config).unwrap().optimized;
        let mut linker = wasmtime::component::Linker::<HostState>::new(engine.wasmtime());
        crate::host::link(&mut linker, &config).unwrap();
        for name in offered() {
            let text = format!("(component (import \"{name}\" (instance)))");
            let component = wasmtime::component::Component::new(engine.wasmtime(), &text).unwrap();
            assert!(linker.instantiate_pre(&component).is_ok(), "`{name}` is not linked");
        }
    }

    #[test]
    fn versions_and_opt_ins_are_told_apart() {
        assert_eq!(offer_for("wasi:http/types@0.2.0", false), Offer::Version("0.2.12"));
        assert_eq!(offer_for("wasi:http/types@0.3.0", false), Offer::OptIn);
        assert_eq!(offer_for("wasi:logging/logging@9.0.0", false), Offer::Version("0.1.0-draft"));
        assert_eq!(offer_for("acme:db/rows@1.0.0", false), Offer::Nothing);
        assert_eq!(offer_for("wasi:http/nonsense@0.2.0", false), Offer::Nothing);
    }
}
