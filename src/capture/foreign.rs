//! What a file is that is no capture of ours: the formats of other tools by what they begin with.
//!
//! Nothing here reads on: a name is all that comes of it, and a way to convert the file where there is one.

/// A format that Wireshark's editcap converts.
const CONVERTED: [(&[u8], &str); 29] = [
    (b"snoop\0\0\0", "a snoop file"),
    (b"RTSS", "a Microsoft Network Monitor 1 file"),
    (b"GMBU", "a Microsoft Network Monitor 2 file"),
    (b"TRSNIFF data    \x1a", "a Sniffer (DOS) file"),
    (b"XCP\0", "a Windows Sniffer or NetXRay file"),
    (b"VL\0\0", "a NetXRay 1 file"),
    (b"\x7fver", "a WildPackets or Savvius Peek (tagged) file"),
    (b"btsnoop\0", "a btsnoop file (Bluetooth)"),
    (b"iptrace 1.0", "an AIX iptrace 1.0 file"),
    (b"iptrace 2.0", "an AIX iptrace 2.0 file"),
    (b"\x05VNF", "a Visual Networks UpTime file"),
    (b"ObserverPktBufferVersion=", "a Network Instruments Observer file"),
    (b"\xaa\xaa\xaa\xaa", "a 5Views file"),
    (b"\0\0\x02\0\x12\x05\0\x10", "a Tektronix K12 (rf5) file"),
    (b"+---------+---------------+----------+", "a Tektronix K12 text file"),
    (b"Session Transcript", "a Catapult DCT2000 file"),
    (b"TCPIPtrace", "a VMS TCPIPtrace file"),
    (b"EyeSDN", "an EyeSDN file"),
    (b"T\x52\0\x64\0", "an HP-UX nettl file"),
    (b"TR\0\xc8\0", "an HP-UX nettl file"),
    (b"\x42\xd2\0\x34\x12\x66\x22\x88", "a RADCOM analyzer file"),
    (b"#Format=4\r\n", "a Daintree SNA file"),
    (b"LOGG", "a Vector BLF file"),
    (b"***BUSMASTER Ver", "a BUSMASTER log"),
    (b"NetScaler", "a NetScaler trace"),
    (b"cpse", "a Colasoft Capsa file"),
    (b"MPCSII", "a Micropross log"),
    (b"V0208\0\0", "an Aethra PC108 file"),
    (b"TTL ", "a TTTech TTL file"),
];

/// What is no capture of packets at all.
const NO_PACKETS: [(&[u8], &str); 12] = [
    (b"\x7fELF", "a program (ELF)"),
    (b"MZ", "a Windows program"),
    (b"\x89PNG\r\n", "a picture (PNG)"),
    (b"\xff\xd8\xff", "a picture (JPEG)"),
    (b"GIF8", "a picture (GIF)"),
    (b"%PDF-", "a PDF document"),
    (b"SQLite format 3\0", "an SQLite database"),
    (b"PML_", "a Process Monitor log"),
    (b"__CURSOR=", "an export of the systemd journal"),
    (b"LPKSHHRH", "a systemd journal"),
    (b"-----BEGIN ", "a certificate or key (PEM)"),
    (b"\x78\x9f\x3e\x22", "a TNEF attachment"),
];

/// Where tar writes that it is tar.
const TAR: std::ops::Range<usize> = 257..262;

/// What a file that begins with `head` is: a name to stand behind "it is", with what to do.
pub(super) fn known(head: &[u8]) -> Option<String> {
    let of = |table: &[(&[u8], &'static str)]| table.iter().find(|(magic, _)| head.starts_with(magic)).map(|(_, name)| *name);
    if let Some(name) = of(&CONVERTED).or_else(|| text(head)) {
        return Some(format!("it is {name}; convert it with editcap -F pcapng"));
    }
    if head.get(TAR).is_some_and(|magic| magic == b"ustar") {
        return Some("it is a tar archive; unpack it first".to_owned());
    }
    match head {
        // A record of one of two types, less than a kilobyte long.
        [1 | 7, 0x10, _, 0..4, ..] => Some("it is a Novell LANalyzer file; convert it with editcap -F pcapng".to_owned()),
        [0x1f, 0x8b, ..] | [0x28, 0xb5, 0x2f, 0xfd, ..] => Some("it is compressed twice; decompress it once".to_owned()),
        _ => of(&NO_PACKETS).map(|name| format!("it is {name}")),
    }
}

/// The formats that are lines of text, by their first line.
fn text(head: &[u8]) -> Option<&'static str> {
    let first = head.split(|byte| *byte == b'\n').next()?;
    let line = std::str::from_utf8(first.get(..first.len().min(200))?).ok()?.trim_end();
    let mut words = line.split_whitespace();
    let (one, two, three) = (words.next()?, words.next(), words.next());
    let inner = |word: &str, open, close| word.strip_prefix(open).and_then(|rest| rest.strip_suffix(close)).map(str::to_owned);
    // (1600000000.123456) can0 123#1122
    let is_time = inner(one, '(', ')').is_some_and(|time| time.parse::<f64>().is_ok());
    if is_time && three.is_some_and(|frame| frame.contains('#')) && two.is_some() {
        return Some("a candump log");
    }
    if line.contains("TCPtrace") || line.contains("INTERnet trace") {
        return Some("a VMS TCPtrace file");
    }
    if line.starts_with("ETHERWATCH ") {
        return Some("a DBS Etherwatch file");
    }
    if line.contains("COMMUNICATIONS TRACE") && line.contains("Title:") {
        return Some("an IBM iSeries communications trace");
    }
    if line.contains("L2-TX") || line.contains("L2-RX") {
        return Some("a CoSine debug log");
    }
    None
}
