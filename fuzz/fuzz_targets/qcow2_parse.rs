//! Any bytes: the reader of qcow2 files and that of streams neither panic nor disagree.
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| qcow2::fuzzing::parse(bytes));
