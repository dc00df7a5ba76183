//! What the host's tests must know of the guests: their names, and the checksum that one returns.

/// Every guest by name: `examples/NAME.rs`, built as `examples/NAME.wasm` in the target directory.
pub const NAMES: &[&str] = &[
    "asked",
    "big_headers",
    "broken_answer",
    "config_reader",
    "counter",
    "env_reader",
    "event_echo",
    "event_grow",
    "event_loop",
    "event_rejects",
    "event_step",
    "event_trap",
    "event_work",
    "grow_memory",
    "hostile",
    "http03",
    "log_noise",
    "loop_forever",
    "never_answers",
    "no_answer",
    "outbound",
    "own_world",
    "post_echo",
    "raw_answer",
    "renamed",
    "request_parts",
    "sizes",
    "slow_answer",
    "slow_stream",
    "stack_overflow",
    "stateful",
    "stateful_http",
    "trap",
];

/// The 64-bit FNV-1a checksum, in which `post_echo` answers: short, and any changed byte shows.
pub fn fnv1a(bytes: &[u8]) -> u64 {
    // Both numbers are FNV's own.
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum: u64, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    #[test]
    fn names_are_the_examples() {
        // Asked at run time: clones may share a target directory.
        let package = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap());
        let directory = package.join("examples");
        let mut found: Vec<_> = std::fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
            .collect();
        found.sort();
        assert_eq!(found, NAMES);
    }

    #[test]
    fn checksum_is_fnv1a() {
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
    }
}
