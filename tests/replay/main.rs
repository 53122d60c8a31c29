//! Captures through boxes: dialogues with the verdict that each must get, on both sides of every deadline.

mod capture;
mod conntrack;
mod evidence;
mod idle;
mod ipvs;
mod path;
