//! Any files: both formats hold them, or say why not, and an independent reader finds them.
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| config_drive::fuzzing::config_drive(bytes));
