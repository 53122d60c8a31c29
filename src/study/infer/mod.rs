//! The inverse problem: which idle timers must a box on the path have had, for the flows of a capture to end as they did?
//!
//! [`listen`] follows flows and notes packets that were carried or not after a silence ([`evidence`]); [`pool`] puts together what
//! they say; [`boxes`] compares that with the boxes that are known. Nothing here reads files, and nothing here prints.

pub mod boxes;
pub mod evidence;
pub mod late;
pub mod listen;
pub mod pool;

use crate::engine::pipeline::{Followed, Run};
use listen::Ear;
use pool::{Pool, Witness};

/// Everything that was inferred from captures.
#[derive(Debug)]
pub struct Inference {
    /// The flows, input by input, in the order of their first packets.
    pub witnesses: Vec<Witness>,
    /// What they say together; several where servers contradict each other.
    pub pools: Vec<Pool>,
    /// Flows that fell silent while others failed too, or whose peer was reported gone.
    pub aside: usize,
}

impl Inference {
    /// Puts together what was heard in each input, and gives back what was read of it.
    pub fn of(runs: Vec<Followed<Ear>>) -> (Inference, Vec<Run<()>>) {
        let mut witnesses = Vec::new();
        let mut errors = Vec::new();
        let mut inputs = Vec::new();
        for (file, run) in runs.into_iter().enumerate() {
            inputs.push(run.without_flows());
            for judged in &run.flows {
                let flow = &judged.flow;
                witnesses.push(Witness {
                    file: u16::try_from(file).unwrap_or(u16::MAX),
                    stream: flow.stream,
                    proto: flow.proto(),
                    socks: run.socks(flow),
                    span: (flow.first, flow.last),
                    told: judged.run.told.clone(),
                });
            }
            errors.push(run.errors);
        }
        let aside = pool::weigh(&mut witnesses, &errors);
        let pools = pool::pools(&witnesses);
        (Inference { witnesses, pools, aside }, inputs)
    }
}
