//! What one entry takes in a box's kernel.
//!
//! Source: computed from structure definitions, not measured; x86-64 and common options (the spec's conntrack.md section 5.6,
//! ipvs.md section 10).

use super::hop::{Device, Hop};
use crate::model::conntrack::dialect::release_numbers;
use crate::model::ipvs::dialect::DIALECTS;

/// `struct nf_conn` before 3.10, up to 4.11, and in its slab from 4.12 on.
const NF_CONN: [u64; 3] = [300, 280, 256];
/// The block of extensions that NAT, accounting, labels or events need: the least that it takes, where any of them is in use.
const EXTENSIONS: u64 = 128;

impl Hop {
    /// Bytes of kernel memory for each entry; nothing where nobody knows the box's insides.
    pub fn entry_bytes(&self) -> Option<u64> {
        match &self.device {
            Device::Router(router) => {
                let name = router.conntrack.settings.dialect.name;
                let release = name.strip_prefix("linux-").or_else(|| name.strip_prefix("longterm-")).and_then(release_numbers);
                let base = match release {
                    Some(numbers) if numbers < [3, 10, 0] => NF_CONN[0],
                    Some(numbers) if numbers < [4, 12, 0] => NF_CONN[1],
                    _ => NF_CONN[2],
                };
                Some(base + EXTENSIONS)
            }
            Device::Director(director) => {
                // Rows without a number of their own take up as much as the next one that has it.
                let own = director.ipvs.dialect;
                let from = DIALECTS.iter().position(|row| row.name == own.name).unwrap_or(0);
                let known = DIALECTS[from..].iter().chain(DIALECTS).map(|row| row.entry_bytes).find(|bytes| *bytes > 0);
                known.map(u64::from)
            }
            Device::Idle(_) => None,
        }
    }
}
