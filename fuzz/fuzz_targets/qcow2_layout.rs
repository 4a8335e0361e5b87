//! Any disk: the plan of its qcow2 image has the length it says, and is read as the same disk.
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| qcow2::fuzzing::layout_of_bytes(bytes));
