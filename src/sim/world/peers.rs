//! The peers of a simulated world and their connections: which ones there are, how they dial, and how bytes reach
//! them.

use super::Settings;
use super::controller::Controller;
use super::event_queue::Event;
use super::faults::{Fault, Weather};
use super::network::{End, Peer, Side};
use super::simulated_processor::SimulatedProcessor;
use super::world::World;
use crate::limits;
use crate::message::Subject;
use crate::ocpp::{LinkSettings, Version};
use crate::payment::{Credential, CredentialKind};
use crate::sim::charger::{self, Charger};
use crate::sim::driver::{Habits, Visitors};
use crate::sim::ocpp::{Manners, OcppCharger, OcppLine, OcppSettings};
use crate::sim::processor::{self, Processor};
use crate::units::rng::Rng;
use crate::units::{AccountId, ChargerId, Currency, Power, ProcessorId, SiteId, TimeSpan, Timestamp};

/// Chargers behind one site controller; every tenth charger has a connection of its own.
const PER_SITE: usize = 36;

impl World {
    pub(super) fn arrive_at_peer(&mut self, line: u64) {
        let Some(peer) = self.network.peer(line) else { return };
        let Some(bytes) = self.network.arrived(line, Side::Peer, self.events.now()) else { return };
        let now = self.peer_now();
        let mut out = self.network.buffer();
        let outcome = match peer {
            Peer::Fleet(place) => {
                let checker = &mut self.checker;
                let mut finished = |charger: &Charger, one| checker.finished(charger, one);
                let received = self.fleet[place].receive(&bytes, (now.wall, now.mono.0), &mut out, &mut finished);
                self.note_ended(place);
                received.is_ok()
            }
            Peer::SimulatedProcessor(place, connection) => {
                self.processors[place].receive(connection, &bytes, now, &mut out).is_ok()
            }
        };
        self.network.give_back(bytes);
        self.network.send(End { line, side: Side::Gate }, out, &mut self.events, &mut self.weather);
        match peer {
            Peer::Fleet(place) if outcome => self.drive_fleet(place),
            Peer::SimulatedProcessor(place, _) if outcome => self.drive_processor(place),
            peer => {
                self.network.close(line, Side::Peer, &mut self.events);
                self.peer_lost(line, peer);
            }
        }
    }

    /// Sessions that a charger without receipts has ended, and errors that a gate must not answer.
    fn note_ended(&mut self, place: usize) {
        let controller = &mut self.fleet[place];
        let (Some(line), Some(charger)) = (&mut controller.ocpp, controller.chargers.first()) else { return };
        for ended in line.ocpp.take_ended() {
            self.checker.ended.push((charger.id().clone(), ended));
        }
        for error in line.ocpp.take_errors() {
            self.checker.violated(|| format!("L22: {}: a report of a transaction is refused: {error}", charger.id()));
        }
    }

    /// The end of a connection was reported to its peer, which will dial again.
    pub(super) fn peer_lost(&mut self, line: u64, peer: Peer) {
        match peer {
            Peer::Fleet(place) => {
                let controller = &mut self.fleet[place];
                if controller.line == Some(line) {
                    let wait = controller.disconnected(self.events.now());
                    self.events.after(wait, Event::DialFleet(place));
                }
            }
            Peer::SimulatedProcessor(place, connection) => {
                let now = self.events.now();
                let processor = &mut self.processors[place];
                if processor.lines[connection].line == Some(line) {
                    let wait = processor.disconnected(connection, now);
                    self.events.after(wait, Event::DialProcessor(place, connection));
                    self.drive_processor(place);
                }
            }
        }
    }

    pub(super) fn dial_fleet(&mut self, place: usize) {
        let (world, at, now) = (self.wall(), self.events.now(), self.now());
        let controller = &mut self.fleet[place];
        if controller.line.is_some() {
            return;
        }
        if controller.offline_until > at {
            return self.events.at(controller.offline_until, Event::DialFleet(place));
        }
        let Some(process) = &mut self.process else {
            let wait = controller.disconnected(at);
            return self.events.after(wait, Event::DialFleet(place));
        };
        let peer = Peer::Fleet(place);
        let line = self.network.open(peer, controller.ocpp.is_some());
        match (&controller.ocpp, controller.chargers.first()) {
            (Some(ocpp), Some(charger)) => {
                let settings = LinkSettings {
                    charger: charger.id().clone(),
                    version: ocpp.ocpp.version(),
                    power_max: charger.power_max(),
                    heartbeat: limits::OCPP_HEARTBEAT,
                    is_forwarded: false,
                };
                process.accept_ocpp(line, settings, (now, &mut self.checker));
            }
            _ => process.accept(line, peer, controller.subject.clone(), now),
        }
        let mut out = self.network.buffer();
        controller.connected(line, world, at, &mut out);
        self.network.send(End { line, side: Side::Gate }, out, &mut self.events, &mut self.weather);
        self.after_gate();
        self.drive_fleet(place);
    }

    pub(super) fn dial_processor(&mut self, place: usize, connection: usize) {
        let (at, now, peer_now) = (self.events.now(), self.now(), self.peer_now());
        let processor = &mut self.processors[place];
        if processor.lines[connection].line.is_some() {
            return;
        }
        if processor.offline_until > at {
            return self.events.at(processor.offline_until, Event::DialProcessor(place, connection));
        }
        let Some(process) = &mut self.process else {
            let wait = processor.disconnected(connection, at);
            return self.events.after(wait, Event::DialProcessor(place, connection));
        };
        let peer = Peer::SimulatedProcessor(place, connection);
        let line = self.network.open(peer, false);
        process.accept(line, peer, Subject::Processor(processor.id.clone()), now);
        let mut out = self.network.buffer();
        processor.connected(connection, line, peer_now, &mut out);
        self.network.send(End { line, side: Side::Gate }, out, &mut self.events, &mut self.weather);
        self.drive_processor(place);
    }

    pub(super) fn drive_fleet(&mut self, place: usize) {
        let (world, now) = (self.wall(), self.events.now());
        let mut out = self.network.buffer();
        let controller = &mut self.fleet[place];
        let (wake, outcome) = controller.drive(world, now, &mut out);
        let sleeping = controller.wake;
        let line = controller.line;
        if sleeping <= now || wake < sleeping {
            controller.wake = wake;
            self.events.at(wake, Event::Fleet(place));
        }
        match line {
            Some(line) => {
                self.network.send(End { line, side: Side::Gate }, out, &mut self.events, &mut self.weather);
                if outcome.is_err() {
                    self.network.close(line, Side::Peer, &mut self.events);
                    self.peer_lost(line, Peer::Fleet(place));
                }
            }
            None => self.network.give_back(out),
        }
    }

    pub(super) fn drive_processor(&mut self, place: usize) {
        let (world, now) = (self.wall(), self.events.now());
        let mut sent = Vec::new();
        let processor = &mut self.processors[place];
        let wake = processor.drive(world, now, &mut sent);
        if processor.wake <= now || wake < processor.wake {
            processor.wake = wake;
            self.events.at(wake, Event::SimulatedProcessor(place));
        }
        for (line, bytes) in sent {
            match bytes {
                Some(bytes) => {
                    self.network.send(End { line, side: Side::Gate }, bytes, &mut self.events, &mut self.weather)
                }
                None => {
                    let Some(peer) = self.network.peer(line) else { continue };
                    self.network.close(line, Side::Peer, &mut self.events);
                    self.peer_lost(line, peer);
                }
            }
        }
    }
}

/// The RFID card of an account. Nothing of the account's name is in it.
pub(super) fn card_of(account: &AccountId) -> Credential {
    let uid = format!("04{:012X}", crc32fast::hash(account.as_str().as_bytes()));
    Credential { kind: CredentialKind::Rfid, token: uid.into_bytes().into() }
}

/// The chargers: sites, and chargers on connections of their own.
pub(super) fn fleet(
    settings: &Settings,
    weather: &Weather,
    accounts: &[AccountId],
    epoch: Timestamp,
    rng: &mut Rng,
) -> Vec<Controller> {
    let magic = [
        "partial_half",
        "partial_small",
        "capture_fails_later",
        "refund_fails_later",
        "dispute",
        "dispute_won",
        "dispute_lost",
    ];
    let magic =
        magic.iter().map(|word| format!("tok_{word}")).chain((0..4).map(|n| format!("tok_balance_{}", 300 + n * 400)));
    let habits = Habits {
        rfid: accounts.iter().map(|account| card_of(account).token).collect(),
        rfid_per_ten_thousand: 2_500,
        magic: magic.map(|token| token.into_bytes().into()).collect(),
        magic_per_ten_thousand: weather.share(Fault::Aftermath),
        ..Habits::default()
    };
    let share = u64::from(settings.ocpp_percent.min(100));
    let spoken = u32::try_from(u64::from(settings.chargers) * share / 100).unwrap_or(0);
    // A charger of OCPP 1.6 reads cards only, which belong to accounts.
    let cards_only = Habits { rfid_per_ten_thousand: 10_000, magic_per_ten_thousand: 0, ..habits.clone() };
    let powers = [11_000_000, 22_000_000, 50_000_000, 150_000_000].map(Power::from_milliwatts);
    let mut chargers: Vec<Charger> = (1..=settings.chargers)
        .map(|number| {
            let id = ChargerId::new(&format!("WORLD-{number:05}")).expect("an id");
            let connectors = usize::try_from(1 + rng.below(2)).unwrap_or(1);
            let power = powers[usize::try_from(rng.below(powers.len() as u64)).unwrap_or(0)];
            let interval = TimeSpan::from_secs([30, 60, 60, 120][usize::try_from(rng.below(4)).unwrap_or(0)]);
            let reads_cards = number + spoken > settings.chargers && version_of(number) == Version::V16;
            let visitors = Visitors::Random(if reads_cards { cards_only.clone() } else { habits.clone() });
            let connectors = vec![power; connectors];
            Charger::new(
                charger::Settings { id, connectors, interval, visitors, seed: settings.seed, kept_max: 2_000 },
                epoch,
            )
        })
        .collect();
    let ocpp = chargers.split_off(chargers.len() - usize::try_from(spoken).unwrap_or(0));
    let singles = chargers.split_off(chargers.len() - chargers.len().div_ceil(10));
    let mut fleet = Vec::new();
    let skew = |rng: &mut Rng| rng.between(-30_000, 30_000);
    let mut rest = chargers;
    let mut number = 0;
    while !rest.is_empty() {
        number += 1;
        let after = rest.split_off(rest.len().min(PER_SITE));
        let subject = Subject::Site(SiteId::new(&format!("site-{number}")).expect("an id"));
        let skew = skew(rng);
        fleet.push(Controller::new(subject, rest, skew, Rng::new(rng.bits())));
        rest = after;
    }
    for charger in singles {
        let subject = Subject::Charger(charger.id().clone());
        let skew = skew(rng);
        fleet.push(Controller::new(subject, vec![charger], skew, Rng::new(rng.bits())));
    }
    for (charger, number) in ocpp.into_iter().zip(settings.chargers - spoken + 1..) {
        let subject = Subject::Charger(charger.id().clone());
        let (skew, mut own) = (skew(rng), Rng::new(rng.bits()));
        let is_bad = own.chance(weather.share(Fault::Manners));
        let manners = if is_bad { Manners::random(&mut own) } else { Manners::GOOD };
        let spoken = OcppSettings { version: version_of(number), manners, currency: Currency::EUR };
        let line = OcppLine::new(OcppCharger::new(spoken, epoch));
        fleet.push(Controller::ocpp(subject, charger, line, (skew, own)));
    }
    fleet
}

/// What a charger speaks, if it speaks OCPP.
fn version_of(number: u32) -> Version {
    match number % 3 {
        0 => Version::V16,
        1 => Version::V201,
        _ => Version::V21,
    }
}

/// The processors: three with different capabilities.
pub(super) fn processors(settings: &Settings, epoch: Timestamp, rng: &mut Rng) -> Vec<SimulatedProcessor> {
    let make = |name: &str, rng: &mut Rng| {
        let id = ProcessorId::new(name).expect("an id");
        let mut own = processor::Settings::new(id, settings.seed);
        // Stuck at the processor for up to 75 s, after a minute on the network.
        own.capabilities.request_life_max = TimeSpan::from_secs(150);
        own.capabilities.inquiry_authoritative_after = match rng.below(3) {
            0 => None,
            _ => Some(TimeSpan::from_secs(150)),
        };
        let safe = rng.chance(7_000);
        // One that promises neither leaves an error for good to its settlement, which comes after the world's end.
        own.capabilities.replay_after_error_safe = safe || own.capabilities.inquiry_authoritative_after.is_none();
        let connections = usize::try_from(1 + rng.below(3)).unwrap_or(1);
        SimulatedProcessor::new(Processor::new(own, epoch), connections, Rng::new(rng.bits()))
    };
    ["bank-a", "bank-b", "bank-c"].iter().map(|name| make(name, rng)).collect()
}
