//! Captures through boxes: dialogues with the verdict that each must get, on both sides of every deadline.

mod capture;
mod conntrack;
mod docs;
mod evidence;
mod idle;
mod ipvs;
mod path;
mod program;
