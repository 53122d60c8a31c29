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
    way: Way,
}

/// How the order runs.
#[derive(Debug)]
enum Way {
    /// As the members do: a beginning of it is an unbroken set.
    Up,
    /// The other way round: so it is then.
    Down,
    /// Otherwise: the first 0, 64, 128, … members of it as sets.
    Across(Vec<Members>),
}

impl Ranks {
    /// Sorts members by a timer's length at each.
    pub(super) fn new(of: u32, span: impl Fn(u32) -> Duration) -> Ranks {
        let mut order: Vec<u32> = (0..of).collect();
        order.sort_by_key(|member| (span(*member), *member));
        let spans = order.iter().map(|member| span(*member)).collect();
        let way = if order.is_sorted() {
            Way::Up
        } else if order.is_sorted_by(|one, other| one > other) {
            Way::Down
        } else {
            Way::Across(beginnings(&order))
        };
        Ranks { spans, order, way }
    }

    /// The members whose timer is so short that a test holds; it must hold for all shorter ones too.
    pub(super) fn shorter(&self, of: u32, test: impl Fn(Duration) -> bool) -> Members {
        let count = self.spans.partition_point(|span| test(*span));
        let (ranked, so_many) = (self.order.len(), count as u32);
        let kept = match &self.way {
            _ if count == ranked => return Members::all(of),
            Way::Up => return Members::between(0, so_many, of),
            Way::Down => return Members::between(of - so_many, of, of),
            Way::Across(kept) => kept,
        };
        let (base, rest) = (count / STRIDE, count % STRIDE);
        let mut set = kept.get(base).cloned().unwrap_or_else(|| Members::blank(of));
        self.order[count - rest..count].iter().for_each(|member| set.insert(*member));
        set
    }
}

/// The first 0, 64, 128, … members of an order as sets.
fn beginnings(order: &[u32]) -> Vec<Members> {
    let mut kept = Vec::with_capacity(order.len() / STRIDE + 1);
    let mut set = Members::blank(order.len() as u32);
    for (rank, member) in order.iter().enumerate() {
        if rank % STRIDE == 0 {
            kept.push(set.clone());
        }
        set.insert(*member);
    }
    kept
}
