//! The built `wrt` binary as its users meet it: commands, sockets, files, signals and messages.

#![allow(clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

mod binary;
mod build;
mod cache;
mod chaos;
mod client;
mod control;
mod dev;
mod editors;
mod help;
mod logs;
mod messages;
mod output;
mod plan;
mod project;
mod ready;
mod serve;
mod signals;
mod unchanged;
mod watch;
