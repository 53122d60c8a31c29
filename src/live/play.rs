//! Plays a scene on its stage, and notes what each application was told and which entries the box had.
//!
//! It knows sockets and clocks; how the stage was built, and what a model makes of it, is not its affair.

use super::listing;
use super::stage::{Stage, options};
use super::testbed::SERVICE_PORT;
use crate::conform::scenes::{Act, Host, Line, Scene};
use crate::model::Side;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::socket::{SockaddrStorage, connect, setsockopt, sockopt};
use nix::sys::time::TimeSpec;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

/// How often the box's table is read at most.
const READINGS: Duration = Duration::from_millis(200);
/// A reading takes at most one part in so many of a scene's time: many scenes share the machine.
const READING_SHARE: u32 = 400;
/// For so long the box is watched when both sides are done.
const AFTERWARDS: Duration = Duration::from_millis(500);
/// A window in which a quiet moment is looked for to end the observation.
const LAST_SECOND: Duration = Duration::from_secs(1);

/// What happened in a scene.
#[derive(Debug, Default, Serialize)]
pub(super) struct Observed {
    /// What the client's application did and was told: time, what, detail.
    client: Vec<Value>,
    /// The server's.
    server: Vec<Value>,
    /// The box's entries, whenever they were others than before.
    #[serde(rename = "box")]
    entries: Vec<Value>,
}

/// Plays a scene from a moment on, at most for so long; the scene learns when its observation ended.
///
/// # Errors
/// That something cannot be read or waited for.
pub(super) fn play(stage: Stage, scene: &mut Scene, start: Instant, longest: Duration) -> Result<Observed, String> {
    let planned = Duration::from_millis(scene.run_ms);
    let Stage { client, listener, target, table, namespaces: _kept } = stage;
    let mut play = Play::new(listener, &table, scene, start, planned.min(longest));
    play.box_reading()?;
    std::thread::sleep(start.saturating_duration_since(Instant::now()));
    match connect(client.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(target, SERVICE_PORT))) {
        Ok(()) | Err(Errno::EINPROGRESS) => {}
        Err(error) => return Err(format!("no connection: {error}")),
    }
    play.client.stream = Some(TcpStream::from(client));
    play.until_the_end()?;
    let (ended, [client, server], entries) = play.notes();
    scene.run_ms = ended.unwrap_or(planned).as_millis() as u64;
    Ok(Observed { client, server, entries })
}

/// Something that an application did or was told.
struct Note {
    at: Duration,
    what: &'static str,
    detail: Option<Value>,
}

/// An application and its socket.
struct Actor<'a> {
    host: &'a Host,
    /// What it has yet to do, with the place in the script.
    script: VecDeque<(usize, Line)>,
    stream: Option<TcpStream>,
    open: bool,
    /// It has nothing more to do and to hear.
    stopped: bool,
    eof: bool,
    closed: bool,
    notes: Vec<Note>,
}

/// A scene under way.
struct Play<'a> {
    client: Actor<'a>,
    server: Actor<'a>,
    listener: Option<TcpListener>,
    table: &'a File,
    start: Instant,
    end: Duration,
    next_reading: Duration,
    readings: Vec<(f64, Vec<String>)>,
}

impl<'a> Actor<'a> {
    fn new(scene: &'a Scene, who: Side) -> Actor<'a> {
        let host = if who == Side::Client { &scene.client } else { &scene.server };
        let script = scene.script.iter().copied().enumerate().filter(|(_, line)| line.who == who).collect();
        Actor { host, script, stream: None, open: false, stopped: false, eof: false, closed: false, notes: Vec::new() }
    }

    /// When it acts next, and the place of that in the script.
    fn due(&self) -> Option<(Duration, usize)> {
        let ready = self.open && !self.stopped;
        self.script.front().filter(|_| ready).map(|(place, line)| (Duration::from_millis(line.at_ms), *place))
    }

    /// What it waits for.
    fn interest(&self) -> PollFlags {
        match (self.open, self.eof) {
            (false, _) => PollFlags::POLLIN | PollFlags::POLLOUT,
            (true, false) => PollFlags::POLLIN,
            (true, true) => PollFlags::empty(),
        }
    }

    fn note(&mut self, at: Duration, what: &'static str, detail: Option<Value>) {
        self.notes.push(Note { at, what, detail });
    }

    fn failed(&mut self, at: Duration, code: i32) {
        self.note(at, "error", Some(json!(format!("{:?}", Errno::from_raw(code)))));
        self.stopped = true;
    }

    /// The error that waits at the socket, which forgets it.
    fn pending(&self) -> Option<i32> {
        self.stream.as_ref()?.take_error().ok()??.raw_os_error()
    }

    /// Does the next thing of its script.
    fn act(&mut self, at: Duration) {
        let Some((_, line)) = self.script.pop_front() else { return };
        let Some(mut stream) = self.stream.as_ref() else { return };
        match line.act {
            Act::Send { len } => match stream.write(&vec![b'x'; len as usize]) {
                Ok(count) => self.note(at, "send", Some(json!(count))),
                // An error that arrived before the call: the call reports it.
                Err(error) => self.failed(at, code(&error)),
            },
            Act::Close => match stream.shutdown(Shutdown::Write) {
                Ok(()) => {
                    self.closed = true;
                    self.note(at, "close", None);
                    self.stopped = self.eof;
                }
                Err(error) => {
                    let code = self.pending().unwrap_or_else(|| code(&error));
                    self.failed(at, code);
                }
            },
            Act::Abort => {
                // Without the time to linger, a close is a reset.
                let at_once = nix::libc::linger { l_onoff: 1, l_linger: 0 };
                let set = setsockopt(stream, sockopt::Linger, &at_once);
                self.stream = None;
                match set {
                    Ok(()) => self.note(at, "aborted", None),
                    Err(error) => self.failed(at, error as i32),
                }
                self.stopped = true;
            }
        }
    }

    /// Hears what its socket has to say.
    fn hear(&mut self, said: PollFlags, now: impl Fn() -> Duration) {
        if !self.open {
            if let Some(code) = self.pending() {
                self.failed(now(), code);
            } else if said.contains(PollFlags::POLLOUT) {
                self.open = true;
                self.note(now(), "open", None);
            }
            return;
        }
        if said.contains(PollFlags::POLLIN) && !self.eof {
            let Some(mut stream) = self.stream.as_ref() else { return };
            match stream.read(&mut vec![0; 1 << 17]) {
                Ok(0) => {
                    self.note(now(), "eof", None);
                    self.eof = true;
                    if self.closed {
                        self.stopped = true;
                        return;
                    }
                    if self.host.on_eof == Some("close") {
                        if let Some(Err(error)) = self.stream.as_ref().map(|stream| stream.shutdown(Shutdown::Write)) {
                            self.failed(now(), code(&error));
                        } else {
                            (self.closed, self.stopped) = (true, true);
                        }
                        return;
                    }
                }
                Ok(count) => self.note(now(), "recv", Some(json!(count))),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return self.failed(now(), code(&error)),
            }
        }
        if said.intersects(PollFlags::POLLERR | PollFlags::POLLHUP) {
            match self.pending() {
                Some(code) => self.failed(now(), code),
                // Hung up without an error is said again and again.
                None if !said.contains(PollFlags::POLLIN) => std::thread::sleep(Duration::from_millis(20)),
                None => {}
            }
        }
    }
}

fn code(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or_default()
}

impl<'a> Play<'a> {
    fn new(listener: TcpListener, table: &'a File, scene: &'a Scene, start: Instant, end: Duration) -> Play<'a> {
        Play {
            client: Actor::new(scene, Side::Client),
            server: Actor::new(scene, Side::Server),
            listener: Some(listener),
            table,
            start,
            end,
            next_reading: Duration::from_millis(30),
            readings: Vec::new(),
        }
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn done(&self) -> bool {
        self.client.stopped && self.server.stopped
    }

    fn until_the_end(&mut self) -> Result<(), String> {
        let mut done_at = None;
        loop {
            let now = self.now();
            if self.done() && now >= *done_at.get_or_insert(now) + AFTERWARDS || now >= self.end {
                return Ok(());
            }
            let due = [self.client.due(), self.server.due()].into_iter().flatten().map(|(at, _)| at);
            let due = due.fold(self.end.min(self.next_reading), Duration::min);
            self.wait(due.saturating_sub(now))?;
            // What is due, in the order of the script.
            let now = self.now();
            loop {
                let [client, server] = [&self.client, &self.server].map(|actor| actor.due().filter(|(at, _)| *at <= now));
                let Some((_, place)) = [client, server].into_iter().flatten().min_by_key(|(_, place)| *place) else { break };
                let actor = if client.is_some_and(|(_, own)| own == place) { &mut self.client } else { &mut self.server };
                actor.act(self.start.elapsed());
            }
            if now >= self.next_reading {
                let pause = self.box_reading()?;
                self.next_reading = now + pause;
            }
        }
    }

    /// Waits until something is heard, and deals with it.
    fn wait(&mut self, longest: Duration) -> Result<(), String> {
        let said = {
            let actors = [&self.client, &self.server].map(|actor| actor.stream.as_ref().filter(|_| !actor.stopped).map(|s| (s, actor)));
            let mut fds = Vec::with_capacity(3);
            fds.extend(self.listener.as_ref().map(|listener| PollFd::new(listener.as_fd(), PollFlags::POLLIN)));
            fds.extend(actors.iter().flatten().map(|(stream, actor)| PollFd::new(stream.as_fd(), actor.interest())));
            match ppoll(&mut fds, Some(TimeSpec::from(longest)), None) {
                Ok(_) => {}
                Err(Errno::EINTR) => return Ok(()),
                Err(error) => return Err(format!("waiting for sockets: {error}")),
            }
            let mut said = fds.iter().map(|fd| fd.revents().unwrap_or(PollFlags::empty()));
            let mut of = |there: bool| if there { said.next().unwrap_or(PollFlags::empty()) } else { PollFlags::empty() };
            [of(self.listener.is_some()), of(actors[0].is_some()), of(actors[1].is_some())]
        };
        let start = self.start;
        let now = || start.elapsed();
        if !said[0].is_empty() {
            self.accept()?;
        }
        for (actor, said) in [(&mut self.client, said[1]), (&mut self.server, said[2])] {
            if !said.is_empty() {
                actor.hear(said, now);
            }
        }
        Ok(())
    }

    fn accept(&mut self) -> Result<(), String> {
        let Some(listener) = &self.listener else { return Ok(()) };
        let fail = |error: io::Error| format!("a connection cannot be accepted: {error}");
        let (stream, _) = match listener.accept() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            other => other.map_err(fail)?,
        };
        let at = self.now();
        self.server.note(at, "open", None);
        stream.set_nonblocking(true).map_err(fail)?;
        options(&stream, self.server.host).map_err(|error| fail(error.into()))?;
        self.server.stream = Some(stream);
        self.server.open = true;
        self.listener = None;
        Ok(())
    }

    /// Reads the box's table, and says how long to wait for the next reading.
    fn box_reading(&mut self) -> Result<Duration, String> {
        if self.done() {
            return Ok(READINGS);
        }
        let begun = Instant::now();
        let states = listing::states(&read_again(self.table).map_err(|error| format!("the box's table: {error}"))?);
        let took = begun.elapsed();
        if self.readings.last().is_none_or(|(_, known)| *known != states) {
            let now = Instant::now();
            let at = seconds(now.saturating_duration_since(self.start)) - seconds(self.start.saturating_duration_since(now));
            self.readings.push((at, states));
        }
        Ok((took * READING_SHARE).max(READINGS))
    }

    /// When the observation ended, if that was before both sides were done, what was noted by then, and the box's entries.
    fn notes(self) -> (Option<Duration>, [Vec<Value>; 2], Vec<Value>) {
        let sides = [self.client.notes, self.server.notes];
        let ended = (!(self.client.stopped && self.server.stopped)).then(|| {
            // Something that happens just when the observation ends may be seen or not: it ends where nothing did happen.
            quiet_moment(sides.iter().flatten().map(|note| note.at), self.end)
        });
        let told = |note: Note| match note.detail {
            Some(detail) => json!([seconds(note.at), note.what, detail]),
            None => json!([seconds(note.at), note.what]),
        };
        let seen = |at: f64| ended.is_none_or(|ended| at <= seconds(ended));
        let sides = sides.map(|notes| notes.into_iter().filter(|note| seen(seconds(note.at))).map(told).collect());
        let entries = self.readings.into_iter().filter(|(at, _)| seen(*at)).map(|(at, states)| json!([at, states])).collect();
        (ended, sides, entries)
    }
}

/// The middle of the longest time without anything in the last second.
fn quiet_moment(times: impl Iterator<Item = Duration>, end: Duration) -> Duration {
    let from = end.saturating_sub(LAST_SECOND);
    let mut times: Vec<Duration> = times.filter(|at| (from..end).contains(at)).collect();
    times.sort();
    times.insert(0, from);
    times.push(end);
    let gaps = times.windows(2).map(|pair| (pair[1].saturating_sub(pair[0]), pair[0]));
    let (gap, since) = gaps.max().unwrap_or((LAST_SECOND, from));
    since + gap / 2
}

/// Reads a listing from its beginning; a few entries are read in one piece.
fn read_again(mut file: &File) -> io::Result<String> {
    let mut piece = vec![0; 1 << 14];
    file.rewind()?;
    let count = file.read(&mut piece)?;
    Ok(String::from_utf8_lossy(&piece[..count]).into_owned())
}

/// Seconds to the millisecond, as recordings have them.
fn seconds(span: Duration) -> f64 {
    (span.as_micros() as f64 / 1e3).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_observation_ends_where_nothing_happens() {
        let ms = Duration::from_millis;
        assert_eq!(quiet_moment([].into_iter(), ms(45_000)), ms(44_500));
        assert_eq!(quiet_moment([ms(3), ms(44_100), ms(44_980)].into_iter(), ms(45_000)), ms(44_540));
        assert_eq!(quiet_moment([ms(300)].into_iter(), ms(400)), ms(150));
    }
}
