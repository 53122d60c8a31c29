//! What fuzzing begins with: inputs made from the files of the tree, and the words that stand in them.
use flowlapse::capture::write::Writer;
use flowlapse::capture::{self, Batch, Input, LinkType};
use flowlapse::net::{Addr, Segment, Seq, Sock, TcpFlags};
use flowlapse::policy::{ConntrackPolicy, IdlePolicy, IpvsPolicy, Settings, presets};
use flowlapse::time::Instant;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Inputs with names.
pub(crate) type Seeds = Vec<(String, Vec<u8>)>;

/// The files below a folder, in the order of their names.
fn files(root: &Path, folder: &str) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![root.join(folder)]);
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
            if path.is_dir() { &mut folders } else { &mut found }.push(path);
        }
    }
    found.sort();
    found
}

fn named(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// A file's bytes, decompressed.
fn bytes(path: &Path) -> Vec<u8> {
    let raw = fs::read(path).unwrap_or_default();
    if !raw.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        return raw;
    }
    let mut out = Vec::new();
    let decoder = zstd::Decoder::new(&raw[..]);
    let _ = decoder.map(|decoder| decoder.take(1 << 24).read_to_end(&mut out));
    out
}

/// The first lines of a text, so that there are few bytes of it.
fn head(mut text: Vec<u8>, most: usize) -> Vec<u8> {
    if text.len() > most {
        text.truncate(most);
        let end = text.iter().rposition(|byte| *byte == b'\n').map_or(most, |at| at + 1);
        text.truncate(end);
    }
    text
}

fn texts(root: &Path, folder: &str, endings: &[&str], most: usize) -> Seeds {
    let all = files(root, folder).into_iter().filter(|path| endings.iter().any(|ending| named(path).ends_with(ending)));
    all.map(|path| (named(&path), head(bytes(&path), most))).collect()
}

/// The captures of the tree that are small.
fn captures(root: &Path) -> Seeds {
    let all = ["fixtures/captures", "fixtures/infer"].iter().flat_map(|folder| texts(root, folder, &[".pcap"], usize::MAX));
    all.filter(|(_, bytes)| bytes.len() < 16 << 10).collect()
}

/// A capture in the other format, with two interfaces.
fn pcapng() -> Vec<u8> {
    let sock = |last, port| Sock { addr: Addr::v4([10, 0, 0, last]), port };
    let (client, server) = (sock(1, 40_000), sock(2, 443));
    let Ok(mut writer) = Writer::new(Vec::new(), &["eth0", "eth1"]) else { return Vec::new() };
    for (number, (from, to, flags)) in
        [(client, server, TcpFlags::SYN), (server, client, TcpFlags::SYN | TcpFlags::ACK), (client, server, TcpFlags::ACK)]
            .into_iter()
            .enumerate()
    {
        let seg = Segment { flags: TcpFlags(flags), seq: Seq(number as u32), ..Segment::EMPTY };
        let _ = writer.segment(number % 2, Instant::from_secs(number as u64), from, to, &seg, 64);
    }
    let _ = writer.datagram(1, Instant::from_secs(9), client, server, 20, 64);
    writer.finish().unwrap_or_default()
}

/// The same bytes as a gzip file that compresses nothing.
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255, 1];
    let len = bytes.len() as u16;
    out.extend(len.to_le_bytes());
    out.extend((!len).to_le_bytes());
    out.extend(bytes);
    let crc = bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| if sum & 1 == 1 { sum >> 1 ^ 0xedb8_8320 } else { sum >> 1 })
    });
    out.extend((!crc).to_le_bytes());
    out.extend((bytes.len() as u32).to_le_bytes());
    out
}

/// A packet as the target `decode` reads it.
fn packet(link: LinkType, bytes: &[u8], wire_len: u32) -> Vec<u8> {
    let mut out = link.0.to_le_bytes().to_vec();
    out.extend((bytes.len() as u16).to_le_bytes());
    out.push((wire_len as usize - bytes.len()).min(255) as u8);
    out.extend(bytes);
    out
}

fn ipv4(protocol: u8, fragment: u16, payload: &[u8]) -> Vec<u8> {
    let len = (20 + payload.len() as u16).to_be_bytes();
    let place = fragment.to_be_bytes();
    [&[0x45, 0, len[0], len[1], 0x12, 0x34, place[0], place[1], 63, protocol, 0, 0, 10, 0, 0, 1, 10, 1, 0, 1][..], payload].concat()
}

fn ipv6(next: u8, payload: &[u8]) -> Vec<u8> {
    let len = (payload.len() as u16).to_be_bytes();
    [&[0x60, 0, 0, 0, len[0], len[1], next, 61][..], &[0xfd; 16], &[0x20; 16], payload].concat()
}

fn ethernet(ethertype: u16, payload: &[u8]) -> Vec<u8> {
    [&[2; 12][..], &ethertype.to_be_bytes(), payload].concat()
}

fn udp(port: u16, payload: &[u8]) -> Vec<u8> {
    [&[0x9c, 0x40][..], &port.to_be_bytes(), &(8 + payload.len() as u16).to_be_bytes(), &[0, 0], payload].concat()
}

/// Packets through every kind of layer, and pieces of packets.
fn layers() -> Seeds {
    let tcp =
        [&[0x9c, 0x40, 1, 0xbb, 0, 0, 0, 1, 0, 0, 0, 2, 0x80, 0x18, 1, 0, 0, 0, 0, 0][..], &[1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2], b"data"]
            .concat();
    let (four, six) = (ipv4(6, 0, &tcp), ipv6(6, &tcp));
    let frame = ethernet(0x0800, &four);
    let gre = |flags: [u8; 2], protocol: u16, rest: &[u8]| ipv4(47, 0, &[&flags[..], &protocol.to_be_bytes(), rest].concat());
    let snap = [&[0xaa, 0xaa, 3, 0, 0, 0, 8, 0][..], &four].concat();
    let long = udp(443, &[7; 40]);
    let whole: [(&str, LinkType, Vec<u8>); 24] = [
        ("ethernet", LinkType::ETHERNET, frame.clone()),
        ("ethernet6", LinkType::ETHERNET, ethernet(0x86dd, &six)),
        ("tags", LinkType::ETHERNET, ethernet(0x88a8, &[&[0, 5, 0x81, 0, 0, 6, 0x86, 0xdd][..], &six].concat())),
        ("pppoe", LinkType::ETHERNET, ethernet(0x8864, &[&[0x11, 0, 0, 3, 0, four.len() as u8 + 2, 0, 0x21][..], &four].concat())),
        ("mpls", LinkType::ETHERNET, ethernet(0x8847, &[&[0, 0, 0x50, 64, 0, 0, 0x61, 64][..], &four].concat())),
        ("snap", LinkType::ETHERNET, ethernet(60, &snap)),
        ("arp", LinkType::ETHERNET, ethernet(0x0806, &[0; 28])),
        ("sll", LinkType::LINUX_SLL, [&[0; 14][..], &[8, 0], &four].concat()),
        ("sll2", LinkType::LINUX_SLL2, [&[0x86, 0xdd][..], &[0; 18], &six].concat()),
        ("raw", LinkType::RAW, six.clone()),
        ("null", LinkType::NULL, [&[2, 0, 0, 0][..], &four].concat()),
        ("loop", LinkType::LOOP, [&[0, 0, 0, 24][..], &six].concat()),
        ("ppp", LinkType::PPP, [&[0xff, 3, 0, 0x21][..], &four].concat()),
        ("wireless", LinkType::IEEE802_11, [&[0x88, 1][..], &[0; 24], &snap].concat()),
        ("radiotap", LinkType::IEEE802_11_RADIOTAP, [&[0, 0, 8, 0, 0, 0, 0, 0, 8, 2][..], &[0; 22], &snap].concat()),
        ("ip-in-ip", LinkType::RAW, ipv4(4, 0, &ipv4(41, 0, &ipv6(4, &four)))),
        ("gre", LinkType::RAW, gre([0xb0, 0], 0x86dd, &[&[0; 12][..], &six].concat())),
        ("pptp", LinkType::RAW, gre([0x30, 0x81], 0x880b, &[&[0; 12][..], &[0xff, 3, 0, 0x21], &four].concat())),
        ("erspan", LinkType::RAW, gre([0x10, 0], 0x22eb, &[&[0, 0, 0, 1, 0x20][..], &[0; 11], &frame].concat())),
        ("vxlan", LinkType::RAW, ipv4(17, 0, &udp(4_789, &[&[8, 0, 0, 0, 0, 0, 5, 0][..], &frame].concat()))),
        ("geneve", LinkType::RAW, ipv4(17, 0, &udp(6_081, &[&[1, 0, 0x65, 0x58, 0, 0, 5, 0, 1, 2, 3, 4][..], &frame].concat()))),
        ("extensions", LinkType::RAW, ipv6(0, &[&[60, 0, 0, 0, 0, 0, 0, 0, 51, 1][..], &[0; 14], &[6, 4], &[0; 22], &tcp].concat())),
        ("icmp", LinkType::RAW, ipv4(1, 0, &[&[3, 4, 0, 0, 0, 0, 5, 0][..], &four].concat())),
        ("icmp6", LinkType::RAW, ipv6(58, &[&[1, 4, 0, 0, 0, 0, 0, 0][..], &six].concat())),
    ];
    let mut seeds: Seeds = whole.iter().map(|(name, link, bytes)| ((*name).to_owned(), packet(*link, bytes, bytes.len() as u32))).collect();
    seeds.push(("all".to_owned(), whole.iter().flat_map(|(_, link, bytes)| packet(*link, bytes, bytes.len() as u32 + 9)).collect()));
    let pieces = [ipv4(17, 0x2000, &long[..16]), ipv4(17, 0x2002, &long[16..32]), ipv4(17, 4, &long[32..])];
    seeds.push(("fragments".to_owned(), pieces.iter().flat_map(|bytes| packet(LinkType::RAW, bytes, bytes.len() as u32)).collect()));
    let piece = |place: u16, bytes: &[u8]| ipv6(44, &[&[17, 0][..], &place.to_be_bytes(), &[0, 0, 0, 9], bytes].concat());
    let pieces = [piece(33, &long[32..]), piece(1, &long[..16]), piece(17, &long[16..32])];
    seeds.push(("fragments6".to_owned(), pieces.iter().flat_map(|bytes| packet(LinkType::RAW, bytes, bytes.len() as u32)).collect()));
    seeds
}

fn decode(root: &Path) -> Seeds {
    let mut seeds = layers();
    for (name, bytes) in captures(root) {
        let input = Input::Bytes { name: name.clone(), bytes: bytes.into() };
        let Ok(mut capture) = capture::open(&[input]) else { continue };
        let (mut batch, mut out) = (Batch::new(), Vec::new());
        capture.next_batch(&mut batch);
        batch.iter().take(6).for_each(|record| out.extend(packet(record.link, record.bytes, record.wire_len)));
        seeds.push((name, out));
    }
    seeds
}

/// Paths of boxes that differ in kind, in what they refuse, and in what their timers see.
const PATHS: [&str; 14] = [
    "conntrack:strict,established=3600",
    "conntrack:masquerade,established=600,dialect=linux-2.4.0",
    "conntrack:dnat,established=900,liberal=1",
    "conntrack:drop-invalid,loose=0,established=700,max_retrans=3",
    "ipvs:nat,tcp=900,tcpfin=120,udp=300",
    "ipvs:dr,tcp=900,sloppy_tcp=1",
    "ipvs:tun,secure_tcp=3,dialect=linux-2.4",
    "ipvs:nat,persistent=360,conn_reuse_mode=1",
    "idle:established=350,on_stray=rst_sender",
    "idle:established=240,refresh=outbound",
    "aws-nlb",
    "aws-alb",
    "conntrack:masquerade,established=600 aws-nlb",
    "conntrack:masquerade ipvs:nat azure-lb-default:established=1500",
];

/// A handshake, ten bytes, an hour of silence, ten bytes again, a close; in the target's own steps.
const TALK: [[u8; 8]; 8] = [
    [0, 0x21, 0x02, 0, 0, 0, 250, 240],
    [1, 0x21, 0x12, 0, 0, 0, 250, 240],
    [0, 0x21, 0x10, 0, 0, 0, 1, 245],
    [0, 0x21, 0x18, 0, 0, 10, 1, 245],
    [1, 0x21, 0x10, 0, 0, 0, 1, 245],
    [0, 0xc1, 0x18, 0, 0, 10, 1, 245],
    [1, 0x21, 0x11, 0, 0, 0, 1, 245],
    [0, 0x31, 0x14, 0, 0, 0, 0, 0],
];

fn path(root: &Path) -> Seeds {
    let captures = captures(root);
    let mut seeds = Vec::new();
    for (number, boxes) in PATHS.iter().enumerate() {
        let how = ["talk wheel=250", "talk", "talk flows=3", "talk"][number % 4];
        let mut steps = TALK.concat();
        // A datagram, and an ICMP error about it.
        steps.extend([0x22, 0x21, 0, 0, 0, 20, 0, 0, 0x30, 0x21, 3, 1, 0, 0, 0, 0]);
        seeds.push((format!("talk-{number}"), [format!("{boxes}\n{how}\n").as_bytes(), &steps].concat()));
        for (name, bytes) in captures.iter().skip(number).step_by(PATHS.len()).filter(|(_, bytes)| bytes.len() < 6_000) {
            seeds.push((format!("{number}-{name}"), [format!("{boxes}\npcap\n").as_bytes(), bytes].concat()));
        }
    }
    seeds
}

/// A short form with each setting of each kind of box, and each preset.
fn short_forms() -> Seeds {
    fn of<P: Settings>(kind: &str, out: &mut Seeds) {
        for (key, value) in P::keys().iter().zip(["30", "1", "2h", "no", "0", "strict"].iter().cycle()) {
            out.push((format!("{}-{}", P::KIND, key.name), format!("{kind}{}={value}", key.name).into_bytes()));
        }
    }
    let mut seeds = Vec::new();
    of::<ConntrackPolicy>("conntrack:", &mut seeds);
    of::<IpvsPolicy>("ipvs:", &mut seeds);
    of::<IdlePolicy>("idle:established=60,", &mut seeds);
    seeds.extend(presets::all().iter().map(|preset| (preset.id.clone(), format!("{}\n", preset.id).into_bytes())));
    seeds
}

/// Texts of this tree about boxes.
fn policy(root: &Path) -> Seeds {
    let mut seeds = short_forms();
    seeds.extend(texts(root, "fixtures/gate", &[".conf", "policy.json"], 8_000));
    for (name, text) in texts(root, "fixtures/machines", &[".txt"], 4_000) {
        if ["sysctl", "timeout", "nft", "ipvsadm", "nfct"].iter().any(|word| name.contains(word)) {
            seeds.push((name, text));
        }
    }
    for (name, text) in texts(root, "scenarios", &[".json"], usize::MAX) {
        if let Ok(story) = serde_json::from_slice::<serde_json::Value>(&text)
            && let Some(path) = story.get("path")
        {
            seeds.push((name.clone(), path.to_string().into_bytes()));
            seeds.push((
                format!("path-{name}"),
                serde_json::json!({"path": path, "filter": "tcp", "clock": {"hz": 250}}).to_string().into_bytes(),
            ));
        }
    }
    for (name, text) in [
        ("set", "ipvsadm --set 900 120 300\n"),
        (
            "proxy",
            "{\"kind\": \"KubeProxyConfiguration\", \"mode\": \"ipvs\", \"ipvs\": {\"tcpTimeout\": \"900s\"}, \"conntrack\": {\"tcpEstablishedTimeout\": \"24h0m0s\"}}",
        ),
        ("flags", "kube-proxy --proxy-mode=ipvs --ipvs-tcp-timeout=900s --conntrack-tcp-timeout-established=24h\n"),
        ("nfct", "nfct add timeout long inet tcp established 7440 close 10\n"),
        ("axis", "conntrack.established=300..7200:log50"),
        ("list", "2.ipvs.tcp=900,30m"),
    ] {
        seeds.push((name.to_owned(), text.as_bytes().to_vec()));
    }
    seeds
}

fn inventory(root: &Path) -> Seeds {
    let mut seeds = texts(root, "fixtures/machines", &[".txt", ".bundle"], 4_000);
    // Of the bundle also what comes later.
    for (name, text) in texts(root, "fixtures/machines", &[".bundle"], usize::MAX) {
        seeds.extend(text.chunks(3_000).enumerate().map(|(number, part)| (format!("{number}-{name}"), part.to_vec())));
    }
    seeds.extend(texts(root, "fixtures/gate", &["baseline.txt", ".conf"], 4_000));
    for (number, filter) in
        ["host 10.0.0.1 and tcp port 22 or 443", "net 10.0.0.0/8 and not (udp or ip6)", "src or dst portrange 1-1023"].iter().enumerate()
    {
        seeds.push((format!("filter-{number}"), filter.as_bytes().to_vec()));
    }
    for (name, text) in [
        ("ssh", "Host *\n  ServerAliveInterval 60\n  ServerAliveCountMax 3\n  TCPKeepAlive yes\n"),
        ("sshd", "ClientAliveInterval 5m\nMatch User git\n  ClientAliveCountMax 0\n"),
        (
            "keepalived",
            "lvs_timeouts tcp 900 tcpfin 120 udp 300\nvirtual_server 10.1.0.1 443 {\n  lb_algo rr\n  lb_kind NAT\n  persistence_timeout 360\n  real_server 10.2.0.1 443 {\n    weight 1\n  }\n}\n",
        ),
        (
            "kube-proxy",
            "kind: KubeProxyConfiguration\nmode: ipvs\nipvs:\n  tcpTimeout: 900s\nconntrack:\n  tcpEstablishedTimeout: 24h0m0s\n",
        ),
        ("words", "cut,new-hangs,lint-error,changed"),
    ] {
        seeds.push((name.to_owned(), text.as_bytes().to_vec()));
    }
    seeds
}

/// A text whose larger numbers are smaller: a recording of a table under pressure is run hundreds of times.
fn smaller(text: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(text);
    let mut out = String::new();
    for part in text.split_inclusive(|letter: char| !letter.is_ascii_digit()) {
        let (digits, rest) = part.split_at(part.trim_end_matches(|letter: char| !letter.is_ascii_digit()).len());
        let number = digits.parse().ok().filter(|number| (64..100_000).contains(number)).map(|number: u64| number / 32);
        out.push_str(&number.map_or_else(|| digits.to_owned(), |number| number.to_string()));
        out.push_str(rest);
    }
    out.into_bytes()
}

fn recordings(root: &Path) -> Seeds {
    let mut seeds = texts(root, "fixtures/recordings", &[".jsonl", ".zst", ".txt"], 6_000);
    for (_, text) in seeds.iter_mut().filter(|(name, _)| name.starts_with("conntrack-max") || name.contains("drop_entry")) {
        *text = head(smaller(text), 2_000);
    }
    seeds.extend(texts(root, "tests/vectors", &[".json"], 16_000));
    seeds
}

/// Short stories, which are run, beside those of the tree, which are long.
const STORY: &str = r#"{
    "title": "short", "duration": "5m", "seed": 7, "path": ["conntrack:strict,established=100", "ipvs:nat,tcp=60"],
    "links": {"round_trip": "20ms", "jitter": "1ms", "loss": 0.01}, "wheel": {"hz": 250},
    "client": {"keepalive": {"time": 50, "interval": 5, "probes": 3}}, "server": {},
    "script": [{"at": "1s", "who": "client", "send": 48}, {"at": "90s", "who": "server", "send": 1000}, {"at": "4m", "who": "client", "close": true}],
    "events": [{"at": "2m", "forget": 1}, {"at": "3m", "link_down": 2}, {"at": "200s", "link_up": 2}],
    "expect": {"forgotten": [{"box": 2, "state": "ESTABLISHED"}]},
    "variants": [{"name": "longer", "set": {"path": ["ipvs:nat,tcp=3600"]}}]
}"#;
const CROWD: &str = r#"{
    "title": "few", "duration": "2m", "path": ["conntrack:masquerade,established=60,max=4"], "client": {}, "server": {},
    "population": {"flows": 6, "arrive_over": "30s", "session": {"exponential": "40s"}, "think": {"pareto": {"min": "1s", "alpha": 1.5}},
        "exchange": {"request": 100, "reply": 2000}}
}"#;

fn scenario(root: &Path) -> Seeds {
    let mut seeds = texts(root, "scenarios", &[".json"], usize::MAX);
    seeds.retain(|(name, text)| name != "scenario.json" && text.len() < 8_000);
    seeds.push(("short".to_owned(), STORY.as_bytes().to_vec()));
    seeds.push(("few".to_owned(), CROWD.as_bytes().to_vec()));
    seeds
}

/// The seeds of a target; `root` is the root of the tree.
pub(crate) fn of(target: &str, root: &Path) -> Seeds {
    let mut seeds = match target {
        "capture" => {
            let ng = pcapng();
            let mut seeds = captures(root);
            seeds.push(("gzip".to_owned(), gzip(&ng)));
            seeds.push(("pcapng".to_owned(), ng));
            seeds.extend(fs::read(root.join("fixtures/gate/office-ssh.pcap.zst")).map(|bytes| ("zstd".to_owned(), bytes)));
            seeds
        }
        "decode" => decode(root),
        "path" => path(root),
        "scenario" => scenario(root),
        "policy" => policy(root),
        "inventory" => inventory(root),
        "recordings" => recordings(root),
        "packetdrill" => texts(root, "tests/packetdrill", &[".pkt"], usize::MAX),
        _ => Vec::new(),
    };
    // What was found once comes first to mind.
    let found = files(root, &format!("tests/fuzz/inputs/{target}"));
    seeds.extend(found.into_iter().map(|path| (named(&path), fs::read(&path).unwrap_or_default())));
    seeds
}
