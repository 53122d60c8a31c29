//! The policy layer and the idle box, from outside: what is written, what it means, and what is said about mistakes.

mod axis;
mod dump;
mod idle_box;
mod json;
mod origins;
mod paste;
mod presets;
mod round_trip;
mod short_form;
