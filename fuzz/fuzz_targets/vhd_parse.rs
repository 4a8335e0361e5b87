//! Any bytes: the stream decoder and the map neither panic nor disagree.
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| vhd::fuzzing::parse(bytes));
