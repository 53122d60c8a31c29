//! x
/// x
#[derive(Debug)]
pub struct Filter;
/// x
#[derive(Debug)]
pub struct FilterError;
