//! Made-up data for charts: the usual, nothing, and what should break a layout. Nothing here is random.

use flowlapse::report::chart::{
    Axis, Cells, Chart, Cut, Entries, EntriesLine, Fuse, GapBin, Gaps, LaneBox, LanePacket, Lanes, Map, Mark, Occupancy, PacketKind,
    Scaled, Step, Survival,
};

/// Words of 80 characters with everything that XML minds.
pub(crate) const NASTY: &str = "a very <long> & \"quoted\" 'label' \u{0}\u{7}\u{ffff}\u{202e} that goes on for much longer than a line";

fn mark(secs: f64, label: &str, strong: bool) -> Mark {
    Mark { secs, label: label.to_owned(), strong }
}

fn marks() -> Vec<Mark> {
    vec![
        mark(900.0, "ipvs:nat,tcp=900: 15m", true),
        mark(350.0, "aws-nlb: 5m50s", true),
        mark(350.0, "AWS NLB 350 s", false),
        mark(240.0, "Azure LB 240 s", false),
        mark(900.0, "IPVS 900 s", false),
        mark(3600.0, "firewalls 1 h", false),
        mark(86_400.0, "kube-proxy 1 d", false),
        mark(432_000.0, "conntrack 5 d", false),
    ]
}

fn crowd(count: u32) -> Vec<Mark> {
    (0..count)
        .map(|n| mark(10.0 * 1.04_f64.powi(n as i32), &format!("{NASTY} number {n}"), n % 10 == 0))
        .chain((0..5).map(|n| mark(432_000.0, &format!("box {n}: 5d"), true)))
        .collect()
}

pub(crate) fn survival() -> Vec<(&'static str, Survival)> {
    let step = |secs: f64, kept: f64| Step { secs, kept };
    let usual = (0..60).map(|n| step(0.2 * 1.25_f64.powi(n), 100.0 / (1.0 + (-0.15 * f64::from(n - 30)).exp()))).collect();
    let title = "1204 flows, 37 cut: how many an idle timer of this length would keep".to_owned();
    let one = vec![step(42.0, 100.0)];
    let many = (0..100_000).map(|n| step(0.001 * f64::from(n + 1), f64::from(n + 1) / 1000.0)).collect();
    vec![
        (
            "usual",
            Survival {
                title: title.clone(),
                subtitle: "a day at the edge".to_owned(),
                steps: usual,
                marks: marks(),
                sampled: true,
                across: "conntrack.established (logarithmic)".to_owned(),
            },
        ),
        ("empty", Survival::default()),
        ("one", Survival { title: title.clone(), steps: one, marks: vec![mark(5.0, "conntrack: 5s", true)], ..Survival::default() }),
        (
            "extreme",
            Survival {
                title: format!("{NASTY} {NASTY} {NASTY}"),
                subtitle: NASTY.repeat(4),
                steps: many,
                marks: crowd(200),
                ..Survival::default()
            },
        ),
    ]
}

pub(crate) fn gaps() -> Vec<(&'static str, Gaps)> {
    let bins = |count: i32, most: f64, unknown: f64| -> Vec<GapBin> {
        (0..count)
            .map(|n| {
                let height = most * (-f64::from((n - count / 3).pow(2)) / f64::from(count * count) * 30.0).exp();
                let (from_secs, to_secs) = (0.1 * 1.5_f64.powi(n), 0.1 * 1.5_f64.powi(n + 1));
                GapBin { from_secs, to_secs, proven: (height * (1.0 - unknown)) as u64, unknown: (height * unknown) as u64 }
            })
            .collect()
    };
    let title = "Idle gaps of 1204 flows against the timers".to_owned();
    let one = vec![GapBin { from_secs: 10.0, to_secs: 20.0, proven: 1, unknown: 0 }];
    let huge = bins(40, 4e9, 0.4);
    vec![
        (
            "usual",
            Gaps { title: title.clone(), subtitle: "those of open connections".to_owned(), bins: bins(36, 40.0, 0.3), marks: marks() },
        ),
        ("root", Gaps { title: title.clone(), bins: bins(36, 2000.0, 0.2), marks: marks(), ..Gaps::default() }),
        ("empty", Gaps::default()),
        ("one", Gaps { title, bins: one, ..Gaps::default() }),
        ("extreme", Gaps { title: NASTY.to_owned(), subtitle: NASTY.repeat(4), bins: huge, marks: crowd(200) }),
    ]
}

pub(crate) fn occupancy() -> Vec<(&'static str, Occupancy)> {
    let names = ["SYN_SENT", "SYN_RECV", "ESTABLISHED", "FIN_WAIT", "CLOSE_WAIT", "LAST_ACK", "TIME_WAIT", "CLOSE", "UNREPLIED"];
    let fill = |states: usize, count: usize, span: f64, most: f64| {
        let times: Vec<f64> = (0..count).map(|n| span * n as f64 / (count - 1) as f64).collect();
        let wave = |state: usize, at: f64| ((at / span * 6.0 + state as f64).sin() + 1.1) / (1.0 + state as f64 * 0.6);
        let counts = (0..states).map(|s| times.iter().map(|at| (most * wave(s, *at) * (at / span).sqrt()) as u64).collect()).collect();
        (names[..states].iter().map(|n| (*n).to_owned()).collect::<Vec<_>>(), times, counts)
    };
    let (states, times, counts) = fill(9, 400, 172_800.0, 40_000.0);
    let total = times.iter().map(|at| at / 172_800.0 * 190_000.0).collect();
    let usual = Occupancy {
        title: "conntrack: entries by state over two days".to_owned(),
        subtitle: "nf_conntrack_max 262144".to_owned(),
        states,
        times,
        counts,
        limit: Some(262_144),
        limit_label: "nf_conntrack_max".to_owned(),
        events: vec![
            (40_000.0, "half of the flows begin".to_owned()),
            (43_000.0, "early drop".to_owned()),
            (170_000.0, "the end is near".to_owned()),
        ],
        total_scaled: Some(Scaled { label: "all flows (scaled)".to_owned(), values: total }),
    };
    let (states, times, counts) = fill(1, 13, 60.0, 300.0);
    let minute = Occupancy {
        title: "one state, a minute".to_owned(),
        states,
        times,
        counts,
        limit: Some(1_000_000),
        limit_label: "limit".to_owned(),
        ..Occupancy::default()
    };
    let (states, times, counts) = fill(4, 30_000, 3600.0, 12.0);
    let dense = Occupancy { title: "thirty thousand samples".to_owned(), states, times, counts, limit: Some(30), ..Occupancy::default() };
    let one = Occupancy { states: vec!["NONE".to_owned()], times: vec![0.0], counts: vec![vec![7]], ..Occupancy::default() };
    let (_, times, counts) = fill(9, 60, 432_000.0, 1e12);
    let extreme = Occupancy {
        title: NASTY.to_owned(),
        subtitle: NASTY.repeat(4),
        states: (0..9).map(|n| format!("{n} {NASTY}")).collect(),
        times,
        counts,
        limit: Some(3_000_000_000_000),
        limit_label: NASTY.to_owned(),
        events: (0..200).map(|n| (f64::from(n) * 2160.0, format!("{n} {NASTY}"))).collect(),
        total_scaled: Some(Scaled { label: NASTY.to_owned(), values: vec![f64::NAN, 1e12, f64::INFINITY, 2e12] }),
    };
    vec![("usual", usual), ("minute", minute), ("dense", dense), ("one", one), ("empty", Occupancy::default()), ("extreme", extreme)]
}

pub(crate) fn entries() -> Vec<(&'static str, Entries)> {
    let times: Vec<f64> = (0..100).map(|n| f64::from(n) * 60.0).collect();
    let line = |secs: u64| EntriesLine {
        label: format!("established {secs}"),
        counts: (0..100).map(|n| (n * 7 % 31 + 20) * secs / 300).collect(),
    };
    let usual =
        Entries { title: "entries of conntrack over time".to_owned(), times: times.clone(), lines: [300, 900, 3600].map(line).to_vec() };
    let many = Entries { lines: (1..200).map(line).collect(), ..usual.clone() };
    let nasty = EntriesLine { label: NASTY.to_owned(), counts: vec![0; 100] };
    let extreme = Entries { title: NASTY.repeat(3), times, lines: vec![nasty] };
    vec![("usual", usual), ("many", many), ("extreme", extreme), ("empty", Entries::default())]
}

pub(crate) fn maps() -> Vec<(&'static str, Map)> {
    let axis = |name: &str, count: i32| Axis {
        name: name.to_owned(),
        unit: "s".to_owned(),
        values: (0..count).map(|n| (60.0 * 1.15_f64.powi(n)).round()).collect(),
    };
    let side = 41;
    let words = (0..side * side)
        .map(|cell| match (cell % side, cell / side) {
            (across, up) if across <= up => 0,
            (across, up) if across > up + 14 => 1,
            (across, up) if (across + up) % 9 == 0 => 3,
            _ => 2,
        })
        .collect();
    let legend = [
        "the entry lives; client connected, server connected",
        "lost; client ETIMEDOUT, server gave up (keepalive)",
        "lost; client connected, server ECONNRESET",
        NASTY,
    ];
    let legend: Vec<String> = legend.iter().map(|l| (*l).to_owned()).collect();
    let usual = Map {
        title: "ssh through IPVS: keepalive against timeout".to_owned(),
        subtitle: String::new(),
        across: axis("server.keepalive.time", 41),
        up: axis("path.0.ipvs.timeout_tcp", 41),
        cells: Cells::Words { cells: words, legend },
    };
    let shares = |columns: i32, rows: i32| {
        let share = |cell: i32| 100.0 / (1.0 + (0.4 * f64::from(cell / columns - cell % columns)).exp());
        Cells::Shares { cells: (0..columns * rows).map(share).collect(), label: "flows cut".to_owned() }
    };
    let title = "Share of flows cut".to_owned();
    let small = Map {
        title: title.clone(),
        subtitle: "1204 flows a cell".to_owned(),
        across: axis("keepalive", 12),
        up: axis("timeout", 9),
        cells: shares(12, 9),
    };
    let large = Map { title, subtitle: String::new(), across: axis("keepalive", 60), up: axis("timeout", 60), cells: shares(60, 60) };
    let nothing = Map {
        title: String::new(),
        subtitle: String::new(),
        across: Axis::default(),
        up: Axis::default(),
        cells: Cells::Words { cells: vec![], legend: vec![] },
    };
    let one = Map {
        title: NASTY.to_owned(),
        subtitle: NASTY.repeat(3),
        across: Axis { name: NASTY.to_owned(), unit: NASTY.to_owned(), values: vec![1e15] },
        up: Axis { name: NASTY.to_owned(), unit: String::new(), values: vec![0.1] },
        cells: Cells::Shares { cells: vec![f64::NAN], label: NASTY.to_owned() },
    };
    vec![("words", usual), ("shares", small), ("fine", large), ("empty", nothing), ("extreme", one)]
}

fn packet(at: f64, from_client: bool, kind: PacketKind) -> LanePacket {
    LanePacket { at, from_client, kind, passed: true, from_box: None, kept_by: None }
}

fn fuse(from: f64, to: f64, length: f64, state: &str) -> Fuse {
    Fuse { from, shown_from: from, to, length, state: state.to_owned(), burnt: to >= from + length }
}

/// A handshake, some work, two hours of silence, and probes that a box no longer lets through.
fn silence() -> Lanes {
    use PacketKind::{Ack, Data, Probe, Rst, Syn};
    let mut packets = vec![
        packet(0.0, true, Syn),
        packet(0.02, false, Syn),
        packet(0.04, true, Ack),
        packet(0.05, true, Data),
        packet(0.07, false, Ack),
        packet(0.3, false, Data),
        packet(0.32, true, Ack),
    ];
    packets.extend((0..9).map(|n| LanePacket { passed: false, ..packet(7200.3 + f64::from(n) * 75.0, false, Probe) }));
    packets.push(LanePacket { passed: false, kept_by: Some(1), ..packet(7875.3, false, Rst) });
    packets.push(LanePacket { from_box: Some(0), ..packet(7875.4, false, PacketKind::Icmp) });
    let times = [0.05, 0.07, 0.3, 0.32];
    let life = |established: f64| {
        let mut fuses =
            vec![fuse(0.0, 0.02, 120.0, "SYN_SENT"), fuse(0.02, 0.04, 60.0, "SYN_RECV"), fuse(0.04, 0.05, established, "ESTABLISHED")];
        fuses.extend(times.windows(2).map(|t| fuse(t[0], t[1], established, "ESTABLISHED")));
        fuses.push(fuse(0.32, (0.32 + established).min(7875.3), established, "ESTABLISHED"));
        fuses
    };
    Lanes {
        title: "ssh session, cut after 15 minutes of silence by ipvs".to_owned(),
        subtitle: "10.0.0.2:40000 → 192.0.2.1:22".to_owned(),
        client: "client 10.0.0.2".to_owned(),
        server: "server 192.0.2.1".to_owned(),
        span: (0.0, 7880.0),
        packets,
        boxes: vec![
            LaneBox { label: "conntrack".to_owned(), fuses: life(432_000.0) },
            LaneBox { label: "ipvs:nat,tcp=900".to_owned(), fuses: life(900.0) },
        ],
        cuts: vec![Cut { at: 900.32, text: "cut: ipvs forgets the flow, 15m after the last packet".to_owned(), strong: true }],
    }
}

pub(crate) fn lanes() -> Vec<(&'static str, Lanes)> {
    use PacketKind::{Ack, Data, Fin, Syn};
    let steady = Lanes {
        title: "a minute of steady traffic".to_owned(),
        client: "client".to_owned(),
        server: "server".to_owned(),
        span: (0.0, 60.0),
        packets: (0..60)
            .map(|n| {
                packet(
                    f64::from(n),
                    n % 2 == 0,
                    if n == 0 {
                        Syn
                    } else if n > 57 {
                        Fin
                    } else {
                        Data
                    },
                )
            })
            .collect(),
        boxes: vec![LaneBox {
            label: "aws-nlb".to_owned(),
            fuses: (0..60).map(|n| fuse(f64::from(n), f64::from(n) + 1.0, 5.0, "open")).collect(),
        }],
        ..Lanes::default()
    };
    let one = Lanes { span: (3.0, 3.0), packets: vec![packet(3.0, true, Syn)], client: "c".to_owned(), ..Lanes::default() };
    let burst = |n: u32| if n < 10_000 { f64::from(n) * 0.001 } else { 90_000.0 + f64::from(n) };
    let boxes = (0..6)
        .map(|n| LaneBox {
            label: format!("{n} {NASTY}"),
            fuses: (0..10_200)
                .map(|p| fuse(burst(p), burst(p + 1).min(burst(p) + 432.0), 432.0, if p % 7 == 0 { NASTY } else { "x" }))
                .collect(),
        })
        .collect();
    let extreme = Lanes {
        title: NASTY.to_owned(),
        subtitle: NASTY.repeat(4),
        client: NASTY.to_owned(),
        server: NASTY.to_owned(),
        span: (0.0, 432_000.0),
        packets: (0..10_200)
            .map(|n| LanePacket { passed: n % 100 != 0, ..packet(burst(n), n % 3 == 0, if n % 5 == 0 { Data } else { Ack }) })
            .collect(),
        boxes,
        cuts: vec![Cut { at: 431_999.0, text: NASTY.to_owned(), strong: true }],
    };
    vec![("silence", silence()), ("steady", steady), ("one", one), ("empty", Lanes::default()), ("extreme", extreme)]
}

/// Every chart by name.
pub(crate) fn all() -> Vec<(String, Box<dyn Chart>)> {
    fn boxed<C: Chart + 'static>(kind: &str, charts: Vec<(&'static str, C)>) -> Vec<(String, Box<dyn Chart>)> {
        charts.into_iter().map(|(name, chart)| (format!("{kind}-{name}"), Box::new(chart) as Box<dyn Chart>)).collect()
    }
    let mut out = boxed("survival", survival());
    out.extend(boxed("gaps", gaps()));
    out.extend(boxed("occupancy", occupancy()));
    out.extend(boxed("entries", entries()));
    out.extend(boxed("map", maps()));
    out.extend(boxed("lanes", lanes()));
    out
}
