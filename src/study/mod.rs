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

use crate::engine::many::{Class, Many};
use crate::engine::members::Members;
use crate::engine::pipeline::Run;
use crate::engine::replay::{Fate, Late};
use crate::engine::studied::{Scratch, Studied};
use crate::finding::Verdict;
use crate::finding::judge::{Brief, brief};

/// Flows followed for many policies.
#[derive(Debug)]
pub struct Study<'s, 'p> {
    /// The policies.
    pub many: &'s Many<'p>,
    /// The flows.
    pub run: &'s Run<Studied>,
}

/// Policies that have one verdict on a flow.
#[derive(Debug)]
pub struct Group<'g, 'p> {
    /// Their class, by its place in [`Many::classes`].
    pub class_index: usize,
    /// Their class.
    pub class: &'g Class<'p>,
    /// The packet that came too late and what became of it, of a flow that is cut.
    pub cut: Option<&'g (Late, Fate)>,
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
}

impl<'p> Study<'_, 'p> {
    /// Judges a flow for all policies: once for each group of them that agrees.
    fn for_each_verdict(&self, number: usize, scratch: &mut Scratch, mut tell: impl FnMut(Group<'_, 'p>)) {
        let (flows, end) = (&self.run.flows, self.run.end);
        let flow = flows.flow(number);
        for (class_index, class) in self.many.classes.iter().enumerate() {
            // As nearly all flows are; what follows comes to the same.
            if flows.is_undivided_and_over(number, class_index) {
                let brief = Brief { verdict: Verdict::Survives, felt: None };
                tell(Group { class_index, class, cut: None, members: class.everybody(), brief });
                continue;
            }
            // No verdict turns on the spells.
            for part in flows.outline(number, class_index, class, scratch).iter() {
                for members in class.verdict_groups(part, end) {
                    let Some(first) = members.first() else { continue };
                    let brief = if part.members.first() == Some(first) {
                        brief(class.path(first), flow, &part.run, end)
                    } else {
                        brief(class.path(first), flow, &class.run_of(part, first), end)
                    };
                    tell(Group { class_index, class, cut: part.run.cut.as_deref(), members, brief });
                }
            }
        }
    }
}
