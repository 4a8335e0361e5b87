//! Queries: the client and the simulated host read the same, and what is written is read again.
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| xapi_simulator::fuzzing::query(bytes));
