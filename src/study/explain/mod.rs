//! One flow as a story: its phases, what each box's timer did, and what the capture shows after the packet that came too late,
//! beside what was predicted for it. Puts facts in order; the words are `report`'s.

pub mod after;
pub mod birth;
pub mod phases;
pub mod timers;

use crate::engine::diary::Diary;
use crate::engine::dossier::{Dossier, Sighting};
use crate::engine::path::Path;
use crate::finding::{Finding, Verdict};
use crate::time::Instant;
use after::After;
use birth::{Hops, Vantage};
use phases::Phase;
use timers::TimerUse;

/// Everything that is told of one flow.
#[derive(Clone, Debug)]
pub struct Account {
    /// What a replay says of it.
    pub finding: Finding,
    /// What happened up to the packet that came too late, or to the end.
    pub phases: Vec<Phase>,
    /// What each box's timers had to bear.
    pub timers: Vec<TimerUse>,
    /// What the capture shows from the packet that came too late on.
    pub after: Option<After>,
    /// From how far the packets of client and server came.
    pub hops: [Hops; 2],
    /// At which end the capture was taken.
    pub vantage: Vantage,
    /// When the capture ends.
    pub capture_end: Instant,
    /// When it begins: what times are counted from.
    pub capture_begin: Instant,
    /// Packets that were too many to be written down.
    pub left_out: u64,
}

impl Account {
    /// Puts together what is known of one flow. The span is that of the whole capture.
    pub fn new(path: &Path, finding: Finding, dossier: &Dossier, diary: &Diary, (begin, end): (Instant, Instant)) -> Account {
        let all = &dossier.sightings;
        let victim = finding.decisive.as_ref().and_then(|d| d.victim);
        let turn = victim.and_then(|(frame, file)| all.iter().position(|s| (s.seg.frame, s.seg.file) == (frame, file)));
        let before = &all[..turn.unwrap_or(all.len())];
        let hops = birth::usual(if before.is_empty() { all } else { before });
        let vantage = Vantage::of(&hops);
        let after = turn.map(|turn| After::new(&finding, turn, &hops, vantage, dossier, end));
        // What came through all the same does not end the story.
        let told: &[Sighting] = if matches!(finding.verdict, Verdict::Cut | Verdict::Marginal) { before } else { all };
        Account {
            phases: phases::of(&finding, told, turn.filter(|turn| *turn == told.len()).map(|turn| &all[turn])),
            timers: timers::of(path, &finding, diary, all),
            after,
            hops,
            vantage,
            capture_begin: begin,
            capture_end: end,
            left_out: dossier.left_out + diary.left_out,
            finding,
        }
    }
}
