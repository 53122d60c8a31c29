//! One flow told: as a text for people, and for machines.

pub mod json;
pub mod text;
mod words;
