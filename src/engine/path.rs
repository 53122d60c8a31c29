//! A path: the boxes between client and server, in order, with the addresses that each of them knows.

use super::compile;
use super::hop::{Device, Hop};
use crate::kernel::wheel::{Hz, Phase};
use crate::model::conntrack::router::{Nat, Place, Router};
use crate::model::conntrack::track::Conntrack;
use crate::model::director::Director;
use crate::model::idle::IdleBox;
use crate::model::ipvs::Method;
use crate::model::lateness::Lateness;
use crate::model::{End, Host, Tuple};
use crate::policy::{BoxPolicy, BoxSpec};

/// How exact timers are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Clock {
    /// Every timer ends exactly on time.
    Ideal,
    /// Timers end as a kernel's do; the phase of its counter is known or not.
    Wheel {
        /// Ticks a second.
        hz: Hz,
        /// When the counter had which value.
        phase: Option<Phase>,
    },
}

impl Clock {
    /// How late timers in the wheel may fire.
    pub fn lateness(self) -> Lateness {
        match self {
            Clock::Ideal => Lateness::Exact,
            Clock::Wheel { phase: Some(phase), .. } => Lateness::Phase(phase),
            Clock::Wheel { hz, phase: None } => Lateness::Wheel(hz),
        }
    }

    /// The ticks a second, for the band that is shown beside an ideal verdict.
    pub fn hz(self) -> Hz {
        match self {
            Clock::Ideal => compile::DEFAULT_HZ,
            Clock::Wheel { hz, .. } => hz,
        }
    }
}

/// A path that cannot be built.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PathError {
    /// More boxes than there are numbers for their addresses.
    #[error("{0} boxes in one path; at most {max} can be simulated", max = Path::HOPS_MAX)]
    TooMany(usize),
    /// No box at all.
    #[error("no box was given; say which boxes the flows cross, as in --box ipvs:nat,tcp=900 or --box conntrack")]
    Empty,
    /// A setting of one box.
    #[error("box '{label}': {what}")]
    Setting {
        /// How the user wrote the box.
        label: String,
        /// What is wrong with it.
        what: String,
    },
}

/// The boxes between client and server.
#[derive(Clone, Debug)]
pub struct Path {
    /// The boxes, from the client to the server.
    pub hops: Vec<Hop>,
    /// How exact their timers are.
    pub clock: Clock,
    /// Who the client is to the server: itself, or the address that the last NAT on the way put in.
    pub client_seen: Host,
    /// Who the server is to itself: the address that the last NAT on the way put in.
    pub server_seen: Host,
}

impl Path {
    /// Host numbers fit into the bit set of [`Place::client_side`].
    pub const HOPS_MAX: usize = 16;

    /// Builds a path.
    ///
    /// # Errors
    /// No boxes, too many, or a setting that makes no sense.
    pub fn build(specs: &[BoxSpec], clock: Clock) -> Result<Path, PathError> {
        if specs.is_empty() {
            return Err(PathError::Empty);
        }
        if specs.len() > Self::HOPS_MAX {
            return Err(PathError::TooMany(specs.len()));
        }
        let mut path = Path { hops: Vec::with_capacity(specs.len()), clock, client_seen: Host::CLIENT, server_seen: Host::SERVICE };
        let mut client_side = 1_u64;
        if let Some(file) = specs.iter().find(|spec| spec.is_file) {
            return Err(PathError::Setting { label: file.label.clone(), what: "the file was not read".to_owned() });
        }
        for (index, spec) in specs.iter().enumerate() {
            let number = |offset: usize| Host((2 + 3 * index + offset) as u8);
            let (near, far, real) = (number(0), number(1), number(2));
            let place = Place { near, far, service: path.server_seen, real, service_is_local: true, client_side };
            let device = device(&spec.policy, place, clock).map_err(|what| PathError::Setting { label: spec.label.clone(), what })?;
            match &device {
                Device::Router(r) if r.nat == Nat::Masquerade => path.client_seen = far,
                Device::Router(r) if r.nat == Nat::Dnat => path.server_seen = real,
                Device::Director(d) if d.ipvs.method == Method::Masq => path.server_seen = real,
                _ => {}
            }
            client_side |= 1 << near.0 | 1 << far.0;
            path.hops.push(Hop { label: spec.label.clone(), policy: spec.policy.clone(), origins: spec.origins.clone(), device });
        }
        Ok(path)
    }

    /// No box at all: a link from the client to the server.
    pub const fn direct(clock: Clock) -> Path {
        Path { hops: Vec::new(), clock, client_seen: Host::CLIENT, server_seen: Host::SERVICE }
    }

    /// A packet as the client sends it.
    pub fn from_client(client_port: u16, server_port: u16) -> Tuple {
        Tuple { src: End { host: Host::CLIENT, port: client_port }, dst: End { host: Host::SERVICE, port: server_port } }
    }

    /// A packet as the server sends it, once the connection was set up through every translation on the way.
    pub fn from_server(&self, client_port: u16, server_port: u16) -> Tuple {
        Tuple { src: End { host: self.server_seen, port: server_port }, dst: End { host: self.client_seen, port: client_port } }
    }
}

fn device(policy: &BoxPolicy, place: Place, clock: Clock) -> Result<Device, String> {
    let wheel = clock.lateness();
    match policy {
        BoxPolicy::Conntrack(p) => {
            let settings = compile::conntrack_settings(p)?;
            let lateness = compile::conntrack_lateness(settings.dialect, wheel);
            let nat = compile::nat(p);
            // Only a box that translates the service's address holds it itself.
            let place = Place { service_is_local: nat == Nat::Dnat, ..place };
            let input_accepts = p.input == crate::policy::conntrack::Input::Accept;
            Ok(Device::Router(Router { conntrack: Conntrack { settings, lateness }, nat, rules: compile::rules(p), input_accepts, place }))
        }
        BoxPolicy::Ipvs(p) => {
            let ipvs = compile::ipvs_settings(p)?;
            let conntrack = if ipvs.conntrack {
                let beside = crate::policy::ConntrackPolicy { dialect: p.dialect.clone(), ..Default::default() };
                let settings = compile::conntrack_settings(&beside)?;
                Some(Conntrack { settings, lateness: compile::conntrack_lateness(settings.dialect, wheel) })
            } else {
                None
            };
            Ok(Device::Director(Director { ipvs, lateness: wheel, conntrack, vip_local: p.vip_local(), real_port: None, place }))
        }
        BoxPolicy::Idle(p) => Ok(Device::Idle(IdleBox::new(p))),
    }
}
