//! Pickles: data only, and the same when written and read again.
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| xapi_plugins::fuzzing::pickle(bytes));
