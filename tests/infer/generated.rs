//! Random timers, boxes and conversations, played by two simulated hosts; what each side of the box saw is what is inferred from.

use super::{bracket, excludes, infer};
use flowlapse::capture::Input;
use flowlapse::model::Side;
use flowlapse::report::story::pcap::{Point, Watch};
use flowlapse::rng::Rng;
use flowlapse::scenario::load::load;
use flowlapse::scenario::run::single;
use flowlapse::study::infer::evidence::State;
use flowlapse::time::Duration;
use serde_json::{Value, json};
use std::io::{self, Write};
use std::sync::{Arc, Mutex};

/// A capture in memory that outlives its writer.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("nobody panicked").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Plays a scenario and gives back what the box saw on its client's and on its server's side.
fn play(scenario: &Value) -> [Input; 2] {
    let text = scenario.to_string();
    let scenario = load(&text, "generated", &[]).unwrap_or_else(|e| panic!("{e}: {text}"));
    let ready = scenario.compile().unwrap_or_else(|e| panic!("{e}: {text}"));
    let mut watch = Watch::new();
    let sides = [Side::Client, Side::Server].map(|side| {
        let memory = Memory::default();
        watch.tap(Point::Box(0, side), memory.clone()).expect("memory takes everything");
        memory
    });
    let (_, watch) = single(&ready, watch);
    watch.finish().expect("memory takes everything");
    sides.map(|memory| {
        let bytes = memory.0.lock().expect("nobody panicked").clone();
        Input::Bytes { name: "generated".to_owned(), bytes: bytes.into() }
    })
}

/// A conversation with silences around a timer of so many seconds.
fn conversation(rng: &mut Rng, spec: &str, timer: u64) -> Value {
    let mut at = 0.5;
    let mut script = Vec::new();
    let mut say = |at: f64, rng: &mut Rng, what: &str, bytes: u64| {
        let who = if rng.below(3) == 0 { "server" } else { "client" };
        let mut line = json!({"at": format!("{at:.3}s"), "who": who});
        line[what] = if what == "send" { json!(bytes) } else { json!(true) };
        script.push(line);
    };
    say(at, rng, "send", 48);
    for _ in 0..2 + rng.below(4) {
        at += timer as f64 * [0.4, 0.7, 0.9, 0.97, 1.03, 1.2, 1.6, 2.5][rng.below(8) as usize];
        let bytes = [1, 48, 1000][rng.below(3) as usize];
        say(at, rng, "send", bytes);
    }
    if rng.below(4) == 0 {
        at += timer as f64 * 0.6;
        say(at, rng, "close", 0);
    }
    let mut scenario = json!({
        "title": "generated",
        "duration": format!("{:.0}s", at + 1200.0),
        "path": [spec],
        "client": {},
        "server": {},
        "script": script,
    });
    if rng.below(3) == 0 {
        let side = if rng.below(2) == 0 { "client" } else { "server" };
        let time = (timer * [4, 7, 9, 15][rng.below(4) as usize] / 10).max(1);
        scenario[side]["keepalive"] = json!({"time": time, "intvl": 1 + rng.below(5), "probes": 2 + rng.below(3)});
    }
    scenario
}

/// A box with its established timer, and whether that may be late.
fn device(rng: &mut Rng, timer: u64) -> (String, bool) {
    match rng.below(10) {
        0 => (format!("conntrack:strict,established={timer}"), false),
        1 => (format!("conntrack:masquerade,established={timer}"), false),
        2 => (format!("conntrack:masquerade,strict,established={timer}"), false),
        3 => (format!("conntrack:dnat,established={timer}"), false),
        4 => (format!("conntrack:established={timer}"), false),
        5 => (format!("ipvs:nat,tcp={timer}"), true),
        6 => (format!("ipvs:dr,tcp={timer}"), true),
        7 => (format!("idle:established={timer}"), false),
        8 => (format!("idle:established={timer},on_stray=rst_sender"), false),
        _ => (format!("idle:established={timer},on_stray=repickup_on_outbound"), false),
    }
}

fn run(seeds: std::ops::Range<u64>) {
    let (mut determined, mut bounded) = (0, 0);
    for seed in seeds.clone() {
        let mut rng = Rng::new(seed);
        let timer = [20, 60, 240, 350, 900, 3600][rng.below(6) as usize];
        let (spec, late) = device(&mut rng, timer);
        let flows = 1 + rng.below(6);
        let played: Vec<[Input; 2]> = (0..flows).map(|_| play(&conversation(&mut rng, &spec, timer))).collect();
        let [client, server] = [0, 1].map(|side| played.iter().map(|pair| pair[side].clone()).collect::<Vec<Input>>());
        let both: Vec<Input> = client.iter().chain(&server).cloned().collect();
        for (place, inputs) in [("client", client), ("server", server), ("both", both)] {
            let (inference, _) = infer(&inputs, 1);
            let Some(bracket) = bracket(&inference, State::Established) else { continue };
            let truth = Duration::from_secs(timer);
            assert!(!excludes(bracket, truth, late), "seed {seed}, {spec}, {place} side: {bracket:#?}");
            bounded += u32::from(bracket.is_determined());
            determined += u32::from(bracket.is_determined() && bracket.low.is_some());
        }
    }
    let cases = 3 * (seeds.end - seeds.start);
    assert!(u64::from(determined) * 5 > cases, "only {determined} of {cases} are bracketed on both sides, {bounded} from above");
}

#[test]
fn no_bracket_excludes_the_timer_of_the_box_that_was_there() {
    run(0..120);
}

#[test]
#[ignore = "a quarter of a minute"]
fn nor_does_any_of_many_more() {
    run(1000..4000);
}
