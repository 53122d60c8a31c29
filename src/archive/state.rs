//! What is known of a flow and of its way through the boxes, as bytes that the same program reads again: what parts are put together
//! from.
//!
//! Nobody else is meant to read them; they begin with a number that changes whenever a field does, and end with a checksum, so that what
//! is damaged, or another program's, is told and not believed.

use crate::flow::Flow;
use serde::Serialize;
use serde::de::DeserializeOwned;
use twox_hash::XxHash64;

/// Changes with every field of what is kept.
const STATE: u8 = 5;

/// A flow and what is kept of it, as bytes.
///
/// # Errors
/// That it cannot be written, which everything that is kept can.
pub fn pack<R: Serialize>(flow: &Flow, run: &R) -> Result<Vec<u8>, String> {
    let mut bytes = postcard::to_extend(&(flow, run), vec![STATE]).map_err(|error| error.to_string())?;
    let sum = XxHash64::oneshot(u64::from(STATE), &bytes);
    bytes.extend_from_slice(&sum.to_le_bytes());
    Ok(bytes)
}

/// The same read back. The ends of the flow are not part of it.
///
/// # Errors
/// That it is damaged, or another program's.
pub fn unpack<R: DeserializeOwned>(bytes: &[u8]) -> Result<(Flow, R), String> {
    let damaged = || "what was kept of a flow is damaged".to_owned();
    let (kept, sum) = bytes.split_last_chunk::<8>().ok_or_else(damaged)?;
    let (version, rest) = kept.split_first().ok_or_else(damaged)?;
    if *version != STATE {
        return Err(format!(
            "what was kept of a flow is of another program (form {version}; this one reads form {STATE}); run the parts again"
        ));
    }
    if XxHash64::oneshot(u64::from(STATE), kept) != u64::from_le_bytes(*sum) {
        return Err(damaged());
    }
    postcard::from_bytes(rest).map_err(|error| format!("{}: {error}", damaged()))
}
