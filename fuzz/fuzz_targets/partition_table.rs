//! Partition tables: what a resize writes is a table, and touches no partition.
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| xapi_plugins::fuzzing::partition_table(bytes));
