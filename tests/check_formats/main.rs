//! The formats of `flowlapse check`: held to the schemas of those who read them, with hostile names in every text.

mod junit;
mod lines;
mod made;
mod sarif;
