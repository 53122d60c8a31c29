//! Driving the boxes: a path is built from policies, the segments of each flow are led through it, and what happened is
//! kept in a fixed amount per flow.
//!
//! A flow is the unit of simulation: nothing here is shared between flows, so the result does not depend on the number of
//! threads. What it means for people is the business of `finding`.
//!
//! A capture, made here in memory, through a path of two boxes:
//!
//! ```
//! use flowlapse::capture::{self, Input, write::Writer};
//! use flowlapse::engine::path::{Clock, Path};
//! use flowlapse::engine::pipeline::{self, Job};
//! use flowlapse::finding::Verdict;
//! use flowlapse::net::{Addr, Segment, Seq, Sock, TcpFlags};
//! use flowlapse::report::Report;
//! use flowlapse::time::Instant;
//! use std::net::IpAddr;
//! use std::sync::atomic::AtomicBool;
//!
//! let sock = |addr: &str, port| Ok::<Sock, std::net::AddrParseError>(Sock { addr: Addr::from(addr.parse::<IpAddr>()?), port });
//! let (client, server) = (sock("10.0.0.5", 51_514)?, sock("10.1.2.3", 22)?);
//! let (syn, ack, push) = (TcpFlags::SYN, TcpFlags::ACK, TcpFlags::ACK | TcpFlags::PSH);
//! let mut file = Writer::new(Vec::new(), &["eth0"])?;
//! for (at, from, to, flags, seq, acked, len) in [
//!     (0, client, server, syn, 100, 0, 0),
//!     (0, server, client, syn | ack, 900, 101, 0),
//!     (0, client, server, ack, 101, 901, 0),
//!     (1, client, server, push, 101, 901, 20),
//!     (1, server, client, ack, 901, 121, 0),
//!     // Lunch, of 20 minutes.
//!     (1201, client, server, push, 121, 901, 20),
//! ] {
//!     let seg = Segment { flags: TcpFlags(flags), seq: Seq(seq), ack: Seq(acked), len, window: 64_240, ..Segment::EMPTY };
//!     file.segment(0, Instant::from_secs(1_700_000_000 + at), from, to, &seg, 64)?;
//! }
//! let bytes = file.finish()?;
//!
//! let specs = [flowlapse::policy::parse_short("conntrack:masquerade")?, flowlapse::policy::parse_short("ipvs:nat,tcp=900")?];
//! let path = Path::build(&specs, Clock::Ideal)?;
//! let mut capture = capture::open(&[Input::Bytes { name: "lunch".to_owned(), bytes: bytes.into() }])?;
//! let job = Job { threads: 1, ..Job::default() };
//! let run = pipeline::run(&mut capture, &path, &job, &AtomicBool::new(false));
//! let report = Report::new(&path, &run);
//! let finding = report.finding(0);
//! assert_eq!(finding.verdict, Verdict::Cut);
//! // The second box forgot it: frame 6 came too late.
//! let decisive = finding.decisive.expect("an entry lapsed");
//! assert_eq!((decisive.hop, decisive.victim), (1, Some((6, 0))));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod at_work;
pub mod compile;
pub mod diary;
pub mod dossier;
pub mod gather;
pub mod gathered;
pub mod hop;
pub mod kept;
pub mod lives;
pub mod many;
pub mod members;
mod memory;
pub mod offered;
mod opening;
mod packets;
pub mod path;
pub mod pipeline;
mod probes;
pub mod profile;
mod quick;
mod ranks;
mod rare;
pub mod replay;
pub mod replayed;
mod rest;
pub mod shared;
pub mod silences;
pub mod steps;
pub mod studied;
pub mod timers;
mod told;
mod words;

pub use hop::{Device, Hop, HopState};
pub use path::{Clock, Path, PathError};
