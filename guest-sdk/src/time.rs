//! Waiting inside of a handler.

use std::time::Duration;

/// Waits, and lets the host do other things meanwhile.
///
/// Natively it returns at once and `FakeHost::slept` adds it up, so that tests do not wait.
pub async fn sleep(duration: Duration) {
    #[cfg(target_arch = "wasm32")]
    wstd::task::sleep(duration.into()).await;
    #[cfg(not(target_arch = "wasm32"))]
    crate::testing::sleep(duration);
}
