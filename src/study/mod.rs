//! Questions over many policies: what each would cut, what it would keep in its tables, and what the smallest good one is.
//!
//! A study is asked of flows that were followed once for all its policies ([`crate::engine::many`]). Nothing here reads packets,
//! files or the clock, and nothing here prints.

pub mod audit;
pub mod capacity;
pub mod closed;
pub mod diff;
pub mod explain;
pub mod infer;
pub mod ledger;
pub mod needs;
pub mod pairing;
pub mod shrink;
pub mod sweep;
pub mod tally;
pub mod tune;

use crate::engine::many::{Class, Many, Part};
use crate::engine::members::Members;
use crate::engine::pipeline::Run;
use crate::engine::studied::{Scratch, Studied};
use crate::finding::Finding;
use crate::finding::judge::{Brief, brief, judge};
use crate::flow::Flow;
use crate::net::Sock;
use crate::time::Instant;
use std::ops::Range;

/// Flows followed for many policies.
#[derive(Debug)]
pub struct Study<'s, 'p> {
    /// The policies.
    pub many: &'s Many<'p>,
    /// The flows.
    pub run: &'s Run<Studied>,
}

/// So many flows are touched together before they are looked at.
const GROUP: usize = 16;

/// Policies that have one verdict on a flow.
#[derive(Debug)]
pub struct Group<'g, 'p> {
    /// Their class, by its place in [`Many::classes`].
    pub class_index: usize,
    /// Their class.
    pub class: &'g Class<'p>,
    /// The run that they share.
    pub part: &'g Part,
    /// Who they are, by place in the class.
    pub members: Members,
    /// The verdict.
    pub brief: Brief,
}

impl Group<'_, '_> {
    /// The policies, by their place among all.
    pub fn policies(&self) -> impl Iterator<Item = usize> + '_ {
        self.members.iter().map(|member| self.class.members[member as usize])
    }

    /// Everything that is to be said about the flow, for one of the policies.
    pub fn finding(&self, socks: [Sock; 2], flow: &Flow, member: u32, capture_end: Instant) -> Finding {
        judge(self.class.path(member), socks, flow, &self.class.run_of(self.part, member), capture_end)
    }
}

impl<'p> Study<'_, 'p> {
    /// Judges a flow for all policies: once for each group of them that agrees.
    fn for_each_verdict(&self, number: usize, scratch: &mut Scratch, mut tell: impl FnMut(Group<'_, 'p>)) {
        let (flows, end) = (&self.run.flows, self.run.end);
        let flow = flows.flow(number);
        for (class_index, class) in self.many.classes.iter().enumerate() {
            // No verdict turns on the spells.
            for part in flows.outline(number, class_index, class, scratch).iter() {
                for members in class.verdict_groups(part, end) {
                    let Some(first) = members.first() else { continue };
                    let brief = if part.members.first() == Some(first) {
                        brief(class.path(first), flow, &part.run, end)
                    } else {
                        brief(class.path(first), flow, &class.run_of(part, first), end)
                    };
                    tell(Group { class_index, class, part, members, brief });
                }
            }
        }
    }

    /// The flows of a range, with what is known of them brought from memory a few at a time.
    fn touched(&self, flows: Range<usize>) -> impl Iterator<Item = usize> + '_ {
        let end = flows.end;
        flows.inspect(move |number| {
            if number.is_multiple_of(GROUP) {
                std::hint::black_box((*number..end.min(number + GROUP)).fold(0, |sum, next| sum ^ self.run.flows.touch(next)));
            }
        })
    }
}
