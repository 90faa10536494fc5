//! Every fuzz target: the binary's name says which. What each one checks is in `src/fuzzing.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| angelia::fuzzing::run(env!("CARGO_BIN_NAME"), data));
