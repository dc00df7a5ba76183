//! What compiled code depends on beside the component, as a number for a bucket of cache entries.

use std::hash::{Hash as _, Hasher};

use sha2::{Digest as _, Sha256};

use crate::events::Tier;

/// Over wasmtime's version, the tier, the compiler's settings, and the processor's features: 64 bits
/// tell some dozen configurations apart, and wasmtime checks again when it loads.
pub(super) fn bucket(engine: &wasmtime::Engine, tier: Tier) -> u64 {
    let mut hasher = Sha256Hasher(Sha256::new());
    // wasmtime's version is part of its hash.
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hasher.write_u8(match tier {
        Tier::Baseline => 0,
        Tier::Optimized => 1,
    });
    hasher.finish()
}

/// The standard hashers may change with the toolchain, and would empty the cache.
struct Sha256Hasher(Sha256);

impl Hasher for Sha256Hasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        let digest = self.0.clone().finalize();
        digest.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engines_share_a_bucket_exactly_when_they_can_load_each_others_code() {
        let engine = |optimized: bool| {
            let mut config = wasmtime::Config::new();
            let level =
                if optimized { wasmtime::OptLevel::Speed } else { wasmtime::OptLevel::None };
            config.cranelift_opt_level(level);
            wasmtime::Engine::new(&config).unwrap()
        };
        let bucket = |optimized, tier| bucket(&engine(optimized), tier);
        let one = bucket(true, Tier::Optimized);
        assert_eq!(one, bucket(true, Tier::Optimized));
        assert_ne!(one, bucket(false, Tier::Optimized));
        assert_ne!(one, bucket(true, Tier::Baseline));
    }
}
