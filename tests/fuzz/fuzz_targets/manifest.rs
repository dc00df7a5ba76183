//! The target `manifest`; what it does is said at the entry point of that name.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| wrt::fuzz::manifest(bytes));
