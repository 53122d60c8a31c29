//! See `tests/fuzz/targets/decode.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(init: flowlapse_fuzz::begin("decode"), |data: &[u8]| flowlapse_fuzz::check("decode", data));
