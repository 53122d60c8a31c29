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
    /// The first 0, 64, 128, … members of the order as sets.
    kept: Vec<Members>,
}

impl Ranks {
    /// Sorts members by a timer's length at each.
    pub(super) fn new(of: u32, span: impl Fn(u32) -> Duration) -> Ranks {
        let mut order: Vec<u32> = (0..of).collect();
        order.sort_by_key(|member| (span(*member), *member));
        let spans = order.iter().map(|member| span(*member)).collect();
        let mut kept = Vec::with_capacity(order.len() / STRIDE + 1);
        let mut set = Members::none(of);
        for (rank, member) in order.iter().enumerate() {
            if rank % STRIDE == 0 {
                kept.push(set.clone());
            }
            set.insert(*member);
        }
        Ranks { spans, order, kept }
    }

    /// The members whose timer is so short that a test holds; it must hold for all shorter ones too.
    pub(super) fn shorter(&self, of: u32, test: impl Fn(Duration) -> bool) -> Members {
        let count = self.spans.partition_point(|span| test(*span));
        if count == self.order.len() {
            return Members::All(of);
        }
        let (base, rest) = (count / STRIDE, count % STRIDE);
        let mut set = self.kept.get(base).cloned().unwrap_or_else(|| Members::none(of));
        self.order[count - rest..count].iter().for_each(|member| set.insert(*member));
        set
    }
}
