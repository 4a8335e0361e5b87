//! `Diagnostics`: its record, enums, names of fields, and calls.
// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.
