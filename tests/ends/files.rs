//! Files are written whole or not at all; links and devices are written through; no file is meant twice.

use super::{SSH, STRICT, flowlapse, listed, program, scratch};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

fn text(path: &Path) -> &str {
    path.to_str().expect("text")
}

fn page(file: &Path) -> i32 {
    flowlapse(&["replay", SSH, "--box", STRICT, "--quiet", "--html", text(file)]).code
}

#[test]
fn a_file_keeps_its_permissions_and_a_link_stays_one() {
    let folder = scratch("links");
    let (real, link) = (folder.join("real.html"), folder.join("link.html"));
    fs::create_dir(folder.join("sub")).expect("a directory");
    fs::write(&real, "old").expect("it can be written");
    fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).expect("they can be set");
    symlink("real.html", &link).expect("a link");
    assert_eq!(page(&link), 0);
    assert!(fs::symlink_metadata(&link).expect("there").is_symlink());
    assert!(fs::read_to_string(&real).expect("there").contains("<html"));
    assert_eq!(fs::metadata(&real).expect("there").mode() & 0o777, 0o640);
    // A link to what is not there yet makes it, where the link leads.
    symlink("../made.html", folder.join("sub/far.html")).expect("a link");
    assert_eq!(page(&folder.join("sub/far.html")), 0);
    assert_eq!(listed(&folder), ["link.html", "made.html", "real.html", "sub"]);
    symlink("circle", folder.join("circle")).expect("a link");
    assert_eq!(page(&folder.join("circle")), 2);
}

#[test]
fn devices_and_pipes_are_written_through() {
    let folder = scratch("devices");
    assert_eq!(page(Path::new("/dev/null")), 0);
    assert!(!fs::metadata("/dev/null").expect("there").is_file());
    let ran = flowlapse(&["replay", SSH, "--box", STRICT, "--quiet", "--html", "/dev/stdout"]);
    assert!(ran.code == 0 && ran.out.contains("<html"), "{}", ran.err);
    // Also where that is a file: what was written before stays.
    let out = folder.join("out");
    let sink = fs::File::create(&out).expect("a file");
    let args = ["replay", SSH, "--box", STRICT, "--html", "/dev/stdout"];
    assert!(program().args(args).stdout(sink).status().expect("it starts").success());
    let both = fs::read_to_string(&out).expect("there");
    assert!(both.starts_with("<!") && both.contains("1 flow: 1 cut"), "{}", &both[..200]);
    let pipe = super::pipe(&folder);
    let reader = std::thread::spawn({
        let pipe = pipe.clone();
        move || fs::read_to_string(pipe).unwrap_or_default()
    });
    assert_eq!(page(&pipe), 0);
    assert!(reader.join().expect("read").contains("<html"));
    assert_eq!(listed(&folder), ["out", "pipe"]);
    let ran = flowlapse(&["replay", SSH, "--box", STRICT, "--html", "/dev/full"]);
    assert_eq!((ran.code, ran.err.as_str()), (2, "flowlapse: /dev/full: cannot be written: No space left on device\n"));
}

#[test]
fn what_cannot_be_written_is_told_and_nothing_is_left() {
    let folder = scratch("cannot");
    for (file, told) in [
        (folder.clone(), "it is a directory"),
        (folder.join("none/x.html"), "there is no directory"),
        (folder.join(".."), "it is no file name"),
    ] {
        let ran = flowlapse(&["replay", SSH, "--box", STRICT, "--html", text(&file)]);
        assert_eq!(ran.code, 2);
        assert!(ran.err.contains(told) && ran.err.lines().count() == 1, "{}", ran.err);
    }
    assert_eq!(listed(&folder), [""; 0]);
}

#[test]
fn two_programs_at_once_do_not_mix() {
    let folder = scratch("both");
    let file = folder.join("page.html");
    let whole = flowlapse(&["replay", SSH, "--box", STRICT, "--quiet", "--html", "/dev/stdout"]).out.len();
    let going: Vec<_> = (0..4)
        .map(|_| {
            let args = ["replay", SSH, "--box", STRICT, "--quiet", "--html", text(&file)];
            program().args(args).spawn().expect("it starts")
        })
        .collect();
    for mut one in going {
        assert!(one.wait().expect("it ends").success());
    }
    let there = fs::read_to_string(&file).expect("there");
    assert!(there.ends_with("</html>\n") && there.len().abs_diff(whole) < 400, "{} and {whole}", there.len());
    assert_eq!(listed(&folder), ["page.html"]);
}

#[test]
fn a_file_that_is_named_twice_is_refused_before_anything_is_read() {
    let folder = scratch("twice");
    let [capture, story, out] = ["x.pcap", "x.json", "out.svg"].map(|name| folder.join(name));
    let boxes = folder.join("box.conf");
    fs::copy(SSH, &capture).expect("copied");
    fs::copy("scenarios/ssh-firewall.json", &story).expect("copied");
    fs::write(&boxes, "net.netfilter.nf_conntrack_tcp_timeout_established = 600\n").expect("written");
    let link = folder.join("link.svg");
    symlink("out.svg", &link).expect("a link");
    let [capture, story, out, link, boxes] = [&capture, &story, &out, &link, &boxes].map(|path| text(path));
    let hidden = format!("{}/./x.pcap", text(&folder));
    let [first, second] = [format!("survival={out}"), format!("gaps={link}")];
    let at = format!("@{boxes}");
    for args in [
        &["replay", capture, "--box", STRICT, "--html", &hidden][..],
        &["replay", capture, "--box", STRICT, "--draw", &first, "--svg", out],
        &["replay", capture, "--box", STRICT, "--draw", &first, "--draw", &second],
        &["replay", capture, "--box", &at, "--html", boxes],
        &["shrink", capture, "--box", STRICT, "-o", capture],
        &["synth", story, "-o", story],
        &["run", story, "--html", story],
        &["sweep", capture, "--box", STRICT, "--vary", "conntrack.established=60,70", "--html", capture],
        &["capacity", capture, "--box", STRICT, "--html", capture],
        &["explain", capture, "--box", STRICT, "--svg", capture],
        &["check", story, "--json", story],
        &["check", text(&folder), "--json", story],
        &["check", story, "--json", out, "--junit", out],
        &["check", story, "--json", out, "--baseline", out, "--update-baseline"],
        &["audit", boxes, "--prometheus", boxes],
    ] {
        let before: Vec<_> = listed(&folder);
        let ran = flowlapse(args);
        assert_eq!(ran.code, 2, "{args:?}: {}", ran.err);
        assert!(ran.err.contains("is named twice") && ran.err.lines().count() == 1 && ran.out.is_empty(), "{args:?}: {}", ran.err);
        assert_eq!(listed(&folder), before, "{args:?}");
    }
    // Names of variants that come to one name of a file.
    let clash = r#"{"title": "t", "duration": "1m", "client": {}, "server": {}, "script": [],
        "variants": [{"name": "a b", "set": {"seed": 2}}, {"name": "a-b", "set": {"seed": 3}}]}"#;
    fs::write(story, clash).expect("written");
    let ran = flowlapse(&["run", story, "--write-pcap", text(&folder.join("case"))]);
    assert!(ran.code == 2 && ran.err.contains("variant 'a-b'") && ran.err.contains("is named twice"), "{}", ran.err);
    // What is no file may be named as often as one likes.
    assert_eq!(flowlapse(&["check", "scenarios/ssh-firewall.json", "--json", "/dev/null", "--junit", "/dev/null"]).code, 0);
}
