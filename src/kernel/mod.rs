//! What "a Linux kernel of version V" means for the clocks that the models run on.
//!
//! Nothing here knows packets.
pub mod wheel;
