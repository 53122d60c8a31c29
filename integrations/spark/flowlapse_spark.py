#!/usr/bin/env python3
"""Run flowlapse over an archive of captures on an Apache Spark cluster.

    spark-submit --master M flowlapse_spark.py CAPTURE... --box SPEC [--box SPEC] -o OUT

Every capture is decoded once, wherever an executor is free. The segments of one flow, out of all captures, then
meet in one partition, in the order of time, and are judged there as `flowlapse replay` judges them on one machine.
This file only moves rows: what a row means is known to the flowlapse binary alone, which runs as a child of the
Python workers and speaks Arrow on its standard streams. README.md has the layout of OUT and the options.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import glob
import heapq
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from typing import Any, BinaryIO, Callable, Dict, Iterable, Iterator, List, NoReturn, Optional, Tuple
from urllib.parse import quote, unquote

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import fs

Batches = Iterator[pa.RecordBatch]

PIECE = 1 << 20
"""How much of a capture is passed on at once from a remote file system."""

SEGMENTS_PER_PARTITION = 20_000_000
BYTES_PER_PARTITION = 256 << 20
FLOWS_PER_FILE = 2_000_000

OURS = ("_SUCCESS", "archive.json", "flows", "ledgers.ndjson", "parts.ndjson", "summary.json")
"""What this job writes into OUT, and therefore all that --overwrite deletes."""

SLICE_COLUMNS = ("flow_hash", "order_ns", "slice")


class Mistake(Exception):
    """Something the caller has to put right: one line, exit code 2."""


class Failure(Exception):
    """The job could not be brought to its end: one line, exit code 1."""


# --- what is asked for -------------------------------------------------------------------------------------------


class Parser(argparse.ArgumentParser):
    """argparse prints the usage with every mistake; here a mistake is one line."""

    def error(self, message: str) -> NoReturn:
        raise Mistake(message)


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def parse(arguments: List[str]) -> argparse.Namespace:
    p = Parser(prog="flowlapse_spark.py", description="Run flowlapse over an archive of captures on Apache Spark.",
               allow_abbrev=False)
    p.add_argument("captures", nargs="+", metavar="CAPTURE",
                   help="a path, glob, directory or URI (file:, hdfs:, s3a:, gs:, abfs:)")
    p.add_argument("--box", action="append", required=True, metavar="SPEC",
                   help="a box on the path, from the client on; repeat for several")
    p.add_argument("-o", "--output", required=True, metavar="OUT", help="a directory: path or URI")
    p.add_argument("--overwrite", action="store_true", help="delete what an earlier run left in OUT")
    p.add_argument("--binary", metavar="PATH", default="flowlapse",
                   help="the program, built with the feature columnar: on the PATH, or target/release of this tree, without it; it is "
                        "sent to the executors, unless it is local:PATH, which is there already")
    p.add_argument("--partitions", type=positive, metavar="N",
                   help="into how many parts the segments are spread; without it by their number")
    p.add_argument("--partition-bytes", type=positive, default=BYTES_PER_PARTITION, metavar="N",
                   help="about how many bytes of captures are decoded in one task")
    p.add_argument("--no-state", action="store_true",
                   help="leave out the column `run`: smaller, but `flowlapse merge` needs it")
    for name in ("--filter", "--clock", "--hz", "--jiffies", "--max-flows"):
        p.add_argument(name, help="as with flowlapse replay")
    return p.parse_args(arguments)


def passed_on(options: argparse.Namespace) -> List[str]:
    """The options that are the binary's business, as it takes them."""
    words: List[str] = []
    for name in ("filter", "clock", "hz", "jiffies", "max_flows"):
        value = getattr(options, name)
        if value is not None:
            words.append(f"--{name.replace('_', '-')}={value}")
    return words


# --- where captures are ------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Capture:
    """One file: its place decides ties of time, its name is what reports call it, `where` is what is opened."""

    index: int
    name: str
    where: str
    bytes: int


URI = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):(?://([^/]*))?(/.*)?$", re.DOTALL)
SCHEMES = {"s3a": "s3", "s3n": "s3", "gcs": "gs"}


def is_uri(name: str) -> bool:
    found = URI.match(name)
    return bool(found) and (found.group(2) is not None or found.group(3) is not None)


def local_path(name: str) -> Optional[str]:
    """The path of a name that every process opens by itself; None for what is behind a client library."""
    if not is_uri(name):
        return os.path.abspath(name)
    scheme, _, path = URI.match(name).groups()
    return unquote(path or "/") if scheme.lower() == "file" else None


def remote(name: str) -> Tuple[fs.FileSystem, str, str]:
    """The file system of a URI, the path in it, and the root that makes such paths URIs again.

    Names are taken literally, so what a URI does not allow is quoted here.
    """
    scheme, authority, path = URI.match(name).groups()
    spelled = f"{SCHEMES.get(scheme.lower(), scheme.lower())}://{authority or ''}{quote(path or '/', safe='/')}"
    try:
        system, inside = fs.FileSystem.from_uri(spelled)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise Mistake(f"{name}: {first_line(error)}") from None
    literal = f"{scheme}://{authority or ''}{path or '/'}"
    root = literal[: len(literal) - len(inside)] if literal.endswith(inside) else f"{scheme}://"
    return system, inside, root


def first_line(error: BaseException) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0]


MAGIC = re.compile(r"[*?[]")


def hidden(path: str, below: str) -> bool:
    """Whether Hadoop's rule calls it a file that is not data: a part of the path begins with `.` or `_`."""
    inside = path[len(below):].strip("/")
    return any(part[:1] in "._" for part in inside.split("/"))


def local_files(name: str, path: str) -> List[Tuple[str, str, int]]:
    """(name, path, bytes) of what a local name stands for, sorted by name where it stands for many."""
    if os.path.isdir(path):
        inside = [os.path.join(at, file) for at, _, files in os.walk(path, onerror=refuse) for file in files]
        found = sorted(file for file in inside if not hidden(file, path))
    elif os.path.lexists(path) or not MAGIC.search(path):
        found = [path]
    else:
        found = sorted(file for file in glob.glob(path, recursive=True) if not os.path.isdir(file))
    if not found:
        raise Mistake(f"{name}: no capture there")
    return [(spelled(name, path, file), file, size_of(name, file)) for file in found]


def refuse(error: OSError) -> None:
    raise Mistake(f"{error.filename}: {error.strerror}")


def size_of(name: str, path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError as error:
        raise Mistake(f"{name}: {error.strerror}") from None


def spelled(name: str, path: str, file: str) -> str:
    """A file's name as it would have been written by hand: relative where the argument is relative."""
    if file == path:
        return name
    if is_uri(name):
        return "file:" + quote(file)
    return file if os.path.isabs(name) else os.path.relpath(file)


def glob_pattern(pattern: str) -> "re.Pattern[str]":
    """A glob as an expression over whole paths: `*` and `?` stay within a directory, `**` does not."""
    out, at = "", 0
    while at < len(pattern):
        if pattern.startswith("**/", at):
            out, at = out + "(?:.*/)?", at + 3
            continue
        letter, close = pattern[at], pattern.find("]", at + 2)
        if letter == "[" and close > 0:
            inner = pattern[at + 1:close].replace("\\", "\\\\")
            out, at = out + "[" + ("^" + inner[1:] if inner[0] == "!" else inner) + "]", close + 1
            continue
        out += {"*": "[^/]*", "?": "[^/]"}.get(letter, re.escape(letter))
        at += 1
    return re.compile(out + r"\Z", re.DOTALL)


def remote_files(name: str) -> List[Tuple[str, str, int]]:
    """As `local_files`, for a URI."""
    magic = MAGIC.search(name)
    fixed = name[: name.rindex("/", 0, magic.start()) + 1] if magic else name
    system, inside, root = remote(fixed)
    try:
        about = system.get_file_info(inside)
        if not magic and about.type == fs.FileType.File:
            return [(name, name, about.size)]
        if about.type != fs.FileType.Directory:
            raise Mistake(f"{name}: no capture there")
        infos = system.get_file_info(fs.FileSelector(inside, recursive=True))
    except (pa.ArrowException, OSError) as error:
        raise Mistake(f"{name}: {first_line(error)}") from None
    infos = [info for info in infos if info.type == fs.FileType.File]
    if magic:
        wanted = glob_pattern(name)
        kept = [(root + info.path, info.size) for info in infos if wanted.match(root + info.path)]
    else:
        kept = [(root + info.path, info.size) for info in infos if not hidden(info.path, inside)]
    if not kept:
        raise Mistake(f"{name}: no capture there")
    return [(uri, uri, size) for uri, size in sorted(kept)]


def list_captures(names: Iterable[str]) -> List[Capture]:
    """The table of files, in the order of the arguments."""
    captures: List[Capture] = []
    seen: Dict[str, str] = {}
    for name in names:
        path = local_path(name)
        for called, where, size in local_files(name, path) if path else remote_files(name):
            if where in seen or called in seen.values():
                raise Mistake(f"{called}: named twice")
            try:
                called.encode("utf-8")
            except UnicodeEncodeError:
                raise Mistake(f"{called!r}: a name that is not UTF-8") from None
            seen[where] = called
            captures.append(Capture(len(captures), called, where, size))
    return captures


def spread(captures: List[Capture], parts: int) -> List[List[Capture]]:
    """Parts of about the same number of bytes: the biggest file first, each to the part that has least."""
    heap = [(0, part) for part in range(parts)]
    spread_: List[List[Capture]] = [[] for _ in range(parts)]
    for capture in sorted(captures, key=lambda c: (-c.bytes, c.index)):
        held, part = heapq.heappop(heap)
        spread_[part].append(capture)
        heapq.heappush(heap, (held + max(capture.bytes, 1), part))
    return [part for part in spread_ if part]


# --- the binary, on the driver -----------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Tool:
    """The flowlapse binary: where the driver finds it, and what executors are told."""

    path: str
    shipped: bool

    def run(self, words: List[str], given: bytes = b"") -> bytes:
        """Its standard output. What it says on a usage error is the caller's mistake, anything else a failure."""
        try:
            done = subprocess.run([self.path, *words], input=given, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        except OSError as error:
            raise Mistake(f"--binary {self.path}: {error.strerror}") from None
        if done.returncode == 0:
            return done.stdout
        said = said_lines(done.stderr)[:1]
        text = said[0] if said else f"flowlapse {words[0]} ended with {done.returncode}"
        raise (Mistake if done.returncode == 2 else Failure)(text)


def find_tool(name: str) -> Tool:
    built = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "target", "release", "flowlapse")
    if name == "flowlapse" and not shutil.which(name) and os.access(built, os.X_OK):
        name = os.path.normpath(built)
    shipped = not name.startswith("local:")
    path = name if shipped else name[len("local:"):]
    found = shutil.which(path)
    if not found:
        raise Mistake(f"--binary {path}: " + ("not executable" if os.path.exists(path) else "not found"))
    return Tool(os.path.abspath(found), shipped)


def said_lines(stderr: bytes) -> List[str]:
    """What the binary said, without its name before it."""
    lines_ = [line for line in stderr.decode("utf-8", "replace").splitlines() if line.strip()]
    return [re.sub(r"^(flowlapse|error): ", "", line) for line in lines_]


def decode_words(index: int, name: str, where: str) -> List[str]:
    return ["segments", "--slices", f"--file-index={index}", f"--name={name}", "--keep-going", "-o", "-", "--", where]


def judge_words(archive: str, boxes: List[str], others: List[str]) -> List[str]:
    return ["replay", "--segments", "-", "--archive", archive, *(f"--box={box}" for box in boxes), *others,
            "--part", "-"]


@dataclasses.dataclass(frozen=True)
class Schemas:
    """The two tables, as this very binary writes them."""

    slices: pa.Schema
    flows: pa.Schema

    @property
    def judged(self) -> pa.Schema:
        """What is sent to be judged."""
        return pa.schema([self.slices.field(name) for name in SLICE_COLUMNS])


def probe(tool: Tool, boxes: List[str], others: List[str], scratch: str) -> Schemas:
    """Go the whole way once with nothing: it gives the schemas, and finds wrong boxes before a cluster is asked."""
    slices = pa.ipc.open_stream(tool.run(decode_words(0, "nothing", "-")))
    ledgers = ledgers_of(slices)
    archive = write_archive(tool, ledgers, os.path.join(scratch, "nothing"))
    empty = io.BytesIO()
    with pa.ipc.new_stream(empty, pa.schema([slices.schema.field(name) for name in SLICE_COLUMNS])):
        pass
    flows = pa.ipc.open_stream(tool.run(judge_words(archive, boxes, others), empty.getvalue()))
    return Schemas(slices.schema, flows.schema)


def ledgers_of(batches: Iterable[pa.RecordBatch]) -> List[str]:
    return [text for batch in batches for text in batch.column("ledger").to_pylist() if text is not None]


def write_archive(tool: Tool, ledgers: List[str], directory: str) -> str:
    """The facts about all captures together, as a file."""
    os.makedirs(directory, exist_ok=True)
    lines, archive = os.path.join(directory, "ledgers.ndjson"), os.path.join(directory, "archive.json")
    with open(lines, "w", encoding="utf-8") as file:
        file.writelines(line + "\n" for line in ledgers)
    with open(archive, "wb") as file:
        file.write(tool.run(["merge", "--ledgers", lines]))
    return archive


# --- boxes that are files ----------------------------------------------------------------------------------------

BOXES = "flowlapse-boxes.tar"


def box_file(spec: str) -> Optional[str]:
    """The file that a --box names, if it names one: `@NAME[:SETTINGS]`, `NAME.json`, or a slash before any colon."""
    at = spec[1:] if spec.startswith("@") else spec
    for name in (at, at.split(":", 1)[0]):
        if (spec.startswith("@") or name.endswith(".json") or "/" in name) and os.path.isfile(name):
            return name
    return None


def with_references(path: str, found: Dict[str, None]) -> None:
    """`path` and the files that it names in turn (`"@../90-conntrack.conf:strict"`), each once."""
    path = os.path.normpath(os.path.join(os.getcwd(), path))
    if path in found or not os.path.isfile(path):
        return
    found[path] = None
    with open(path, encoding="utf-8", errors="replace") as file:
        for name in re.findall(r'"@([^"]+)"', file.read()):
            for spelling in (name, name.split(":", 1)[0]):
                with_references(os.path.join(os.path.dirname(path), spelling), found)


def pack_boxes(boxes: List[str], scratch: str) -> Optional[str]:
    """A tar with every file that the boxes need, under its absolute path; None where none needs a file.

    The paths are kept so that files find each other, and so that a box is called on an executor what it is called
    here: executors unpack it somewhere and start the binary in what is this directory there.
    """
    files: Dict[str, None] = {}
    for box in boxes:
        name = box_file(box)
        if name:
            with_references(name, files)
    if not files:
        return None
    archive = os.path.join(scratch, BOXES)
    with tarfile.open(archive, "w") as tar:
        for path in files:
            tar.add(os.path.realpath(path), arcname=path.lstrip("/"))
    return archive


def shipped(name: str) -> str:
    """On an executor: where a file that was sent to it lies. Spark's own answer is relative to a directory that the
    binary is not started in."""
    from pyspark import SparkFiles

    return os.path.abspath(SparkFiles.get(name))


def unpack_boxes() -> str:
    """On an executor: the directory that stands for the driver's root, unpacked once however many tasks ask."""
    root = shipped("flowlapse-boxes")
    if not os.path.isdir(root):
        mine = tempfile.mkdtemp(dir=os.path.dirname(root))
        with tarfile.open(shipped(BOXES)) as tar:
            tar.extractall(mine)
        try:
            os.rename(mine, root)
        except OSError:
            shutil.rmtree(mine, ignore_errors=True)
    return root


def relative(box: str) -> str:
    """A --box whose file has an absolute path, as seen from here: the same words on every executor, since reports
    repeat them and `flowlapse merge` reads them again."""
    name = box_file(box)
    if not name or not os.path.isabs(name):
        return box
    at = "@" if box.startswith("@") else ""
    return at + os.path.relpath(name) + box[len(at) + len(name):]


# --- on the executors --------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Program:
    """How an executor starts the binary."""

    name: str
    shipped: bool
    boxes: bool
    cwd: str

    def command(self) -> str:
        if not self.shipped:
            return self.name
        path = shipped(self.name)
        if not os.access(path, os.X_OK):
            os.chmod(path, 0o755)
        return path

    def place(self) -> Optional[str]:
        """Where the binary has to stand so that it finds the files of boxes."""
        if not self.boxes:
            return None
        cwd = unpack_boxes() + self.cwd
        os.makedirs(cwd, exist_ok=True)
        return cwd


class Feeder(threading.Thread):
    """Writes a child's standard input while somebody else reads its output, so that neither waits for the other."""

    def __init__(self, child: "subprocess.Popen[bytes]", write: Callable[[BinaryIO], None]) -> None:
        super().__init__(daemon=True)
        self.child, self.write = child, write
        self.error: Optional[BaseException] = None
        self.cut_short = False

    def run(self) -> None:
        sink = self.child.stdin
        try:
            self.write(sink)
            sink.flush()
        except BrokenPipeError:
            self.cut_short = True
        except BaseException as error:  # whatever it is, the thread that reads has to know
            self.error = error
            self.child.kill()  # before its input ends: it must not take what it has for everything
        with contextlib.suppress(OSError):
            sink.close()


def conversation(command: List[str], write: Optional[Callable[[BinaryIO], None]] = None,
                 cwd: Optional[str] = None, whole: bool = False) -> Batches:
    """Start the binary and give its batches as they come. With `whole` it has to read all its input."""
    with tempfile.TemporaryFile() as errors:
        child = subprocess.Popen(command, stdin=subprocess.PIPE if write else subprocess.DEVNULL,
                                 stdout=subprocess.PIPE, stderr=errors, cwd=cwd)
        feeder = Feeder(child, write) if write else None
        try:
            if feeder:
                feeder.start()
            broken: Optional[pa.ArrowException] = None
            try:
                yield from pa.ipc.open_stream(child.stdout)
            except pa.ArrowException as error:
                broken = error
            finish(child, feeder, errors, broken, whole)
        finally:
            child.kill()
            child.wait()
            child.stdout.close()


def finish(child: "subprocess.Popen[bytes]", feeder: Optional[Feeder], errors: BinaryIO,
           broken: Optional[pa.ArrowException], whole: bool) -> None:
    """Raise whatever went wrong, the cause before its consequences, so that Spark tries the task again."""
    child.stdout.close()
    code = child.wait()
    if feeder and feeder.error:
        raise feeder.error
    if code != 0:
        errors.seek(0)
        said = " / ".join(said_lines(errors.read())[-3:])
        raise RuntimeError(f"flowlapse {child.args[1]} ended with {code}: {said or 'it said nothing'}")
    if broken:
        raise RuntimeError(f"flowlapse {child.args[1]} wrote what is no Arrow stream: {first_line(broken)}")
    if feeder:
        feeder.join()
        if feeder.error:
            raise feeder.error
        if whole and feeder.cut_short:
            raise RuntimeError(f"flowlapse {child.args[1]} did not read all its input")


def decoding(program: Program) -> Callable[[Batches], Batches]:
    """Captures to slices: (index, name, where) to what the binary makes of each."""

    def run(batches: Batches) -> Batches:
        binary = program.command()
        for batch in batches:
            for row in batch.to_pylist():
                yield from decode_one(binary, row["index"], row["name"], row["where"])

    return run


def decode_one(binary: str, index: int, name: str, where: str) -> Batches:
    path = local_path(where)
    if path is not None:
        yield from conversation([binary, *decode_words(index, name, path)])
        return
    command = [binary, *decode_words(index, name, "-")]
    try:
        system, inside, _ = remote(where)
        source = system.open_input_stream(inside, compression=None)
    except (FileNotFoundError, PermissionError) as error:
        yield from left_out(command, first_line(error))
        return
    with source:
        yield from conversation(command, lambda sink: copy(source, sink))


def copy(source: Any, sink: BinaryIO) -> None:
    while True:
        try:
            piece = source.read(PIECE)
        except OSError as error:  # not to be taken for a child that has gone
            raise RuntimeError(f"reading on failed: {first_line(error)}") from error
        if not piece:
            return
        sink.write(piece)


def left_out(command: List[str], why: str) -> Batches:
    """The rows of a capture that is not there: those of an empty one, with the reason in its ledger."""
    for batch in conversation(command, lambda sink: None):
        at = batch.schema.get_field_index("ledger")
        texts = [text and json.dumps({**json.loads(text), "error": why}, separators=(",", ":"), ensure_ascii=False)
                 for text in batch.column(at).to_pylist()]
        yield batch.set_column(at, batch.schema.field(at), pa.array(texts, batch.schema.field(at).type))


def judging(program: Program, schema: pa.Schema, boxes: List[str], others: List[str]) -> Callable[[Batches], Batches]:
    """Slices, sorted by flow and time, to flows: one binary a partition."""

    def run(batches: Batches) -> Batches:
        def write(sink: BinaryIO) -> None:
            writer = pa.ipc.new_stream(sink, schema)
            for batch in batches:
                writer.write_batch(pa.RecordBatch.from_arrays(batch.columns, schema=schema))
            writer.close()

        words = judge_words(shipped("archive.json"), boxes, others)
        yield from conversation([program.command(), *words], write, program.place(), whole=True)

    return run


def numbering(offsets: Dict[int, Tuple[int, int]]) -> Callable[[Batches], Batches]:
    """Fill in `stream`: the rows come in the archive's order, and `offsets` tells how many flows lie before them."""

    def run(batches: Batches) -> Batches:
        from pyspark import TaskContext

        tcp, udp = offsets.get(TaskContext.get().partitionId(), (0, 0))
        for batch in batches:
            is_tcp = pc.equal(batch.column("proto"), "tcp")
            at = batch.schema.get_field_index("stream")
            ones = pc.cast(is_tcp, pa.int32())
            zeros = pc.subtract(pa.scalar(1, pa.int32()), ones)
            stream = pc.if_else(is_tcp, pc.add(pc.cumulative_sum(ones), pa.scalar(tcp - 1, pa.int32())),
                                pc.add(pc.cumulative_sum(zeros), pa.scalar(udp - 1, pa.int32())))
            seen = pc.sum(ones).as_py() or 0
            tcp, udp = tcp + seen, udp + batch.num_rows - seen
            yield batch.set_column(at, batch.schema.field(at), stream)

    return run


# --- the output directory ----------------------------------------------------------------------------------------


class Output:
    """OUT, wherever it is. `_SUCCESS` is written last: a directory without it is not the whole result."""

    def __init__(self, name: str) -> None:
        path = local_path(name)
        self.name = name.rstrip("/")
        if path is not None:
            self.system, self.inside, self.uri = fs.LocalFileSystem(), path, "file:" + path
        else:
            self.system, self.inside, _ = remote(self.name)
            self.uri = self.name

    def claim(self, overwrite: bool) -> None:
        """Make the directory, and make sure that nothing of an earlier run is taken for this one's."""
        try:
            there = self.system.get_file_info(self.inside).type
            if there != fs.FileType.NotFound and not overwrite:
                raise Mistake(f"{self.name} exists (--overwrite replaces what an earlier run wrote)")
            if there == fs.FileType.File:
                raise Mistake(f"{self.name} is a file")
            self.system.create_dir(self.inside, recursive=True)
            for name in OURS if there == fs.FileType.Directory else ():
                self.delete(name)
        except (pa.ArrowException, OSError) as error:
            raise Mistake(f"{self.name}: {first_line(error)}") from None

    def delete(self, name: str) -> None:
        path = f"{self.inside}/{name}"
        kind = self.system.get_file_info(path).type
        if kind == fs.FileType.Directory:
            self.system.delete_dir(path)
        elif kind == fs.FileType.File:
            self.system.delete_file(path)

    def write(self, name: str, content: bytes) -> None:
        with self.system.open_output_stream(f"{self.inside}/{name}", compression=None) as file:
            file.write(content)

    def parquet_files(self) -> int:
        infos = self.system.get_file_info(fs.FileSelector(f"{self.inside}/flows", allow_not_found=True))
        return sum(info.base_name.endswith(".parquet") for info in infos)


def lines(texts: Iterable[str]) -> bytes:
    return "".join(text + "\n" for text in texts).encode()


# --- what Spark knows about the run ------------------------------------------------------------------------------


class Ear:
    """Reads Spark's own status store: the same numbers as in its web interface."""

    def __init__(self, context: Any) -> None:
        self.context = context
        self.store = context._jsc.sc().statusStore()

    def settle(self) -> None:
        """Events reach the store a little after the fact."""
        try:
            self.context._jsc.sc().listenerBus().waitUntilEmpty(10_000)
        except Exception:  # a Spark that does not show its bus: the numbers may then miss the last moment
            time.sleep(1)

    def stages(self) -> List[Any]:
        gateway = self.context._gateway
        found = self.store.stageList(None, False, False, gateway.new_array(gateway.jvm.double, 0),
                                     gateway.jvm.java.util.ArrayList())
        return [found.apply(at) for at in range(found.size())]

    def shuffle_bytes(self, group: str) -> int:
        """What the stages of a group of jobs wrote for the shuffle, repetitions included."""
        wanted = set()
        for job in self.context.statusTracker().getJobIdsForGroup(group):
            ids = self.store.job(job).stageIds()
            wanted.update(ids.apply(at) for at in range(ids.size()))
        return sum(stage.shuffleWriteBytes() for stage in self.stages() if stage.stageId() in wanted)

    def shuffle_bytes_in_all(self) -> int:
        """What all stages wrote for shuffles."""
        return sum(stage.shuffleWriteBytes() for stage in self.stages())

    def tried_again(self) -> int:
        """Tasks that had to run more than once: they failed, or what they had written was lost."""
        return sum(stage.numFailedTasks() + (stage.numTasks() if stage.attemptId() > 0 else 0)
                   for stage in self.stages())

    def executors_lost(self) -> int:
        """Executors that went without being dismissed; with dynamic allocation idle ones are dismissed."""
        found = self.store.executorList(False)
        lost = 0
        for executor in (found.apply(at) for at in range(found.size())):
            why = executor.removeReason()
            dismissed = why.isDefined() and re.search(r"idle|killed by driver|decommission", why.get(), re.I)
            lost += not executor.isActive() and not dismissed
        return lost


# --- the job -----------------------------------------------------------------------------------------------------

REQUIRED = {
    # One partition is one stream to one binary and holds all of a flow: nothing may be split or joined on the way.
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.execution.arrow.useLargeVarTypes": "false",
}
PREFERRED = {
    "spark.io.compression.codec": "zstd",
    "spark.sql.execution.arrow.maxRecordsPerBatch": "2000",
    "spark.sql.debug.maxToStringFields": "1000",  # or it warns of the width of the table
    "spark.sql.shuffle.partitions": "8",  # only for counts; the exchanges that matter say how many they want
}


def start_spark() -> Any:
    from pyspark import SparkConf, SparkContext
    from pyspark.sql import SparkSession

    SparkContext._ensure_initialized()  # before it, a SparkConf does not know what was submitted, and would override it
    conf = SparkConf()
    for key, value in PREFERRED.items():
        conf.setIfMissing(key, value)
    for key, value in REQUIRED.items():
        conf.set(key, value)
    conf.setIfMissing("spark.app.name", "flowlapse")
    return SparkSession.builder.config(conf=conf).getOrCreate()


def cores(context: Any) -> int:
    """How many tasks run at once, or will: executors may still be starting."""
    conf = context.getConf()
    each = int(conf.get("spark.executor.cores", "1"))
    asked = int(conf.get("spark.executor.instances", "0")) * each
    small = re.match(r"local-cluster\[\s*(\d+)\s*,\s*(\d+)", context.master)
    here = int(small.group(1)) * int(small.group(2)) if small else 0
    return max(context.defaultParallelism, asked, here, int(conf.get("spark.cores.max", "0")))


def spark_schema(schema: pa.Schema) -> Any:
    from pyspark.sql.pandas.types import from_arrow_schema

    return from_arrow_schema(schema)


def progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


class Job:
    """The phases, in their order; each leaves its rows on the executors' disks for the next."""

    def __init__(self, spark: Any, options: argparse.Namespace, tool: Tool, schemas: Schemas, out: Output,
                 scratch: str) -> None:
        self.spark, self.context = spark, spark.sparkContext
        self.options, self.tool, self.schemas, self.out, self.scratch = options, tool, schemas, out, scratch
        self.seconds: Dict[str, float] = {}
        packed = pack_boxes(options.box, scratch)
        for path in ([tool.path] if tool.shipped else []) + ([packed] if packed else []):
            self.context.addFile(path)
        name = os.path.basename(tool.path) if tool.shipped else tool.path
        self.program = Program(name, tool.shipped, packed is not None, os.getcwd())

    def phase(self, name: str) -> "Phase":
        return Phase(self, name)

    def keep(self, rows: Any) -> Any:
        from pyspark import StorageLevel

        return rows.persist(StorageLevel.DISK_ONLY)

    def decode(self, captures: List[Capture]) -> Tuple[Any, List[Dict[str, Any]]]:
        """All captures, each decoded once; and their ledgers, which are on the driver from here on."""
        total = sum(capture.bytes for capture in captures)
        parts = spread(captures, min(len(captures), max(2 * cores(self.context),
                                                        -(-total // self.options.partition_bytes))))
        progress(f"decoding {len(captures)} files, {total} bytes, in {len(parts)} tasks")
        rows = [[(c.index, c.name, c.where) for c in part] for part in parts]
        listing = self.spark.createDataFrame(self.context.parallelize(rows, len(rows)).flatMap(lambda part: part),
                                             "index int, name string, where string")
        decoded = self.keep(listing.mapInArrow(decoding(self.program), spark_schema(self.schemas.slices)))
        texts = [row.ledger for row in decoded.filter("ledger is not null").select("ledger").collect()]
        ledgers = {json.loads(text)["file"]: text for text in texts}
        if len(texts) != len(captures) or len(ledgers) != len(captures):
            raise Failure(f"{len(texts)} ledgers of {len(captures)} captures came back")
        ordered = [ledgers[capture.index] for capture in captures]
        self.out.write("ledgers.ndjson", lines(ordered))
        return decoded, [json.loads(text) for text in ordered]

    def archive(self) -> bytes:
        """What a flow's judge must know about all captures, made once and sent to everybody."""
        with self.out.system.open_input_stream(f"{self.out.inside}/ledgers.ndjson", compression=None) as file:
            ledgers = file.read().decode().splitlines()
        path = write_archive(self.tool, ledgers, os.path.join(self.scratch, "all"))
        self.context.addFile(path)
        with open(path, "rb") as file:
            return file.read()

    def judge(self, decoded: Any, segments: int) -> Tuple[Any, List[str]]:
        """Bring the slices of each flow together and judge them; gives the flows and the partitions' ledgers."""
        count = self.options.partitions or max(cores(self.context), -(-segments // SEGMENTS_PER_PARTITION))
        progress(f"judging {segments} segments in {count} tasks")
        slices = (decoded.filter("ledger is null").select(*SLICE_COLUMNS).repartition(count, "flow_hash")
                  .sortWithinPartitions("flow_hash", "order_ns"))
        run = judging(self.program, self.schemas.judged, [relative(box) for box in self.options.box],
                      passed_on(self.options))
        judged = slices.mapInArrow(run, spark_schema(self.schemas.flows))
        if self.options.no_state:
            judged = judged.drop("run")
        judged = self.keep(judged)
        parts = [row.ledger for row in judged.filter("ledger is not null").select("ledger").collect()]
        if len(parts) != count:
            raise Failure(f"{len(parts)} ledgers of {count} parts came back")
        return judged, parts

    def number(self, judged: Any) -> Tuple[Any, Dict[str, int], int]:
        """The flows in the archive's order with their streams, how many have each verdict, and in how many files."""
        flows = judged.filter("ledger is null").drop("ledger")
        order = ("order_ns", "first_file", "first_frame")
        files = max(1, -(-flows.count() // FLOWS_PER_FILE))
        # One file is made where the flows are read; for several they are exchanged once more, by their order.
        spread_ = flows.coalesce(1) if files == 1 else flows.repartitionByRange(files, *order)
        ranked = self.keep(spread_.sortWithinPartitions(*order))
        counts = (ranked.selectExpr("spark_partition_id() as part", "proto", "verdict")
                  .groupBy("part", "proto", "verdict").count().collect())
        verdicts: Dict[str, int] = {}
        held: Dict[int, List[int]] = {part: [0, 0] for part in range(files)}
        for row in counts:
            verdicts[row.verdict] = verdicts.get(row.verdict, 0) + row["count"]
            held[row.part][0 if row.proto == "tcp" else 1] += row["count"]
        offsets, tcp, udp = {}, 0, 0
        for part in sorted(held):
            offsets[part] = (tcp, udp)
            tcp, udp = tcp + held[part][0], udp + held[part][1]
        return ranked.mapInArrow(numbering(offsets), ranked.schema), verdicts, files

    def write(self, numbered: Any, parts: List[str], archive: bytes, files: int) -> None:
        numbered.write.parquet(self.out.uri + "/flows", compression="zstd")
        found = self.out.parquet_files()
        if found != files:
            raise Failure(f"{self.out.name}: {found} of {files} files arrived in flows; "
                          "it has to be a place that the driver and all executors share")
        self.out.write("parts.ndjson", lines(parts))
        self.out.write("archive.json", archive)

    def run(self, captures: List[Capture]) -> Dict[str, Any]:
        with self.phase("decode"):
            decoded, ledgers = self.decode(captures)
        with self.phase("archive"):
            archive = self.archive()
        segments = sum(ledger["segments"] for ledger in ledgers)
        with self.phase("judge"):
            judged, parts = self.judge(decoded, segments)
            decoded.unpersist()
        with self.phase("number"):
            numbered, verdicts, files = self.number(judged)
        with self.phase("write"):
            self.write(numbered, parts, archive, files)
        ear = Ear(self.context)
        ear.settle()
        shuffled = ear.shuffle_bytes("judge")
        return {
            "files": len(captures), "bytes": sum(capture.bytes for capture in captures),
            "left_out": [left for left in map(reason_left_out, ledgers) if left],
            "damaged": [hurt for ledger in ledgers for hurt in reasons_damaged(ledger)],
            "segments": segments, "flows": sum(verdicts.values()), "verdicts": dict(sorted(verdicts.items())),
            "judge_tasks": len(parts), "flow_files": files,
            "codec": self.context.getConf().get("spark.io.compression.codec"), "shuffle_bytes": shuffled,
            "shuffle_bytes_per_segment": round(shuffled / max(segments, 1), 2),
            "shuffle_bytes_in_all": ear.shuffle_bytes_in_all(),
            "seconds": {name: round(spent, 1) for name, spent in self.seconds.items()},
            "executors_lost": ear.executors_lost(), "tasks_tried_again": ear.tried_again(),
        }


class Phase:
    """Times one phase and names its jobs in Spark's interface."""

    def __init__(self, job: Job, name: str) -> None:
        self.job, self.name = job, name

    def __enter__(self) -> None:
        self.job.context.setJobGroup(self.name, f"flowlapse: {self.name}")
        self.began = time.monotonic()

    def __exit__(self, *_: Any) -> None:
        self.job.seconds[self.name] = time.monotonic() - self.began


# --- what is said at the end -------------------------------------------------------------------------------------


def reason_left_out(ledger: Dict[str, Any]) -> Optional[Dict[str, Any]]:
    return {"name": ledger["name"], "why": ledger["error"]} if ledger.get("error") else None


def reasons_damaged(ledger: Dict[str, Any]) -> List[Dict[str, Any]]:
    return [{"name": ledger["name"], **hurt} if isinstance(hurt, dict) else {"name": ledger["name"], "what": hurt}
            for hurt in ledger.get("damage") or []]


MOST_LINES = 20


def told(summary: Dict[str, Any]) -> str:
    """The summary for people."""
    left, hurt = summary["left_out"], summary["damaged"]
    text = [f"{summary['files']} files, {summary['bytes']} bytes; {len(left)} left out, "
            f"{len({item['name'] for item in hurt})} damaged"]
    wrong = [f"  left out: {item['name']}: {item['why']}" for item in left]
    for item in hurt:
        place = f" after frame {item['after_frame']}" if "after_frame" in item else ""
        wrong.append(f"  damaged: {item['name']}{place}: {item.get('what', 'damaged')}")
    text += wrong[:MOST_LINES]
    if len(wrong) > MOST_LINES:
        text.append(f"  and {len(wrong) - MOST_LINES} more, in summary.json")
    verdicts = ", ".join(f"{count} {verdict}" for verdict, count in summary["verdicts"].items())
    text.append(f"{summary['segments']} segments in {summary['flows']} flows" + (f": {verdicts}" if verdicts else ""))
    text.append(f"shuffle: {summary['shuffle_bytes']} bytes, {summary['shuffle_bytes_per_segment']} a segment "
                f"({summary['codec']}); {summary['shuffle_bytes_in_all']} in all exchanges")
    text.append("seconds: " + ", ".join(f"{name} {spent}" for name, spent in summary["seconds"].items()))
    text.append(f"executors lost: {summary['executors_lost']}; tasks tried again: {summary['tasks_tried_again']}")
    return "\n".join(text)


def what_failed(error: BaseException) -> str:
    """One line out of what Spark makes of an error on an executor: the last thing that Python said there."""
    said = re.findall(r"^(?:[\w.]*(?:Error|Exception)): (.+)$", str(error), re.MULTILINE)
    return said[-1].strip() if said else first_line(error)


def work(options: argparse.Namespace, scratch: str) -> None:
    captures = list_captures(options.captures)
    tool = find_tool(options.binary)
    schemas = probe(tool, options.box, passed_on(options), scratch)
    out = Output(options.output)
    out.claim(options.overwrite)
    spark = start_spark()
    try:
        summary = Job(spark, options, tool, schemas, out, scratch).run(captures)
        out.write("summary.json", (json.dumps(summary, indent=1, ensure_ascii=False) + "\n").encode())
        out.write("_SUCCESS", b"")
    finally:
        spark.stop()
    print(told(summary))


def main(arguments: List[str]) -> int:
    scratch = tempfile.mkdtemp(prefix="flowlapse-spark-")
    try:
        work(parse(arguments), scratch)
        return 0
    except Mistake as mistake:
        progress(f"flowlapse_spark: {mistake}")
        return 2
    except KeyboardInterrupt:
        progress("flowlapse_spark: interrupted; what is in the output directory is not complete")
        return 130
    except Exception as error:
        progress(f"flowlapse_spark: {what_failed(error)}")
        return 1
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
