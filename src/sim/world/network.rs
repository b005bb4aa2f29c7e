//! Connections of a simulated world: bytes in transit in both directions, and faults.
//!
//! A healthy connection keeps order and loses nothing, as TCP does. One on which bytes were lost, doubled or swapped
//! is *sick*: it breaks within a minute, so that unanswered requests are repeated on the next one.

use super::event_queue::{Event, EventQueue};
use super::faults::{Fault, Weather};
use std::collections::{HashMap, VecDeque};

/// A side of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Side {
    Gate,
    Peer,
}

/// An end of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    /// The number of the connection.
    pub line: u64,
    pub side: Side,
}

impl Side {
    const fn other(self) -> Side {
        match self {
            Side::Gate => Side::Peer,
            Side::Peer => Side::Gate,
        }
    }
}

/// The peer at the far end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Peer {
    /// A charger or a site controller, by its place in the fleet.
    Fleet(usize),
    /// A processor, and which of its connections.
    SimulatedProcessor(usize, usize),
}

/// All connections.
#[derive(Default)]
pub(super) struct Network {
    /// Accessed by number only, so the order of the map has no effect.
    lines: HashMap<u64, Line>,
    opened: u64,
    spare: Vec<Vec<u8>>,
}

struct Line {
    peer: Peer,
    to_gate: Way,
    to_peer: Way,
    sick: bool,
    /// A changed bit is detected below the messages, and costs them; other connections have checksums of their own.
    is_guarded: bool,
    /// Whether the end was reported to each side.
    gate_knows: bool,
    peer_knows: bool,
}

/// One direction.
#[derive(Default)]
struct Way {
    on_their_way: VecDeque<(u64, Vec<u8>)>,
    /// When the last of them arrives.
    last: u64,
    /// The receiver is gone, or gets nothing any more.
    deaf: bool,
}

/// The longest that a delayed piece is on its way, in milliseconds.
const DELAY_MAX: u64 = 60_000;
/// Buffers that are kept for use again.
const SPARE_MAX: usize = 4_096;

impl Network {
    /// Opens a connection and numbers it. Numbers are never used twice.
    pub fn open(&mut self, peer: Peer, is_guarded: bool) -> u64 {
        self.opened += 1;
        let (to_gate, to_peer) = (Way::default(), Way::default());
        let line = Line { peer, to_gate, to_peer, sick: false, is_guarded, gate_knows: false, peer_knows: false };
        self.lines.insert(self.opened, line);
        self.opened
    }

    /// The peer at the far end.
    pub fn peer(&self, line: u64) -> Option<Peer> {
        self.lines.get(&line).map(|line| line.peer)
    }

    /// An empty buffer.
    pub fn buffer(&mut self) -> Vec<u8> {
        self.spare.pop().unwrap_or_default()
    }

    /// A buffer that is not needed any more.
    pub fn give_back(&mut self, mut buffer: Vec<u8>) {
        if self.spare.len() < SPARE_MAX {
            buffer.clear();
            self.spare.push(buffer);
        }
    }

    /// Sends bytes to one side of a connection.
    pub fn send(&mut self, to: End, bytes: Vec<u8>, events: &mut EventQueue, weather: &mut Weather) {
        let End { line, side: to } = to;
        let Network { lines, spare, .. } = self;
        let Some(connection) = lines.get_mut(&line) else { return };
        let sick = &mut connection.sick;
        let way = match to {
            Side::Gate => &mut connection.to_gate,
            Side::Peer => &mut connection.to_peer,
        };
        if bytes.is_empty() || way.deaf {
            return;
        }
        let mut sicken = |events: &mut EventQueue, weather: &mut Weather| {
            if !std::mem::replace(sick, true) {
                let breaks = 1 + weather.rng().below(60_000);
                events.after(breaks, Event::Ended(line, Side::Gate));
                events.after(breaks + weather.rng().below(2_000), Event::Ended(line, Side::Peer));
            }
        };
        if weather.strikes(Fault::Loss) || (connection.is_guarded && weather.strikes(Fault::Corrupt)) {
            sicken(events, weather);
            spare.push(bytes);
            return;
        }
        let late = if weather.strikes(Fault::Delay) { weather.rng().below(DELAY_MAX) } else { 0 };
        let at = way.last.max(events.now() + 5 + weather.rng().below(120) + late);
        let again = if weather.strikes(Fault::Duplicate) { Some(bytes.clone()) } else { None };
        // Now and then in two pieces, cut anywhere.
        let mut first = bytes;
        let rest = match weather.rng().below(50) {
            0 if first.len() > 1 => {
                let place = 1 + weather.rng().below(first.len() as u64 - 1);
                Some(first.split_off(usize::try_from(place).unwrap_or(1)))
            }
            _ => None,
        };
        if !connection.is_guarded && weather.strikes(Fault::Corrupt) {
            let bit = usize::try_from(weather.rng().below(first.len() as u64 * 8)).unwrap_or(0);
            first[bit / 8] ^= 1 << (bit % 8);
        }
        way.push(at, first);
        events.at(at, Event::Arrive(line, to));
        if let Some(rest) = rest {
            let at = at + weather.rng().below(40);
            way.push(at, rest);
            events.at(at, Event::Arrive(line, to));
        }
        if weather.strikes(Fault::Reorder) {
            way.swap_last();
            sicken(events, weather);
        }
        if let Some(again) = again {
            let at = way.last + weather.rng().below(1_000);
            way.push(at, again);
            events.at(at, Event::Arrive(line, to));
            sicken(events, weather);
        }
    }

    /// The next bytes that have arrived at one side.
    pub fn arrived(&mut self, line: u64, at: Side, now: u64) -> Option<Vec<u8>> {
        let way = self.lines.get_mut(&line)?.way(at);
        match way.on_their_way.front() {
            Some((due, _)) if *due <= now && !way.deaf => way.on_their_way.pop_front().map(|(_, bytes)| bytes),
            _ => None,
        }
    }

    /// One side closes a connection: it receives nothing more, and the other side detects it after the bytes in
    /// transit.
    pub fn close(&mut self, line: u64, by: Side, events: &mut EventQueue) {
        let Some(connection) = self.lines.get_mut(&line) else { return };
        let at = connection.way(by.other()).last.max(events.now() + 20);
        if !*connection.knows(by.other()) {
            events.at(at, Event::Ended(line, by.other()));
        }
        self.ended(line, by);
    }

    /// Stops all bytes in both directions. The caller reports the end to the sides.
    pub fn silence(&mut self, line: u64) {
        if let Some(connection) = self.lines.get_mut(&line) {
            connection.to_gate.make_deaf();
            connection.to_peer.make_deaf();
        }
    }

    /// The end of the connection was reported to one side.
    pub fn ended(&mut self, line: u64, side: Side) {
        let Some(connection) = self.lines.get_mut(&line) else { return };
        connection.way(side).make_deaf();
        *connection.knows(side) = true;
        if connection.gate_knows && connection.peer_knows {
            self.lines.remove(&line);
        }
    }
}

impl Line {
    fn knows(&mut self, side: Side) -> &mut bool {
        match side {
            Side::Gate => &mut self.gate_knows,
            Side::Peer => &mut self.peer_knows,
        }
    }

    /// The direction towards a side.
    fn way(&mut self, to: Side) -> &mut Way {
        match to {
            Side::Gate => &mut self.to_gate,
            Side::Peer => &mut self.to_peer,
        }
    }
}

impl Way {
    fn push(&mut self, at: u64, bytes: Vec<u8>) {
        self.last = at;
        self.on_their_way.push_back((at, bytes));
    }

    fn swap_last(&mut self) {
        if let [.., (_, before), (_, last)] = self.on_their_way.make_contiguous() {
            std::mem::swap(before, last);
        }
    }

    fn make_deaf(&mut self) {
        self.deaf = true;
        self.on_their_way.clear();
    }
}
