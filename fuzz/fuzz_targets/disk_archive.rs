//! Any archive: its members are found one after the other and at their places.
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| disk_stream::fuzzing::archive(bytes));
