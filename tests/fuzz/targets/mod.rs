//! What is fuzzed: for each target what must hold for any bytes at all. The crate in `fuzz/` runs these functions under libFuzzer, the
//! test beside this file runs them on what was found once and on the seeds.
mod capture;
mod decode;
mod inventory;
mod packetdrill;
mod path;
mod policy;
mod recordings;
mod scenario;
pub(crate) mod seeds;

/// A target.
pub(crate) struct Target {
    /// Its name: that of its folder of inputs, of its corpus, and of its program.
    pub(crate) name: &'static str,
    /// Does everything with an input, and panics where something does not hold.
    pub(crate) check: fn(&[u8]),
    /// How long inputs are at most.
    pub(crate) len_max: usize,
}

/// Every target.
pub(crate) const TARGETS: [Target; 8] = [
    Target { name: "capture", check: capture::check, len_max: 16 << 10 },
    Target { name: "decode", check: decode::check, len_max: 4 << 10 },
    Target { name: "path", check: path::check, len_max: 8 << 10 },
    Target { name: "scenario", check: scenario::check, len_max: 8 << 10 },
    Target { name: "policy", check: policy::check, len_max: 8 << 10 },
    Target { name: "inventory", check: inventory::check, len_max: 8 << 10 },
    Target { name: "recordings", check: recordings::check, len_max: 16 << 10 },
    Target { name: "packetdrill", check: packetdrill::check, len_max: 8 << 10 },
];
