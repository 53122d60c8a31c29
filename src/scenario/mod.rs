//! Stories: who talks to whom through which boxes, what happens on the way, and what should come of it.
//!
//! The types here are the format: JSON is read into them, and the published schema is made from them. [`mod@load`] reads, with
//! line and column in every error; [`compile`] turns a story into what the closed loop runs; [`expect`] compares the outcome
//! with what the story says. Nothing here prints or opens a file.
//!
//! An ssh session through a director, and a keepalive that comes too late for it:
//!
//! ```
//! use flowlapse::scenario::{load, run};
//! use flowlapse::simulate::trace::Silent;
//!
//! let text = r#"{
//!     "title": "lunch", "duration": "3h", "path": ["ipvs:nat"],
//!     "client": {}, "server": {"keepalive": {}},
//!     "script": [{"at": "1s", "who": "client", "send": 48}],
//!     "expect": {"forgotten": [{"box": 1, "state": "ESTABLISHED", "noticed": true}]}
//! }"#;
//! let scenario = load(text, "lunch.json", &[])?;
//! let (outcome, _) = run::single(&scenario.compile()?, Silent);
//! assert_eq!(outcome.forgotten[0].timeout.as_secs(), 900);
//!
//! // The same with a keepalive that is short enough.
//! let scenario = load(text, "lunch.json", &["server.keepalive.time=600".to_owned()])?;
//! let (outcome, _) = run::single(&scenario.compile()?, Silent);
//! assert!(outcome.forgotten.is_empty());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod compile;
pub mod expect;
pub mod flood;
pub mod host;
pub mod interleave;
pub mod load;
pub mod offered;
pub mod population;
pub mod run;
pub mod schema;
pub mod span;

pub use crate::policy::locate;
pub use load::{LoadError, load, load_with};
pub use span::{Share, Span};

use crate::policy::BoxSpec;
use expect::Expect;
use host::HostSpec;
use population::Population;
use schemars::JsonSchema;
use serde::Deserialize;

/// A scenario of flowlapse.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Where the schema of this file is, for editors.
    #[serde(rename = "$schema", default)]
    pub schema: Option<String>,
    /// What it is about, in a line.
    pub title: String,
    /// What it is about, in more than a line.
    #[serde(default)]
    pub about: Option<String>,
    /// Where the story comes from: issues, blog posts, manuals.
    #[serde(default)]
    pub sources: Vec<String>,
    /// What everything random is drawn from.
    #[serde(default = "one")]
    pub seed: u64,
    /// How long the run lasts.
    pub duration: Span,
    /// The boxes between client and server, from the client on: short forms such as "ipvs:nat,tcp=900" or "aws-nlb", or objects
    /// such as {"conntrack": {"established": 3600}}.
    #[serde(default)]
    #[schemars(schema_with = "schema::path")]
    pub path: Vec<BoxSpec>,
    /// The links between client, boxes and server.
    #[serde(default)]
    pub links: Links,
    /// Timers as late as a kernel's timer wheel lets them fire; without it every timer is exact.
    #[serde(default)]
    pub wheel: Option<Wheel>,
    /// The client's host and application.
    #[serde(default)]
    pub client: HostSpec,
    /// The server's host and application.
    #[serde(default)]
    pub server: HostSpec,
    /// What the applications do, and when.
    #[serde(default)]
    pub script: Vec<ActionSpec>,
    /// What happens to the path and the hosts, and when.
    #[serde(default)]
    pub events: Vec<EventSpec>,
    /// Synchronisation of the directors' connections with a backup.
    #[serde(default)]
    pub sync: Option<SyncSpec>,
    /// Many flows, instead of the one of the script.
    #[serde(default)]
    pub population: Option<Population>,
    /// What should come of it.
    #[serde(default)]
    pub expect: Option<Expect>,
    /// The same story with something changed: a fix, another kernel, another box.
    #[serde(default)]
    pub variants: Vec<Variant>,
}

const fn one() -> u64 {
    1
}

/// The links between client, boxes and server.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Links {
    /// A round trip between client and server, shared evenly by the links; 1 ms without it.
    #[serde(default)]
    pub round_trip: Option<Span>,
    /// Up to how much longer a packet may take on a link.
    #[serde(default)]
    pub jitter: Span,
    /// The share of packets that each link loses.
    #[serde(default)]
    pub loss: Share,
    /// The share of packets that each link delays so that others overtake them.
    #[serde(default)]
    pub reorder: Share,
    /// One link after the other from the client on, in place of the even ones: one more than there are boxes.
    #[serde(default)]
    pub each: Vec<LinkSpec>,
}

/// One link.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LinkSpec {
    /// How long a packet takes, one way.
    pub delay: Span,
    /// Up to how much longer it may take.
    #[serde(default)]
    pub jitter: Span,
    /// The share of packets that are lost.
    #[serde(default)]
    pub loss: Share,
    /// The share of packets that are delayed so that others overtake them.
    #[serde(default)]
    pub reorder: Share,
}

/// The timer wheel of kernels since 4.8.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Wheel {
    /// Ticks a second (CONFIG_HZ): 100, 250, 300 or 1000.
    #[schemars(range(min = 1, max = 10_000))]
    pub hz: u32,
    /// The jiffies counter of the boxes at the start; drawn from the seed without it.
    #[serde(default)]
    pub jiffies: Option<u64>,
    /// The same of the client's host.
    #[serde(default)]
    pub client_jiffies: Option<u64>,
    /// The same of the server's host.
    #[serde(default)]
    pub server_jiffies: Option<u64>,
}

/// Which side.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Who {
    /// The client.
    Client,
    /// The server.
    Server,
}

/// Something that an application does: exactly one of the things below "who".
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ActionSpec {
    /// When; the client dials at 0.
    pub at: Span,
    /// Again and again, so far apart.
    #[serde(default)]
    pub every: Option<Span>,
    /// Until when, with "every"; to the end of the run without it.
    #[serde(default)]
    pub until: Option<Span>,
    /// Who does it.
    pub who: Who,
    /// It writes so many bytes.
    #[serde(default)]
    pub send: Option<u32>,
    /// It writes a request that the peer answers.
    #[serde(default)]
    pub request: Option<RequestSpec>,
    /// It closes its sending direction and goes on reading (shutdown).
    #[serde(default)]
    pub shutdown: bool,
    /// It closes the socket.
    #[serde(default)]
    pub close: bool,
    /// It resets the connection.
    #[serde(default)]
    pub abort: bool,
    /// It stops reading: the window fills.
    #[serde(default)]
    pub pause: bool,
    /// It reads again.
    #[serde(default)]
    pub resume: bool,
}

/// A request and its answer.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RequestSpec {
    /// Bytes of the request.
    pub len: u32,
    /// Bytes of the answer.
    pub reply: u32,
    /// How long the peer works on it.
    #[serde(default)]
    pub after: Span,
}

/// Something that happens to the path or the hosts: exactly one of the things below "at".
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EventSpec {
    /// When.
    pub at: Span,
    /// A link carries nothing any more; the first one is the client's, 1.
    #[serde(default)]
    pub link_down: Option<usize>,
    /// It works again.
    #[serde(default)]
    pub link_up: Option<usize>,
    /// A box loses its state, by a reboot or a flush; the first box is 1.
    #[serde(default)]
    pub forget: Option<usize>,
    /// The backup of a director takes over, with what was synchronised.
    #[serde(default)]
    pub fail_over: Option<usize>,
    /// Something happens to the server.
    #[serde(default)]
    pub server: Option<ServerEvent>,
    /// The client's host dies.
    #[serde(default)]
    pub client_dies: bool,
}

/// What can happen to a server.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ServerEvent {
    /// Its host dies: silence.
    Dies,
    /// Its host comes back without its connections: its stack resets what it does not know.
    Reboots,
    /// Its director sets its weight to 0.
    Quiesced,
    /// Its director removes it from the service.
    Removed,
    /// Its director takes it back.
    Available,
}

/// Synchronisation of connections between directors (ipvsadm --start-daemon).
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SyncSpec {
    /// sync_threshold, first number.
    #[serde(default = "three")]
    pub threshold: u32,
    /// sync_threshold, second number; 0: not by packets.
    #[serde(default = "fifty")]
    pub period: u32,
    /// sync_refresh_period.
    #[serde(default)]
    pub refresh_period: Span,
    /// sync_retries.
    #[serde(default)]
    pub retries: u8,
}

const fn three() -> u32 {
    3
}

const fn fifty() -> u32 {
    50
}

/// The same story with something changed.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Variant {
    /// Its name.
    pub name: String,
    /// What it shows.
    #[serde(default)]
    pub about: Option<String>,
    /// What is changed, as a JSON merge patch (RFC 7386) of the scenario: objects are merged, everything else is replaced,
    /// null takes a key away.
    #[schemars(schema_with = "schema::patch")]
    pub set: serde_json::Value,
    /// What should come of it, in place of the scenario's expectation.
    #[serde(default)]
    pub expect: Option<Expect>,
}
