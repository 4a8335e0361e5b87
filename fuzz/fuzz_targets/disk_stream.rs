//! Any stream of a disk: fed whole and in pieces, it tells the same.
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| disk_stream::fuzzing::stream(bytes));
