//! See `tests/fuzz/targets/packetdrill.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(init: flowlapse_fuzz::begin("packetdrill"), |data: &[u8]| flowlapse_fuzz::check("packetdrill", data));
