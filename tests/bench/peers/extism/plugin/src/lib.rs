//! Does the same work as the event handler `event_work`: nothing, a change of JSON, or bytes back.
//!
//! The host's functions are declared by hand, and used as Extism's own kit for plugins uses them:
//! that kit needs the standard library, which on this target imports what only components have.
#![no_std]

extern crate alloc;

use alloc::vec;
use alloc::vec::Vec;

use serde_json::Value;

#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    core::arch::wasm32::unreachable()
}

// `memcmp`, from the library that every component of Rust has it from.
#[link(name = "c")]
unsafe extern "C" {}

#[link(wasm_import_module = "extism:host/env")]
unsafe extern "C" {
    safe fn input_length() -> u64;
    safe fn input_load_u8(at: u64) -> u8;
    safe fn input_load_u64(at: u64) -> u64;
    #[link_name = "alloc"]
    safe fn allocate(len: u64) -> u64;
    safe fn store_u8(at: u64, byte: u8);
    safe fn store_u64(at: u64, bytes: u64);
    safe fn output_set(at: u64, len: u64);
}

#[unsafe(no_mangle)]
extern "C" fn noop() -> i32 {
    0
}

#[unsafe(no_mangle)]
extern "C" fn json() -> i32 {
    let Ok(mut document) = serde_json::from_slice::<Value>(&input()) else { return 1 };
    document["total"] = 30.into();
    match serde_json::to_vec(&document) {
        Ok(bytes) => answer(&bytes),
        Err(_) => 1,
    }
}

#[unsafe(no_mangle)]
extern "C" fn bytes() -> i32 {
    answer(&input())
}

/// The input, eight bytes at a time.
fn input() -> Vec<u8> {
    let len = input_length();
    let mut bytes = vec![0; len as usize];
    let (chunks, rest) = bytes.as_chunks_mut::<8>();
    let mut at = 0;
    for chunk in chunks {
        *chunk = input_load_u64(at).to_le_bytes();
        at += 8;
    }
    for byte in rest {
        *byte = input_load_u8(at);
        at += 1;
    }
    bytes
}

/// Gives `bytes` to the host, eight at a time.
fn answer(bytes: &[u8]) -> i32 {
    let start = allocate(bytes.len() as u64);
    let (chunks, rest) = bytes.as_chunks::<8>();
    let mut at = start;
    for chunk in chunks {
        store_u64(at, u64::from_le_bytes(*chunk));
        at += 8;
    }
    for byte in rest {
        store_u8(at, *byte);
        at += 1;
    }
    output_set(start, bytes.len() as u64);
    0
}
