//! Log lines with a level, written by macros that format like `println!`.
//!
//! On `wasm32` this is `wasi:logging/logging`; natively, `FakeHost::logs` returns the lines. The
//! context of a line is the module that wrote it.
//!
//! ```
//! use wrt_guest::log;
//!
//! let order = 7;
//! log::info!("order {order} accepted");
//! ```

use std::fmt;

/// How much a line matters, from least to most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Every step, for following one call.
    Trace,
    /// What helps to find a fault.
    Debug,
    /// What is worth knowing in normal running.
    Info,
    /// Something unexpected that was coped with.
    Warn,
    /// Something failed.
    Error,
    /// The handler cannot go on.
    Critical,
}

/// Writes one line; the macros are the shorter way.
pub fn write(level: Level, context: &str, message: fmt::Arguments<'_>) {
    #[cfg(target_arch = "wasm32")]
    crate::guest::log(level, context, &message.to_string());
    #[cfg(not(target_arch = "wasm32"))]
    crate::testing::log(level, context, message.to_string());
}

// A `macro_export` macro lives at the crate's root; the hidden names keep the root clear, and the
// `pub use` below puts each one where it belongs.
#[rustfmt::skip] // Each run would indent the inner macro further.
macro_rules! level_macro {
    ($dollar:tt $hidden:ident $name:ident $level:ident $article:literal) => {
        #[doc = concat!("Logs ", $article, " `", stringify!($level), "` line.")]
        #[doc(hidden)]
        #[macro_export]
        macro_rules! $hidden {
            ($dollar($dollar argument:tt)+) => {
                $crate::log::write(
                    $crate::log::Level::$level,
                    ::core::module_path!(),
                    ::core::format_args!($dollar($dollar argument)+),
                )
            };
        }
        #[doc(inline)]
        pub use $hidden as $name;
    };
}

level_macro!($ __log_trace trace Trace "a");
level_macro!($ __log_debug debug Debug "a");
level_macro!($ __log_info info Info "an");
level_macro!($ __log_warn warn Warn "a");
level_macro!($ __log_error error Error "an");
level_macro!($ __log_critical critical Critical "a");
