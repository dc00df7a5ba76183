//! The library's public API with real guests: one module per subject.
#![allow(clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

#[cfg(feature = "admin")]
mod admin;
mod answers;
mod cache;
mod client;
mod clients;
mod contract;
mod costs;
#[cfg(feature = "dev")]
mod dev;
mod embedding;
mod endings;
mod events;
mod failures;
mod fixture;
mod history;
mod host;
mod leaks;
mod places;
mod plan;
mod pool;
#[path = "../protocol/mod.rs"]
mod protocol;
mod read;
mod sdk;
mod settings;
mod state;
mod swap;
mod wasi03;
mod way_back;
