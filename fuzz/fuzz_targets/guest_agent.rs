//! Answers, keys and sealed passwords of guests' agents.
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| guest_agent::fuzzing::agent(bytes));
