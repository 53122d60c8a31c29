//! What each kind of box does with a packet. The models are pure: time and packets are arguments, answers are values.
pub mod idle;
