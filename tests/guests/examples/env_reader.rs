//! Lists what it was given of the outside: variables, arguments, directories and the network.
//!
//! One line each: `env NAME=VALUE`, `arg TEXT`, `dir PATH`, and `tcp` with what came of connecting
//! to `?tcp=ADDRESS`, by default `127.0.0.1:9`.

use std::fmt::Write;
use std::net::TcpStream;
use wrt_guest::{Result, Uri, query};

#[wrt_guest::http]
fn handle(uri: Uri) -> Result<String> {
    let mut text = String::new();
    for (name, value) in std::env::vars() {
        writeln!(text, "env {name}={value}")?;
    }
    for argument in std::env::args() {
        writeln!(text, "arg {argument}")?;
    }
    for path in directories() {
        writeln!(text, "dir {path}")?;
    }
    let address = query(&uri, "tcp").unwrap_or_else(|| "127.0.0.1:9".into());
    match TcpStream::connect(address) {
        Ok(_) => writeln!(text, "tcp connected")?,
        Err(error) => writeln!(text, "tcp {error}")?,
    }
    Ok(text)
}

#[cfg(target_arch = "wasm32")]
fn directories() -> Vec<String> {
    let found = wasip2::filesystem::preopens::get_directories();
    found.into_iter().map(|(_, path)| path).collect()
}

#[cfg(not(target_arch = "wasm32"))]
fn directories() -> Vec<String> {
    Vec::new()
}
