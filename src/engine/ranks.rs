//! The policies of a class in the order of one timer's length: who has found an entry ended is then a beginning of that order.

use super::members::Members;
use crate::time::Duration;

/// How many members lie between two sets that are kept.
const STRIDE: usize = 64;

/// The members by rising length of one timer.
#[derive(Debug)]
pub(super) struct Ranks {
    spans: Vec<Duration>,
    order: Vec<u32>,
    /// Whether the order is that of the members, or the other way round: a beginning of it is then an unbroken set.
    is_straight: Option<bool>,
    /// The first 0, 64, 128, … members of the order as sets.
    kept: Vec<Members>,
}

impl Ranks {
    /// Sorts members by a timer's length at each.
    pub(super) fn new(of: u32, span: impl Fn(u32) -> Duration) -> Ranks {
        let mut order: Vec<u32> = (0..of).collect();
        order.sort_by_key(|member| (span(*member), *member));
        let spans = order.iter().map(|member| span(*member)).collect();
        let is_straight = if order.is_sorted() { Some(true) } else { order.is_sorted_by(|one, other| one > other).then_some(false) };
        if is_straight.is_some() {
            return Ranks { spans, order, is_straight, kept: Vec::new() };
        }
        let mut kept = Vec::with_capacity(order.len() / STRIDE + 1);
        let mut set = Members::blank(of);
        for (rank, member) in order.iter().enumerate() {
            if rank % STRIDE == 0 {
                kept.push(set.clone());
            }
            set.insert(*member);
        }
        Ranks { spans, order, is_straight, kept }
    }

    /// The members whose timer is so short that a test holds; it must hold for all shorter ones too.
    pub(super) fn shorter(&self, of: u32, test: impl Fn(Duration) -> bool) -> Members {
        let count = self.spans.partition_point(|span| test(*span));
        if count == self.order.len() {
            return Members::All(of);
        }
        match self.is_straight {
            Some(true) => return Members::between(0, count as u32, of),
            Some(false) => return Members::between(of - count as u32, of, of),
            None => {}
        }
        let (base, rest) = (count / STRIDE, count % STRIDE);
        let mut set = self.kept.get(base).cloned().unwrap_or_else(|| Members::blank(of));
        self.order[count - rest..count].iter().for_each(|member| set.insert(*member));
        set
    }
}
