//! A VHD, sound or not: what is said of it holds, and what is repaired is.
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| vhd::fuzzing::inspect(bytes));
