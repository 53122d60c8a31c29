//! The idle box: states, timers, what restarts them, and what becomes of a packet that comes too late.

use flowlapse::model::idle::{Action, Basis, Change, Clause, Farewell, IdleBox, IdleEntry, IdleStep};
use flowlapse::net::{Direction, Proto, Segment, Seq, TcpFlags};
use flowlapse::policy::idle::{OnExpiry, OnStray, Refresh};
use flowlapse::policy::{BoxPolicy, IdlePolicy, parse_short, presets};
use flowlapse::time::{Duration, Instant};

use Direction::{Original as IN, Reply as OUT};

fn policy(spec: &str) -> IdlePolicy {
    match parse_short(spec).unwrap_or_else(|error| panic!("{error}")).policy {
        BoxPolicy::Idle(policy) => policy,
        other => panic!("{spec} became {other}"),
    }
}

fn model(spec: &str) -> IdleBox {
    IdleBox::new(&policy(spec))
}

fn tcp(flags: &str, seq: u32, ack: u32, len: u32) -> Segment {
    Segment { flags: TcpFlags::parse(flags).unwrap(), seq: Seq(seq), ack: Seq(ack), len, ..Segment::EMPTY }
}

const fn at(seconds: u64) -> Instant {
    Instant::from_secs(seconds)
}

/// A box whose states all have timers of their own: 1 s for `SYN_SENT`, 2 s for `SYN_RECV`, and so on.
const DISTINCT: &str = "idle:syn_sent=1,syn_recv=2,established=3,fin_wait=4,close_wait=5,last_ack=6,time_wait=7,close=8,\
                        udp_first=9,udp_unreplied=10,udp_stream=11";

/// An entry of an established connection: client at 101, server at 501.
fn established(model: &IdleBox) -> IdleEntry {
    let mut entry = model.open(Proto::Tcp, &tcp("S", 100, 0, 0), IN, at(0)).entry.unwrap();
    model.step(&mut entry, Proto::Tcp, &tcp("SA", 500, 101, 0), OUT, at(0));
    model.step(&mut entry, Proto::Tcp, &tcp("A", 101, 501, 0), IN, at(0));
    assert_eq!(entry.state(), Clause::Established);
    entry
}

#[test]
fn a_connection_walks_through_the_states_and_each_sets_its_timer() {
    let model = model(DISTINCT);
    let dialogue: [(Direction, Segment, Clause); 11] = [
        (OUT, tcp("SA", 500, 101, 0), Clause::SynRecv),
        (OUT, tcp("SA", 500, 101, 0), Clause::SynRecv),
        (IN, tcp("A", 101, 501, 0), Clause::Established),
        (IN, tcp("PA", 101, 501, 10), Clause::Established),
        (OUT, tcp("A", 501, 111, 0), Clause::Established),
        (IN, tcp("FA", 111, 501, 0), Clause::FinWait),
        (OUT, tcp("PA", 501, 111, 20), Clause::FinWait),
        (OUT, tcp("A", 521, 112, 0), Clause::CloseWait),
        (OUT, tcp("FA", 521, 112, 0), Clause::LastAck),
        (IN, tcp("A", 112, 521, 0), Clause::LastAck),
        (IN, tcp("A", 112, 522, 0), Clause::TimeWait),
    ];
    let opened = model.open(Proto::Tcp, &tcp("S", 100, 0, 0), IN, at(0));
    assert_eq!((opened.action, opened.change, opened.certain), (Action::Forward, Change::Created, true));
    let mut entry = opened.entry.unwrap();
    assert_eq!(model.deadline(&entry), (at(1), Clause::SynSent));
    for (second, (from, segment, state)) in dialogue.into_iter().enumerate() {
        let now = at(second as u64);
        let step = model.step(&mut entry, Proto::Tcp, &segment, from, now);
        let timer = step.timer.unwrap();
        assert_eq!(
            (entry.state(), timer.clause, step.change, step.action),
            (state, state, Change::Kept, Action::Forward),
            "packet {second}"
        );
        assert_eq!(timer.timeout, Duration::from_secs(state as u64 + 1));
        assert_eq!(model.deadline(&entry), (now + timer.timeout, state));
    }
    model.step(&mut entry, Proto::Tcp, &tcp("S", 900, 0, 0), IN, at(20));
    assert_eq!(entry.state(), Clause::SynSent, "a new connection on the same ports");
    model.step(&mut entry, Proto::Tcp, &tcp("SA", 7, 901, 0), OUT, at(20));
    model.step(&mut entry, Proto::Tcp, &tcp("A", 901, 8, 0), IN, at(20));
    model.step(&mut entry, Proto::Tcp, &tcp("FA", 901, 8, 0), IN, at(20));
    assert_eq!(entry.state(), Clause::FinWait, "the FINs of the old connection are forgotten");
}

#[test]
fn ends_that_close_at_once_end_in_time_wait() {
    let model = model(DISTINCT);
    let mut entry = established(&model);
    for (from, segment, state) in [
        (IN, tcp("FA", 101, 501, 0), Clause::FinWait),
        (OUT, tcp("FA", 501, 101, 0), Clause::LastAck),
        (IN, tcp("FA", 101, 501, 0), Clause::LastAck),
        (OUT, tcp("A", 502, 102, 0), Clause::LastAck),
        (IN, tcp("A", 102, 502, 0), Clause::TimeWait),
    ] {
        model.step(&mut entry, Proto::Tcp, &segment, from, at(1));
        assert_eq!(entry.state(), state, "{segment:?}");
    }
}

#[test]
fn a_fin_that_answers_a_fin_acknowledges_it() {
    let model = model(DISTINCT);
    let mut entry = established(&model);
    model.step(&mut entry, Proto::Tcp, &tcp("FA", 101, 501, 0), IN, at(1));
    model.step(&mut entry, Proto::Tcp, &tcp("FA", 501, 102, 0), OUT, at(1));
    assert_eq!(entry.state(), Clause::LastAck);
    model.step(&mut entry, Proto::Tcp, &tcp("A", 102, 502, 0), IN, at(1));
    assert_eq!(entry.state(), Clause::TimeWait);
}

#[test]
fn a_reset_closes_from_every_state() {
    let model = model(DISTINCT);
    let mut entry = established(&model);
    model.step(&mut entry, Proto::Tcp, &tcp("RA", 501, 101, 0), OUT, at(1));
    assert_eq!(model.deadline(&entry), (at(9), Clause::Close));
}

#[test]
fn sequence_numbers_wrap() {
    let model = model(DISTINCT);
    let mut entry = established(&model);
    model.step(&mut entry, Proto::Tcp, &tcp("FA", u32::MAX, 501, 0), IN, at(1));
    model.step(&mut entry, Proto::Tcp, &tcp("A", 501, u32::MAX, 0), OUT, at(1));
    assert_eq!(entry.state(), Clause::FinWait);
    model.step(&mut entry, Proto::Tcp, &tcp("A", 501, 0, 0), OUT, at(1));
    assert_eq!(entry.state(), Clause::CloseWait);
}

#[test]
fn udp_has_three_timers_and_falls_back_to_the_one_it_has() {
    let model = model(DISTINCT);
    let mut entry = model.open(Proto::Udp, &Segment::EMPTY, IN, at(0)).entry.unwrap();
    assert_eq!(model.deadline(&entry), (at(9), Clause::UdpFirst));
    model.step(&mut entry, Proto::Udp, &Segment::EMPTY, IN, at(1));
    assert_eq!(model.deadline(&entry), (at(11), Clause::UdpUnreplied));
    model.step(&mut entry, Proto::Udp, &Segment::EMPTY, OUT, at(2));
    assert_eq!(model.deadline(&entry), (at(13), Clause::UdpStream));
    model.step(&mut entry, Proto::Udp, &Segment::EMPTY, IN, at(3));
    assert_eq!(model.deadline(&entry), (at(14), Clause::UdpStream));

    let single = IdleBox::new(&policy("idle:established=3,udp=50"));
    for clause in [Clause::UdpFirst, Clause::UdpUnreplied, Clause::UdpStream] {
        let timer = single.timer(clause);
        assert_eq!((timer.timeout, timer.basis), (Duration::from_secs(50), Basis::Stated));
    }
}

#[test]
fn a_state_without_a_timer_keeps_the_established_one_and_says_that_it_is_assumed() {
    let nlb = model("aws-nlb");
    for clause in Clause::ALL {
        let (timeout, basis) = match clause {
            Clause::Established => (350, Basis::Stated),
            Clause::UdpFirst | Clause::UdpUnreplied | Clause::UdpStream => (120, Basis::Stated),
            _ => (350, Basis::Assumed),
        };
        let timer = nlb.timer(clause);
        assert_eq!((timer.clause, timer.timeout, timer.basis), (clause, Duration::from_secs(timeout), basis));
    }
    assert_eq!(model("fortigate").timer(Clause::TimeWait).basis, Basis::Unverified);
    assert_eq!(model("fortigate:time_wait=5").timer(Clause::TimeWait).basis, Basis::Stated);
    assert_eq!(model("aws-gwlb").timer(Clause::UdpFirst).basis, Basis::Unverified);
    assert_eq!(model("aws-gwlb:udp=5").timer(Clause::UdpFirst).basis, Basis::Stated);
}

#[test]
fn a_timer_that_never_fires_has_no_deadline() {
    let model = model("katran");
    let entry = established(&model);
    assert_eq!(model.deadline(&entry), (Instant::MAX, Clause::Established));
}

#[test]
fn only_the_documented_direction_restarts_the_timer() {
    for (refresh, proto, counted) in [
        (Refresh::Both, Proto::Tcp, true),
        (Refresh::Both, Proto::Udp, true),
        (Refresh::Outbound, Proto::Tcp, false),
        (Refresh::OutboundRequired, Proto::Udp, false),
        (Refresh::OutboundUdp, Proto::Tcp, true),
        (Refresh::OutboundUdp, Proto::Udp, false),
    ] {
        let mut policy = policy("idle:established=100,udp=100");
        policy.refresh = refresh;
        let model = IdleBox::new(&policy);
        let mut entry = model.adopt(proto, &tcp("A", 1, 1, 0), IN, at(0)).entry.unwrap();
        model.step(&mut entry, proto, &tcp("A", 1, 1, 0), OUT, at(60));
        assert_eq!(model.deadline(&entry).0, at(if counted { 160 } else { 100 }), "{refresh} {proto:?}");
        model.step(&mut entry, proto, &tcp("A", 1, 1, 0), IN, at(70));
        assert_eq!(model.deadline(&entry).0, at(170));
    }
}

#[test]
fn a_reply_that_may_not_restart_the_timer_still_moves_a_connection() {
    let model = IdleBox::new(&IdlePolicy { refresh: Refresh::Outbound, ..policy(DISTINCT) });
    let mut entry = established(&model);
    model.step(&mut entry, Proto::Tcp, &tcp("FA", 501, 101, 0), OUT, at(2));
    assert_eq!(model.deadline(&entry), (at(6), Clause::FinWait));
}

#[test]
fn a_proxy_counts_data_and_not_keepalives() {
    let spec = "idle:proxy,established=100";
    for (segment, counted) in
        [(tcp("A", 110, 501, 0), false), (tcp("A", 110, 501, 1), false), (tcp("PA", 101, 501, 10), false), (tcp("PA", 111, 501, 1), true)]
    {
        for (spec, counted) in [(spec.to_owned(), counted), (format!("{spec},activity=packets"), true)] {
            let model = model(&spec);
            let mut entry = established(&model);
            model.step(&mut entry, Proto::Tcp, &tcp("PA", 101, 501, 10), IN, at(10));
            model.step(&mut entry, Proto::Tcp, &segment, IN, at(50));
            assert_eq!(model.deadline(&entry).0, at(if counted { 150 } else { 110 }), "{spec} {segment:?}");
        }
    }
}

#[test]
fn a_stray_packet_meets_the_fate_that_the_word_says() {
    use Action::{Drop, Forward, ResetSender};
    use Change::{Absent, Rehashed, Repicked};
    let (lost, reset, repick, rehash) = ((Drop, Absent), (ResetSender, Absent), (Forward, Repicked), (Forward, Rehashed));
    for word in OnStray::ALL {
        let (inside, outside, certain) = match word {
            OnStray::Drop | OnStray::DropUntilSyn => (lost, lost, true),
            OnStray::DropOutsideRepickupInside | OnStray::RepickupOnOutbound => (repick, lost, true),
            OnStray::RstSender | OnStray::RstFromNode | OnStray::TerminatesTcp => (reset, reset, true),
            OnStray::RstInsideOnly => (reset, lost, true),
            OnStray::Repickup => (repick, repick, true),
            OnStray::Rehash => (rehash, rehash, true),
            OnStray::RstOrDropByLocalStack | OnStray::NotApplicable => (reset, reset, false),
            OnStray::ReevaluateRules | OnStray::PolicyThenNewEntry => (repick, repick, false),
            _ => (lost, lost, false),
        };
        let model = IdleBox::new(&IdlePolicy { on_stray: *word, ..policy(DISTINCT) });
        for (from, wanted) in [(IN, inside), (OUT, outside)] {
            let step = model.open(Proto::Tcp, &tcp("PA", 1, 1, 5), from, at(10));
            assert_eq!(((step.action, step.change), step.certain), (wanted, certain), "{word} {from:?}");
            let state = step.entry.map(|entry| entry.state());
            assert_eq!(state, (wanted.0 == Forward).then_some(Clause::Established), "{word}");
            assert_eq!(step.timer.map(|timer| timer.clause), state);

            let rst = model.open(Proto::Tcp, &tcp("R", 1, 0, 0), from, at(10));
            assert!(rst.entry.is_none() && rst.action != ResetSender, "{word}: a reset neither makes an entry nor is answered");

            let datagram = model.open(Proto::Udp, &Segment::EMPTY, from, at(10));
            assert_ne!(datagram.action, ResetSender, "{word}");
            assert_eq!(datagram.entry.is_some(), datagram.action == Forward, "{word}");
        }
        let syn = model.open(Proto::Tcp, &tcp("S", 1, 0, 0), IN, at(10));
        assert_eq!((syn.action, syn.change, syn.certain), (Forward, Change::Created, true), "{word}: a SYN from inside opens");
    }
}

#[test]
fn a_fate_without_a_source_is_not_certain() {
    assert!(!model("gcp-nlb-passthrough").open(Proto::Tcp, &tcp("A", 1, 1, 0), IN, at(0)).certain);
    assert!(model("gcp-nlb-passthrough:on_stray=drop").open(Proto::Tcp, &tcp("A", 1, 1, 0), IN, at(0)).certain);
}

#[test]
fn a_stray_fin_is_picked_up_as_a_closing_connection() {
    let model = IdleBox::new(&IdlePolicy { on_stray: OnStray::Repickup, ..policy(DISTINCT) });
    let step = model.open(Proto::Tcp, &tcp("FA", 1, 1, 0), IN, at(10));
    assert_eq!(step.timer.unwrap().clause, Clause::FinWait);
}

#[test]
fn a_capture_that_begins_in_the_middle_adopts_its_flows() {
    let model = model(DISTINCT);
    let adopted = |flags: &str, from| -> IdleStep { model.adopt(Proto::Tcp, &tcp(flags, 1, 1, 0), from, at(10)) };
    for (flags, from, state) in [
        ("A", OUT, Clause::Established),
        ("PA", IN, Clause::Established),
        ("FA", OUT, Clause::FinWait),
        ("R", IN, Clause::Close),
        ("S", IN, Clause::SynSent),
        ("SA", OUT, Clause::SynRecv),
    ] {
        let step = adopted(flags, from);
        assert_eq!((step.action, step.change), (Action::Forward, Change::Created));
        assert_eq!(step.entry.unwrap().state(), state, "{flags}");
        assert_eq!(model.deadline(&step.entry.unwrap()), (at(10 + state as u64 + 1), state));
    }
}

#[test]
fn what_is_sent_at_expiry_follows_the_word_and_the_state() {
    for (word, established_flow, closing_flow) in [
        (OnExpiry::Silent, Farewell::Nothing, Farewell::Nothing),
        (OnExpiry::RstBoth, Farewell::ResetBoth, Farewell::Nothing),
        (OnExpiry::FinBoth, Farewell::FinBoth, Farewell::FinBoth),
        (OnExpiry::CloseBoth, Farewell::CloseBoth, Farewell::CloseBoth),
        (OnExpiry::Close, Farewell::CloseBoth, Farewell::CloseBoth),
        (OnExpiry::FinOrRstBoth, Farewell::CloseBoth, Farewell::CloseBoth),
        (OnExpiry::LruEviction, Farewell::Nothing, Farewell::Nothing),
        (OnExpiry::NotApplicable, Farewell::Nothing, Farewell::Nothing),
    ] {
        let model = IdleBox::new(&IdlePolicy { on_expiry: word, ..policy(DISTINCT) });
        let mut entry = established(&model);
        assert_eq!(model.farewell(&entry), established_flow, "{word}");
        model.step(&mut entry, Proto::Tcp, &tcp("FA", 101, 501, 0), IN, at(1));
        assert_eq!(model.farewell(&entry), closing_flow, "{word}");
        let datagram = model.open(Proto::Udp, &Segment::EMPTY, IN, at(0)).entry.unwrap();
        assert_eq!(model.farewell(&datagram), Farewell::Nothing, "{word}");
    }
}

#[test]
fn a_box_that_probes_lets_no_live_established_connection_expire() {
    let ipfw = model("ipfw-dynamic");
    let mut entry = established(&ipfw);
    assert_eq!(ipfw.deadline(&entry), (at(300), Clause::Established));
    assert_eq!(ipfw.deadline_if_answered(&entry), (Instant::MAX, Clause::Established));
    ipfw.step(&mut entry, Proto::Tcp, &tcp("R", 101, 0, 0), IN, at(1));
    assert_eq!(ipfw.deadline_if_answered(&entry), (at(2), Clause::Close));
    let nlb = model("aws-nlb");
    let entry = established(&nlb);
    assert_eq!(nlb.deadline_if_answered(&entry), nlb.deadline(&entry));
}

#[test]
fn every_preset_makes_a_box_that_opens_a_connection() {
    for preset in presets::all() {
        if let BoxPolicy::Idle(policy) = preset.resolve() {
            let model = IdleBox::new(&policy);
            let entry = established(&model);
            assert_eq!(model.deadline(&entry).0, at(0) + policy.established, "{}", preset.id);
        }
    }
}
