//! Arguments of dom0 plugins, plain and pickled.
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| xapi_plugins::fuzzing::arguments(bytes));
