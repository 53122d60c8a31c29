//! See `tests/fuzz/targets/capture.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(init: flowlapse_fuzz::begin("capture"), |data: &[u8]| flowlapse_fuzz::check("capture", data));
