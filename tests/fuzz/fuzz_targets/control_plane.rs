//! The target `control_plane`; what it does is said at the entry point of that name.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| wrt::fuzz::control_plane(bytes));
