//! The handler's settings, which the manifest holds under `[handler.NAME.config]`.
//!
//! On `wasm32` this is `wasi:config/store`; natively it is what
//! `FakeHost::with_config` was told.

use crate::Result;

/// The value of a setting, or `None` if the manifest does not have it.
///
/// # Errors
///
/// The host failed to read the setting from where it is kept.
pub fn get(key: &str) -> Result<Option<String>> {
    #[cfg(target_arch = "wasm32")]
    return crate::guest::config(key);
    #[cfg(not(target_arch = "wasm32"))]
    return Ok(crate::testing::config(key));
}
