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
pub(crate) const WASI_02_VERSION: &str = "0.2.12";

/// Interfaces outside of WASI 0.2 proper, each with its one version.
const OTHERS: &[(&str, &str)] = &[
    ("wasi:config/store", "0.2.0-rc.1"),
    ("wasi:logging/logging", "0.1.0-draft"),
    // Types alone, which need nothing of the host.
    ("wrt:plugin/types", "0.1.0"),
];

/// Interfaces of the WASI 0.3 packages, by package.
const WASI_03: &[(&str, &[&str])] = &[
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
            "types",
        ],
    ),
    ("wasi:clocks", &["monotonic-clock", "system-clock", "types"]),
    ("wasi:filesystem", &["types", "preopens"]),
    ("wasi:http", &["client", "types"]),
    ("wasi:random", &["random", "insecure", "insecure-seed"]),
    ("wasi:sockets", &["ip-name-lookup", "types"]),
];

/// The version of [`WASI_03`] that this wasmtime implements; its release candidates are others.
pub(crate) const WASI_03_VERSION: &str = "0.3.0";

/// What wrt has to say about an import.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Offer {
    /// This version of the interface.
    Version(&'static str),
    /// This version, only with WASI 0.3 switched on.
    OptIn(&'static str),
    /// Other interfaces of the package, in this version.
    Others(&'static [&'static str], &'static str),
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
    let is_03 = version.starts_with("0.3.");
    let (packages, version) =
        if is_03 { (WASI_03, WASI_03_VERSION) } else { (WASI_02, WASI_02_VERSION) };
    match packages.iter().find(|(offered, _)| *offered == package) {
        None => Offer::Nothing,
        Some((_, interfaces)) if !interfaces.contains(&interface) => {
            Offer::Others(interfaces, version)
        }
        Some(_) if is_03 && !wasi03 => Offer::OptIn(version),
        Some(_) => Offer::Version(version),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RuntimeConfig;
    use crate::engine::Engines;
    use crate::host::HostState;

    /// Every interface of `packages`, as an import of `version`.
    fn imports(packages: &[(&str, &[&str])], version: &str) -> Vec<String> {
        let names = packages.iter().flat_map(|(package, interfaces)| {
            interfaces.iter().map(move |name| format!("{package}/{name}@{version}"))
        });
        names.collect()
    }

    /// Those of `names` that are not in the linker of a runtime. To link an import would not tell: one
    /// of types alone needs nothing, and is satisfied by any name.
    fn unlinked(wasi03: bool, names: &[String]) -> Vec<String> {
        let config = RuntimeConfig { wasi03, ..RuntimeConfig::default() };
        let engine = Engines::new(&config).unwrap().optimized;
        let mut linker = wasmtime::component::Linker::<HostState>::new(engine.wasmtime());
        crate::host::link(&mut linker, &config).unwrap();
        linker.allow_shadowing(false);
        let is_free =
            |name: &&String| linker.clone().root().func_wrap(name, |_, ()| Ok(())).is_ok();
        names.iter().filter(is_free).cloned().collect()
    }

    #[test]
    fn all_that_is_said_to_be_offered_is_linked() {
        let mut names = imports(WASI_02, WASI_02_VERSION);
        names.extend(OTHERS.iter().map(|(path, version)| format!("{path}@{version}")));
        assert_eq!(unlinked(false, &names), ["wrt:plugin/types@0.1.0"]);
        // The one is of types alone.
        let names = imports(WASI_03, WASI_03_VERSION);
        assert_eq!(unlinked(true, &names), ["wasi:cli/types@0.3.0"]);
        assert_eq!(unlinked(false, &names), names);
    }

    #[test]
    fn versions_opt_ins_and_other_interfaces_are_told_apart() {
        assert_eq!(offer_for("wasi:http/types@0.2.0", false), Offer::Version("0.2.12"));
        assert_eq!(offer_for("wasi:http/types@0.3.0", false), Offer::OptIn("0.3.0"));
        assert_eq!(offer_for("wasi:http/types@0.3.0-rc-1", true), Offer::Version("0.3.0"));
        assert_eq!(offer_for("wasi:logging/logging@9.0.0", false), Offer::Version("0.1.0-draft"));
        assert_eq!(offer_for("acme:db/rows@1.0.0", false), Offer::Nothing);
        assert_eq!(offer_for("wasi:keyvalue/store@0.2.0-draft", false), Offer::Nothing);
        let others = Offer::Others(&["client", "types"], "0.3.0");
        assert_eq!(offer_for("wasi:http/handler@0.3.0", true), others);
        assert_eq!(offer_for("wasi:http/handler@0.3.0", false), others);
        let others = Offer::Others(&["types", "outgoing-handler"], "0.2.12");
        assert_eq!(offer_for("wasi:http/nonsense@0.2.0", false), others);
    }
}
