//! See `tests/fuzz/targets/inventory.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(init: flowlapse_fuzz::begin("inventory"), |data: &[u8]| flowlapse_fuzz::check("inventory", data));
