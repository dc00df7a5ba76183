//! Tells the library with which optimization it is compiled, which its dependencies share as a rule.

#![allow(clippy::print_stdout, reason = "cargo reads what a build script prints")]

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // Cargo always sets it; without it there is nothing to warn of.
    let level = std::env::var("OPT_LEVEL").unwrap_or_default();
    println!("cargo::rustc-env=WRT_OPT_LEVEL={level}");
}
