//! One flow told: as a text for people, and for machines.

pub mod json;
pub mod matched;
pub mod matched_json;
pub mod text;
mod words;
