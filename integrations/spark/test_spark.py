#!/usr/bin/env python3
"""Tests of flowlapse_spark.py against what `flowlapse replay` says of the same captures on one machine.

    FLOWLAPSE=path/to/flowlapse python3 integrations/spark/test_spark.py

FLOWLAPSE is a binary with the feature `columnar`; without it the one on PATH is taken. The tests that need a cluster
start one of two executors on this machine, through `submit`. Every wait is bounded.
"""

from __future__ import annotations

import contextlib
import glob
import io
import json
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from typing import Any, Callable, Dict, Iterable, Iterator, List, NamedTuple, Optional, Tuple
from unittest import mock

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

import pyarrow as pa  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402

import flowlapse_spark as job  # noqa: E402

BINARY = os.path.abspath(os.environ.get("FLOWLAPSE") or shutil.which("flowlapse") or "flowlapse")
TREE = os.path.dirname(os.path.dirname(HERE))
FILES = int(os.environ.get("FLOWLAPSE_TEST_FILES", "500"))
BOX = ["--box", "conntrack:strict,established=300", "--box", "ipvs:nat,tcp=120"]
LIMIT = 900.0


# --- captures ----------------------------------------------------------------------------------------------------


class Record(NamedTuple):
    """One record of a capture: its time in nanoseconds, its bytes, and its length on the wire."""

    at: int
    data: bytes
    wire: int


NANOS, MICROS = 0xA1B23C4D, 0xA1B2C3D4


def read_pcap(path: str) -> List[Record]:
    """All records of a classic capture in Ethernet, of either byte order and resolution."""
    with open(path, "rb") as file:
        data = file.read()
    order = "<" if struct.unpack_from("<I", data)[0] in (NANOS, MICROS) else ">"
    unit = 1 if struct.unpack_from(order + "I", data)[0] == NANOS else 1000
    records, at = [], 24
    while at + 16 <= len(data):
        seconds, parts, kept, wire = struct.unpack_from(order + "4I", data, at)
        records.append(Record(seconds * 10**9 + parts * unit, data[at + 16:at + 16 + kept], wire))
        at += 16 + kept
    return records


def write_pcap(path: str, records: Iterable[Record]) -> str:
    with open(path, "wb") as file:
        file.write(struct.pack("<IHHiIII", NANOS, 2, 4, 0, 0, 262144, 1))
        for record in records:
            file.write(struct.pack("<4I", *divmod(record.at, 10**9), len(record.data), record.wire) + record.data)
    return path


def rotated(records: List[Record], directory: str, count: int) -> List[str]:
    """The records in order in `count` files, as a ring of a capture tool leaves them."""
    ends = [len(records) * place // count for place in range(count + 1)]
    return [write_pcap(os.path.join(directory, f"ring-{place:04}.pcap"), records[ends[place]:ends[place + 1]])
            for place in range(count)]


def torn(records: List[Record], directory: str, count: int, rng: random.Random) -> List[str]:
    """Cut at random places, each piece dealt out to two files by the toss of a coin: files whose times overlap."""
    ends = [0, *sorted(rng.sample(range(1, len(records)), count // 2 - 1)), len(records)]
    paths = []
    for place, (begin, end) in enumerate(zip(ends, ends[1:])):
        hands: Tuple[List[Record], List[Record]] = ([], [])
        for record in records[begin:end]:
            hands[rng.randrange(2)].append(record)
        paths += [write_pcap(os.path.join(directory, f"torn-{place}-{side}.pcap"), hand)
                  for side, hand in enumerate(hands)]
    return paths


def frame(proto: int, source: Tuple[str, int], target: Tuple[str, int], transport: bytes) -> bytes:
    """An Ethernet frame with an IPv4 packet; checksums are left at zero, as with offloading."""
    addresses = b"".join(bytes(map(int, end[0].split("."))) for end in (source, target))
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(transport) + 4, 0, 0x4000, 64, proto, 0) + addresses
    return b"\2\0\0\0\0\2\2\0\0\0\0\1\x08\0" + ip + struct.pack("!HH", source[1], target[1]) + transport


def tcp(source: Tuple[str, int], target: Tuple[str, int], seq: int, ack: int, flags: int, load: bytes = b"") -> bytes:
    return frame(6, source, target, struct.pack("!IIBBHHH", seq, ack, 0x50, flags, 64000, 0, 0) + load)


def udp(source: Tuple[str, int], target: Tuple[str, int], load: bytes) -> bytes:
    return frame(17, source, target, struct.pack("!HH", 8 + len(load), 0) + load)


def session(begin: int, client: Tuple[str, int], server: Tuple[str, int], silence: int) -> Iterator[Record]:
    """A handshake, a request and its answer, then after a silence another."""
    syn, ack, push = 2, 16, 24
    said = [(client, tcp(client, server, 100, 0, syn)), (server, tcp(server, client, 500, 101, syn | ack)),
            (client, tcp(client, server, 101, 501, ack)), (client, tcp(client, server, 101, 501, push, b"ask")),
            (server, tcp(server, client, 501, 104, push, b"told"))]
    late = [(client, tcp(client, server, 104, 505, push, b"again")), (server, tcp(server, client, 505, 109, ack))]
    for step, (_, data) in enumerate(said + late):
        at = begin + step * 20_000_000 + (silence if step >= len(said) else 0)
        yield Record(at, data, len(data))


START = 1_767_225_600 * 10**9


def behind_one_address(flows: int, rng: random.Random) -> List[Record]:
    """Very many connections out of one NAT address, and a few questions to a name server."""
    records: List[Record] = []
    for flow in range(flows):
        begin = START + rng.randrange(600 * 10**9) // 1_000_000 * 1_000_000
        client = ("192.0.2.1", 1024 + flow % 60000)
        server = ("198.51.100.7", 443 + flow // 60000)
        records += session(begin, client, server, rng.choice([1, 100, 200, 400]) * 10**9)
        if flow % 50 == 0:
            names = ("192.0.2.53", 53)
            for step, data in enumerate((udp(client, names, b"who?"), udp(names, client, b"he"))):
                records.append(Record(begin + step * 1_000_000, data, len(data)))
    return sorted(records, key=lambda record: record.at)


def synth(directory: str, flows: int) -> List[Record]:
    """Traffic of a population that comes, talks, thinks and goes, with times cut to microseconds so that some tie."""
    path = os.path.join(directory, "synth.pcap")
    subprocess.run([BINARY, "synth", os.path.join(TREE, "benches", "big.json"), f"--flows={flows}", "--micros",
                    "-o", path], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=LIMIT)
    records = read_pcap(path)
    os.remove(path)
    return records


# --- running things ----------------------------------------------------------------------------------------------


class Ran(NamedTuple):
    code: int
    out: str
    err: str


def submit(words: List[str], on_line: Optional[Callable[[str, int], None]] = None, limit: float = LIMIT) -> Ran:
    """The one command, on two executors; `on_line` hears every line of stderr as it comes."""
    env = {**os.environ, "PYSPARK_PYTHON": os.environ.get("PYSPARK_PYTHON", sys.executable)}
    child = subprocess.Popen([os.path.join(HERE, "submit"), "--executors", "2", *words], env=env, text=True,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    heard: List[str] = []

    def listen() -> None:
        for line in child.stderr:
            heard.append(line)
            if on_line:
                on_line(line, child.pid)

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    timer = threading.Timer(limit, lambda: os.killpg(child.pid, signal.SIGKILL))
    timer.start()
    try:
        out = child.stdout.read()
        code = child.wait()
    finally:
        timer.cancel()
    listener.join(10)
    child.stdout.close()
    child.stderr.close()
    return Ran(code, out, "".join(heard))


def flowlapse(*words: str) -> str:
    done = subprocess.run([BINARY, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=LIMIT)
    if done.returncode not in (0, 3):
        raise AssertionError(f"flowlapse {words[0]} ended with {done.returncode}: {done.stderr.decode()}")
    return done.stdout.decode()


def descendants(pid: int) -> List[int]:
    """Every process under `pid`."""
    parents: Dict[int, List[int]] = {}
    for entry in glob.glob("/proc/[0-9]*/stat"):
        with contextlib.suppress(OSError):
            with open(entry) as file:
                own, rest = file.read().split(" ", 1)
            parents.setdefault(int(rest.rsplit(")", 1)[1].split()[1]), []).append(int(own))
    found, todo = [], [pid]
    while todo:
        children = parents.get(todo.pop(), [])
        found += children
        todo += children
    return found


def executors(pid: int) -> List[int]:
    """The executors' JVMs under `pid`, and nobody else's."""
    found = []
    for child in descendants(pid):
        with contextlib.suppress(OSError):
            with open(f"/proc/{child}/cmdline", "rb") as file:
                words = file.read().split(b"\0")
            if words[0].endswith(b"java") and b"org.apache.spark.executor.CoarseGrainedExecutorBackend" in words:
                found.append(child)
    return found


def wait_for(path: str, limit: float = 120) -> str:
    """What is in a file, as soon as there is something."""
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            with open(path) as file:
                text = file.read()
            if text:
                return text
        time.sleep(0.05)
    raise AssertionError(f"{path} did not come")


class InDirectory(unittest.TestCase):
    """Tests with a directory of their own."""

    def setUp(self) -> None:
        self.directory = tempfile.mkdtemp(prefix="flowlapse-test-spark-")
        self.addCleanup(shutil.rmtree, self.directory, ignore_errors=True)
        self.out = os.path.join(self.directory, "out")

    def path(self, name: str) -> str:
        path = os.path.join(self.directory, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return path

    def subdirectory(self, name: str) -> str:
        path = os.path.join(self.directory, name)
        os.makedirs(path)
        return path

    def file(self, name: str, content: bytes = b"x") -> str:
        path = self.path(name)
        with open(path, "wb") as file:
            file.write(content)
        return path


# --- against one machine -----------------------------------------------------------------------------------------


@unittest.skipUnless(shutil.which(BINARY), "no flowlapse: set FLOWLAPSE")
class Archive(InDirectory):
    """Whole runs on two executors."""

    def run_job(self, captures: List[str], *more: str,
                on_line: Optional[Callable[[str, int], None]] = None) -> Dict[str, Any]:
        ran = submit([*captures, *BOX, "--binary", BINARY, "-o", self.out, *more], on_line)
        self.assertEqual(ran.code, 0, ran.err)
        self.assertTrue(os.path.exists(os.path.join(self.out, "_SUCCESS")))
        with open(os.path.join(self.out, "summary.json"), encoding="utf-8") as file:
            summary = json.load(file)
        self.assertIn(f"{summary['segments']} segments in {summary['flows']} flows", ran.out)
        return summary

    def assert_as_replay(self, files: List[str], *, summary_too: bool = True) -> None:
        """The archive's report is replay's, byte for byte, and the table says what the report says."""
        expected = flowlapse("replay", *files, *BOX, "--ndjson").splitlines()
        got = flowlapse("merge", self.out, "--ndjson").splitlines()
        if not summary_too:
            expected, got = expected[:-1], got[:-1]
        self.assertEqual(len(got), len(expected))
        for mine, theirs in zip(got, expected):
            self.assertEqual(mine, theirs)
        self.assert_table([json.loads(line) for line in got])

    def assert_table(self, told: List[Dict[str, Any]]) -> None:
        flows = [flow for flow in told if flow["type"] == "flow"]
        parts = sorted(glob.glob(os.path.join(self.out, "flows", "*.parquet")))
        rows = [row for part in parts for row in pq.read_table(part).to_pylist()]
        self.assertEqual(len(rows), len(flows))
        for row, flow in zip(rows, flows):
            self.assertEqual(end(row["client"], row["client_port"]), flow["client"])
            self.assertEqual(end(row["server"], row["server_port"]), flow["server"])
            for name in ("proto", "stream", "verdict", "first_frame", "last_frame"):
                self.assertEqual(row[name], flow[name], name)

    def test_rotated(self) -> None:
        """Flows that cross many small files, given as a glob."""
        files = rotated(synth(self.directory, 1500), self.subdirectory("in"), FILES)
        summary = self.run_job([os.path.join(self.directory, "in", "*.pcap")])
        self.assertEqual(summary["files"], FILES)
        self.assertLessEqual(summary["shuffle_bytes_per_segment"], 64)
        self.assertLessEqual(summary["shuffle_bytes_in_all"], 64 * summary["segments"])
        self.assertGreater(summary["verdicts"]["cut"], 0)
        self.assert_as_replay(files)

    def test_torn_and_shuffled(self) -> None:
        """Files whose times overlap, in no order; two views of one connection; ties of time between files."""
        rng = random.Random(7)
        files = torn(synth(self.directory, 500), self.subdirectory("in"), 40, rng)
        files += glob.glob(os.path.join(TREE, "fixtures", "captures", "ipvs-nat-*.pcap"))
        files.append(shutil.copy(files[3], self.path("in/again.pcap")))
        rng.shuffle(files)
        self.run_job(files, "--partitions", "5")
        self.assert_as_replay(files)

    def test_executor_killed(self) -> None:
        """One executor goes while it judges, with all that it had decoded and half of the slices that were written."""
        files = rotated(synth(self.directory, 1500), self.subdirectory("in"), 40)
        armed, waiting = self.path("armed"), self.path("waiting")
        slow = self.file("slow", f'''#!/bin/sh
case "$*" in *--part*) if [ -e {armed} ] && mkdir {waiting}; then echo $$ > {waiting}/pid; sleep 20; fi ;; esac 2>/dev/null
exec {shutil.which(BINARY)} "$@"
'''.encode())
        os.chmod(slow, 0o755)
        killed: List[int] = []

        def kill(line: str, pid: int) -> None:
            if line.startswith("judging"):
                self.file("armed")
                child = int(wait_for(waiting + "/pid"))
                killed.append(next(executor for executor in executors(pid) if child in descendants(executor)))
                os.kill(killed[0], signal.SIGKILL)

        summary = self.run_job(files, "--binary", slow, on_line=kill)
        self.assertEqual(len(killed), 1)
        self.assertGreaterEqual(summary["executors_lost"], 1)
        self.assertGreaterEqual(summary["tasks_tried_again"], 1)
        self.assert_as_replay(files)

    def test_damaged(self) -> None:
        """A file that breaks off in the middle and one that is no capture cost what is in them, no more."""
        files = rotated(synth(self.directory, 300), self.subdirectory("in"), 12)
        with open(files[5], "r+b") as file:
            file.truncate(os.path.getsize(files[5]) // 2 + 3)
        unreadable = self.file("in/ring-0006-no-capture.pcap", b"this is no capture\n" * 10)
        summary = self.run_job([os.path.join(self.directory, "in")])
        self.assertEqual([item["name"] for item in summary["left_out"]], [unreadable])
        self.assertEqual({item["name"] for item in summary["damaged"]}, {files[5]})
        self.assert_as_replay(files, summary_too=False)

    def test_one_address(self) -> None:
        """A NAT address with ten thousand flows is spread like any others."""
        records = behind_one_address(10_000, random.Random(3))
        files = rotated(records, self.subdirectory("in"), 8)
        summary = self.run_job(files, "--partitions", "4")
        self.assertEqual(summary["segments"], len(records))
        self.assertLessEqual(summary["shuffle_bytes_per_segment"], 64)
        self.assert_as_replay(files)

    def test_mistake_through_submit(self) -> None:
        ran = submit([os.path.join(self.directory, "none*.pcap"), *BOX, "--binary", BINARY, "-o", self.out])
        self.assertEqual((ran.code, ran.out), (2, ""))
        self.assertEqual(ran.err.count("\n"), 1, ran.err)
        self.assertIn("no capture there", ran.err)


def end(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


@unittest.skipUnless(shutil.which(BINARY), "no flowlapse: set FLOWLAPSE")
class Mistakes(InDirectory):
    """What the caller has to put right is found before Spark is started, and told in one line."""

    def told(self, *words: str) -> str:
        err = io.StringIO()
        with mock.patch.object(job, "start_spark", side_effect=AssertionError("Spark was started")):
            with contextlib.redirect_stderr(err):
                code = job.main(list(words))
        self.assertEqual(code, 2, err.getvalue())
        self.assertEqual(err.getvalue().count("\n"), 1, err.getvalue())
        return err.getvalue()

    def test_no_capture(self) -> None:
        for name in ("none.pcap", "none*.pcap", "."):
            self.subdirectory("empty") if name == "." else None
            place = os.path.join(self.directory, "empty" if name == "." else name)
            self.assertRegex(self.told(place, *BOX, "--binary", BINARY, "-o", self.out), "no capture|No such file")
        self.assertFalse(os.path.exists(self.out))

    def test_binary(self) -> None:
        capture = self.file("a.pcap")
        self.assertIn("not found", self.told(capture, *BOX, "--binary", self.directory + "/none", "-o", self.out))
        self.assertIn("not executable", self.told(capture, *BOX, "--binary", capture, "-o", self.out))

    def test_box(self) -> None:
        told = self.told(self.file("a.pcap"), "--box", "conntrackk", "--binary", BINARY, "-o", self.out)
        self.assertIn("conntrackk", told)
        told = self.told(self.file("a.pcap"), "--box", "@none.conf", "--binary", BINARY, "-o", self.out)
        self.assertIn("none.conf", told)

    def test_output_exists(self) -> None:
        self.subdirectory("out")
        told = self.told(self.file("a.pcap"), *BOX, "--binary", BINARY, "-o", self.out)
        self.assertIn("--overwrite", told)

    def test_words(self) -> None:
        self.assertIn("--box", self.told("a.pcap", "-o", self.out))
        self.assertIn("--partitions", self.told("a.pcap", *BOX, "-o", self.out, "--partitions", "0"))
        capture = self.file("a.pcap")
        self.assertIn("twice", self.told(capture, capture, *BOX, "--binary", BINARY, "-o", self.out))


# --- the pieces --------------------------------------------------------------------------------------------------


class Listing(InDirectory):
    """Which captures there are, in which order, and what they are called."""

    def names(self, *names: str) -> List[str]:
        return [capture.name for capture in job.list_captures(names)]

    def test_order(self) -> None:
        for name in ("b/2.pcap", "b/1.pcap", "b/c/3.pcap", "a.pcap", "b/.hidden", "b/_part/4.pcap"):
            self.file(name)
        at = self.directory
        self.assertEqual(self.names(f"{at}/b", f"{at}/a.pcap"),
                         [f"{at}/b/1.pcap", f"{at}/b/2.pcap", f"{at}/b/c/3.pcap", f"{at}/a.pcap"])
        self.assertEqual(self.names(f"{at}/b/*.pcap"), [f"{at}/b/1.pcap", f"{at}/b/2.pcap"])
        self.assertEqual([c.index for c in job.list_captures([f"{at}/b"])], [0, 1, 2])

    def test_literal_before_glob(self) -> None:
        name = self.file("a[1].pcap")
        self.assertEqual(self.names(name), [name])

    def test_relative(self) -> None:
        self.file("d/a.pcap")
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(self.directory)
        self.assertEqual(self.names("d"), ["d/a.pcap"])
        self.assertEqual(job.list_captures(["d/*"])[0].where, os.path.join(os.path.realpath(self.directory), "d/a.pcap"))

    def test_uris(self) -> None:
        """The code for remote file systems, on the local one."""
        for name in ("y/1/a b.pcap", "y/2/b.pcap", "y/2/c.txt"):
            self.file(name)
        root = "file://" + self.directory
        with mock.patch.object(job, "local_path", return_value=None):
            self.assertEqual(self.names(root + "/y"),
                             [root + "/y/1/a b.pcap", root + "/y/2/b.pcap", root + "/y/2/c.txt"])
            self.assertEqual(self.names(root + "/y/*/*.pcap"), [root + "/y/1/a b.pcap", root + "/y/2/b.pcap"])
            self.assertEqual(self.names(root + "/y/2/b.pcap"), [root + "/y/2/b.pcap"])
            for nothing in ("/none", "/y/*.pcap"):
                with self.assertRaises(job.Mistake):
                    self.names(root + nothing)

    def test_glob_patterns(self) -> None:
        for pattern, name, fits in (("s3a://b/*.pcap", "s3a://b/a.pcap", True), ("s3a://b/*", "s3a://b/c/a", False),
                                    ("x/**/*.gz", "x/a/b/c.gz", True), ("x/**/*.gz", "x/c.gz", True),
                                    ("x/[!a]?", "x/bc", True), ("x/[!a]?", "x/ac", False), ("x/a.b", "x/acb", False)):
            self.assertEqual(bool(job.glob_pattern(pattern).match(name)), fits, (pattern, name))

    def test_spread(self) -> None:
        captures = [job.Capture(i, str(i), str(i), size) for i, size in enumerate([1, 9, 1, 5, 4, 1, 3, 0])]
        parts = job.spread(captures, 3)
        self.assertEqual(sorted(c.index for part in parts for c in part), list(range(8)))
        self.assertLessEqual(max(sum(c.bytes for c in part) for part in parts), 9)
        self.assertEqual(parts, job.spread(captures, 3))


PIPE = pa.schema([pa.field("flow_hash", pa.int64(), False)])


class Conversations(InDirectory):
    """A child that misbehaves makes an error, and never a wait without end."""

    def python(self, text: str) -> List[str]:
        return [sys.executable, "-c", "import sys\nimport pyarrow as pa\n" + text]

    def batches(self, count: int) -> Iterator[pa.RecordBatch]:
        for _ in range(count):
            yield pa.record_batch([pa.array(range(20_000), pa.int64())], schema=PIPE)

    def feed(self, count: int) -> Callable[[Any], None]:
        def write(sink: Any) -> None:
            writer = pa.ipc.new_stream(sink, PIPE)
            for batch in self.batches(count):
                writer.write_batch(batch)
            writer.close()
        return write

    ECHO = ("r = pa.ipc.open_stream(sys.stdin.buffer)\nw = pa.ipc.new_stream(sys.stdout.buffer, r.schema)\n"
            "for b in r: w.write_batch(b)\nw.close()\n")

    def test_more_than_pipes_hold(self) -> None:
        found = list(job.conversation(self.python(self.ECHO), self.feed(50), whole=True))
        self.assertEqual(sum(batch.num_rows for batch in found), 1_000_000)

    def test_ends_early(self) -> None:
        for code, words in ((3, "ended with 3: the reason"), (0, "wrote what is no Arrow stream")):
            text = f"sys.stderr.write('the reason\\n'); sys.exit({code})"
            with self.assertRaisesRegex(RuntimeError, words):
                list(job.conversation(self.python(text), self.feed(50)))

    def test_does_not_read_on(self) -> None:
        text = "pa.ipc.new_stream(sys.stdout.buffer, pa.schema([])).close()"
        with self.assertRaisesRegex(RuntimeError, "did not read all"):
            list(job.conversation(self.python(text), self.feed(50), whole=True))

    def test_input_fails(self) -> None:
        """The error of the input is the one that is told, and what was sent so far is not taken for all."""
        def write(sink: Any) -> None:
            self.feed(1)
            raise KeyError("upstream")
        with self.assertRaisesRegex(KeyError, "upstream"):
            list(job.conversation(self.python(self.ECHO), write))

    def test_closed(self) -> None:
        """Whoever does not want the rest leaves no child behind."""
        before = set(descendants(os.getpid()))
        rows = job.conversation(self.python(self.ECHO), self.feed(1000))
        next(rows)
        rows.close()
        deadline = time.monotonic() + 20
        while set(descendants(os.getpid())) - before and time.monotonic() < deadline:
            time.sleep(0.05)
        self.assertEqual(set(descendants(os.getpid())) - before, set())

    def test_numbering(self) -> None:
        schema = pa.schema([("proto", pa.utf8()), ("stream", pa.int32())])
        batches = [pa.record_batch([protos, [None] * len(protos)], schema=schema)
                   for protos in (["tcp", "udp", "tcp"], [], ["udp", "tcp"])]
        with mock.patch("pyspark.TaskContext.get") as context:
            context.return_value.partitionId.return_value = 4
            got = job.numbering({4: (10, 100)})(iter(batches))
            self.assertEqual([n for batch in got for n in batch.column("stream").to_pylist()], [10, 100, 11, 101, 12])


class Boxes(InDirectory):
    """Files that boxes are made of travel under the names that they have."""

    def test_packed_with_what_they_name(self) -> None:
        import tarfile
        self.file("gw/sysctl.d/90.conf", b"net.netfilter.nf_conntrack_tcp_loose = 0\n")
        path = self.file("gw/boxes/path.json", b'{"path": ["@../sysctl.d/90.conf:strict", "aws-nlb"]}')
        with tarfile.open(job.pack_boxes(["ipvs:tcp=900", "@" + path], self.directory)) as tar:
            self.assertEqual(sorted(tar.getnames()), sorted(
                os.path.join(self.directory, name)[1:] for name in ("gw/sysctl.d/90.conf", "gw/boxes/path.json")))
        near = os.path.relpath(path)
        self.assertEqual(job.relative("@" + path + ":strict"), "@" + near + ":strict")
        self.assertEqual(job.relative(path), near)
        self.assertEqual(job.relative("ipvs:tcp=900"), "ipvs:tcp=900")
        self.assertIsNone(job.pack_boxes(["ipvs:tcp=900"], self.directory))


@unittest.skipUnless(shutil.which(BINARY), "no flowlapse: set FLOWLAPSE")
class Remote(InDirectory):
    """Captures behind a client library are streamed, and say when they are not there."""

    def decode(self, path: str) -> List[pa.RecordBatch]:
        with mock.patch.object(job, "local_path", return_value=None):
            return list(job.decode_one(BINARY, 3, "called so", "file://" + path))

    def test_as_a_local_one(self) -> None:
        path = write_pcap(self.path("a b.pcap"), behind_one_address(50, random.Random(1)))
        direct = list(job.decode_one(BINARY, 3, "called so", path))
        self.assertEqual(pa.Table.from_batches(self.decode(path)), pa.Table.from_batches(direct))

    def test_not_there(self) -> None:
        ledger, = job.ledgers_of(self.decode(self.directory + "/none.pcap"))
        ledger = json.loads(ledger)
        self.assertEqual((ledger["file"], ledger["name"], ledger["segments"]), (3, "called so", 0))
        self.assertIn("none.pcap", ledger["error"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
