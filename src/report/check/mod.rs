//! A run of the gate to bytes, one file a format. Nothing here judges, and nothing here opens a file.

pub mod github;
pub mod group;
pub mod json;
pub mod junit;
pub mod markdown;
pub mod sarif;
pub mod text;
pub mod words;
