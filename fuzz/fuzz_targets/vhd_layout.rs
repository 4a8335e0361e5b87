//! Any disk: its plan has the length it says, and decodes to the same disk.
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| vhd::fuzzing::layout_of_bytes(bytes));
