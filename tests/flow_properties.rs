//! Properties of the flow layer over arbitrary segments.

use flowlapse::flow::{Book, CLOCK_SLACK, Ends, Flow, FlowTable, GapEvidence, StreamRule, Stretch, number_streams};
use flowlapse::net::{Addr, Direction, Proto, Segment, Seq, Sock, TcpFlags};
use flowlapse::time::{Duration, Instant};
use proptest::prelude::*;

#[derive(Clone, Debug)]
struct Packet {
    src: Sock,
    dst: Sock,
    proto: Proto,
    seg: Segment,
}

/// Numbers from a few neighbourhoods, so that they meet, repeat, wrap and jump.
fn number() -> impl Strategy<Value = u32> {
    prop_oneof![4 => 1000u32..1010, 2 => (u32::MAX - 4)..=u32::MAX, 2 => 0u32..4, 1 => any::<u32>()]
}

fn packet() -> impl Strategy<Value = Packet> {
    let flow = (0u8..4, any::<bool>(), any::<bool>());
    let flags = prop_oneof![6 => Just(TcpFlags::ACK), 1 => Just(TcpFlags::SYN), 1 => any::<u8>()];
    (flow, number(), number(), 0u32..3, prop_oneof![Just(0u16), any::<u16>()], flags, 0u64..3_000_000_000).prop_map(
        |((pair, back, udp), seq, ack, len, window, flags, at)| {
            let client = Sock { addr: Addr::v4([10, 0, 0, pair / 2]), port: 40_000 + u16::from(pair % 2) };
            let server = Sock { addr: Addr::v6([9; 16]), port: 443 };
            let (src, dst) = if back { (server, client) } else { (client, server) };
            let seg = Segment {
                at: Instant(at),
                seq: Seq(seq),
                ack: Seq(ack),
                sack: Seq(ack),
                len,
                window,
                flags: TcpFlags(flags),
                ..Segment::EMPTY
            };
            Packet { src, dst, proto: if udp { Proto::Udp } else { Proto::Tcp }, seg }
        },
    )
}

/// Everything that a flow says of itself, the numbers of the whole input left out.
fn summary(book: &Book, flow: &Flow) -> String {
    let gaps = [GapEvidence::ProvenIdle, GapEvidence::Hole, GapEvidence::Unknown].map(|kind| flow.longest_gap(kind));
    let [client, server] = book.socks(&flow.ends);
    let probes = [Direction::Original, Direction::Reply].map(|dir| flow.probes(dir));
    format!(
        "{:?} {:?} {:?} {} {} {:?} {:?} {:?} {:?} {:?} {:?} {gaps:?} {probes:?}",
        client,
        server,
        flow.proto(),
        flow.first_frame,
        flow.last_frame,
        flow.segments,
        flow.bytes(),
        flow.opening(),
        flow.closing(),
        flow.rtt(),
        flow.last_silence(Instant::MAX),
    )
}

/// The tables of some packets, with the book of their addresses.
struct Tables {
    tables: Vec<FlowTable>,
    book: Book,
}

impl Tables {
    fn flows(&self) -> impl Iterator<Item = &Flow> {
        self.tables.iter().flat_map(FlowTable::flows)
    }

    fn summaries(&self) -> Vec<String> {
        let mut all: Vec<String> = self.flows().map(|flow| summary(&self.book, flow)).collect();
        all.sort();
        all
    }

    fn by_stream(&self) -> Vec<(Proto, u32, String)> {
        let mut all: Vec<_> = self.flows().map(|f| (f.proto(), f.stream, summary(&self.book, f))).collect();
        all.sort();
        all
    }
}

fn ends_of(book: &mut Book, packet: &Packet) -> Ends {
    book.ends(packet.src, packet.dst, packet.proto)
}

fn run(packets: &[Packet], rule: StreamRule, shards: u64) -> Tables {
    let mut book = Book::new();
    let mut tables: Vec<FlowTable> = (0..shards).map(|_| FlowTable::new(rule)).collect();
    for (order, packet) in packets.iter().enumerate() {
        let mut seg = packet.seg;
        let ends = ends_of(&mut book, packet);
        tables[(ends.hash() % shards) as usize].observe(&ends, &mut seg, order as u64);
    }
    number_streams(&mut tables.iter_mut().collect::<Vec<_>>());
    Tables { tables, book }
}

proptest! {
    #[test]
    fn totals_add_up_and_every_gap_lies_inside(packets in prop::collection::vec(packet(), 0..200), late in any::<bool>()) {
        let rule = if late { StreamRule::BaseSeqOrClosed } else { StreamRule::BaseSeq };
        let mut packets = packets;
        for (at, packet) in packets.iter_mut().enumerate() {
            packet.seg.frame = at as u32 + 1;
        }
        let tables = run(&packets, rule, 1);
        let count: u32 = tables.flows().flat_map(|f| f.segments).sum();
        let bytes: u64 = tables.flows().flat_map(flowlapse::flow::Flow::bytes).sum();
        prop_assert_eq!(count as usize, packets.len());
        prop_assert_eq!(bytes, packets.iter().map(|p| u64::from(p.seg.len)).sum::<u64>());
        for flow in tables.flows() {
            for kind in [GapEvidence::ProvenIdle, GapEvidence::Hole, GapEvidence::Unknown] {
                if let Some(gap) = flow.longest_gap(kind) {
                    prop_assert!(gap.length > Duration::ZERO && gap.before < gap.after.expect("a frame after it"));
                    prop_assert!(gap.before >= flow.first_frame && gap.after <= Some(flow.last_frame));
                    let times = (packets[gap.before as usize - 1].seg.at, packets[gap.after.expect("as above") as usize - 1].seg.at);
                    // Where the clock went back a little, time stood still.
                    prop_assert!(times.1.since(times.0).0.abs_diff(gap.length.0) <= CLOCK_SLACK.0);
                }
            }
        }
    }

    #[test]
    fn neither_shards_nor_other_flows_change_a_flow(packets in prop::collection::vec(packet(), 0..120), seed in any::<u64>()) {
        let mut packets = packets;
        for (at, packet) in packets.iter_mut().enumerate() {
            packet.seg.frame = at as u32 + 1;
        }
        let one = run(&packets, StreamRule::BaseSeq, 1).by_stream();
        prop_assert_eq!(&one, &run(&packets, StreamRule::BaseSeq, 7).by_stream());
        // Another interleaving that keeps the order inside each tuple: draw the tuples' queues in a random order.
        let mut queues: Vec<Vec<Packet>> = Vec::new();
        for packet in packets.iter().rev() {
            let tuple = |p: &Packet| if p.src <= p.dst { (p.src, p.dst, p.proto) } else { (p.dst, p.src, p.proto) };
            match queues.iter_mut().find(|queue| tuple(&queue[0]) == tuple(packet)) {
                Some(queue) => queue.push(packet.clone()),
                None => queues.push(vec![packet.clone()]),
            }
        }
        let (mut shuffled, mut state) = (Vec::new(), seed | 1);
        while !queues.is_empty() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let at = (state >> 33) as usize % queues.len();
            shuffled.extend(queues[at].pop());
            queues.retain(|queue| !queue.is_empty());
        }
        prop_assert_eq!(run(&shuffled, StreamRule::BaseSeq, 3).summaries(), run(&packets, StreamRule::BaseSeq, 1).summaries());
    }

    /// As many stretches as one wants, more than there are flows among them, and tables without any.
    #[test]
    fn stretches_do_not_change_what_streams_are_called(packets in prop::collection::vec(packet(), 0..200), shards in 1..9_u64, count in 0..20_usize) {
        let mut whole = run(&packets, StreamRule::BaseSeqOrClosed, shards).tables;
        whole.push(FlowTable::new(StreamRule::BaseSeq));
        let mut parts = whole.clone();
        let expected = number_streams(&mut whole.iter_mut().collect::<Vec<_>>());

        let shared: Vec<&FlowTable> = parts.iter().collect();
        let bounds = Stretch::bounds(&shared, count);
        let stretches: Vec<Stretch> = bounds.windows(2).map(|pair| Stretch::of(&shared, &pair[0], &pair[1])).collect();
        let before = Stretch::before(&stretches);
        prop_assert_eq!(Stretch::order(&stretches), expected);
        for (number, table) in parts.iter_mut().enumerate() {
            table.flows_mut().for_each(|flow| flow.stream = u32::MAX);
            Stretch::tell(&stretches, &before, number, table);
        }
        for (one, other) in whole.iter().zip(&parts) {
            prop_assert!(one.flows().map(|flow| flow.stream).eq(other.flows().map(|flow| flow.stream)));
        }
    }
}
