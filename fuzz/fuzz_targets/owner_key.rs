//! A line with a public key: read as a second reader does, and what is sealed with it.
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| guest_agent::fuzzing::owner_key(bytes));
