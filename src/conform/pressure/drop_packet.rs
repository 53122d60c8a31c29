//! `drop_packet` at work: which of a row of new connections pass. Nothing here is left to chance.

use super::{Head, Numbered, exactly};
use crate::conform::Result;
use crate::model::ipvs::defence::{Defence, DefenceSettings};
use crate::model::ipvs::dialect::Dialect;

/// Compares each SYN.
///
/// # Errors
/// What is missing.
pub(super) fn compare(name: &str, head: &Head, lines: &[Numbered]) -> std::result::Result<Result, String> {
    let dialect = Dialect::for_release(&head.kernel).ok_or_else(|| format!("no IPVS dialect for kernel '{}'", head.kernel))?;
    let defaults = DefenceSettings::defaults(dialect);
    let settings = DefenceSettings { drop_packet: head.mode()?, am_droprate: head.am_droprate.unwrap_or(defaults.am_droprate), ..defaults };
    let mut defence = Defence::new(settings, dialect, 0);
    let mut result = Result::new(name);
    for Numbered { number, line, .. } in lines {
        let (Some(syn), Some(passed)) = (line.syn, line.passed) else {
            return Err(format!("line {number}: expected 'syn' and 'passed'"));
        };
        let passes = i64::from(!defence.drops_new());
        exactly(&mut result, *number, &format!("SYN {syn}: passed"), i64::from(passed), passes);
    }
    if result.steps == 0 {
        return Err("there is no SYN in it".to_owned());
    }
    Ok(result)
}
