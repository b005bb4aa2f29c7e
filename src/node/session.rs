//! The actor of a charging session: the shell around [`crate::session`].

use super::hosted::{Counts, Hostable, Hosted, Slot};
use super::node_config::NodeConfig;
use crate::accounting::posting;
use crate::billing::invoice::Issued;
use crate::ledger::Entry;
use crate::limits::OCPP_STOP_MISSING;
use crate::payment::{LiveOperation, Phase};
use crate::session::{self, Command, Context, Effect, Event, Policy, Session, Stage, StopReason};
use crate::stored::Stored;
use crate::tariff::Tariff;
use crate::units::{Mono, Now, TimeSpan};
use jiff::tz::TimeZone;
use std::sync::Arc;

/// A charging session, hosted in its partition.
pub struct HostedSession {
    state: Session,
    /// The cell of its charger, in the same partition.
    charger: Slot,
    tariff: Arc<Tariff>,
    zone: TimeZone,
    policy: Arc<Policy>,
    /// When its charger's last message arrived.
    received: Mono,
    /// When its cost was last compared with its funds: by a good reading, or by the clock.
    compared: Mono,
    /// Time of the last good reading.
    metered: Mono,
    /// When its payment's timer is due, if one runs.
    payment_due: Mono,
    /// It was rebuilt, and no good reading has come since: how long none had come before is known by the wall clock alone.
    rebuilt: bool,
    /// Its charger restarted, or its connector is free, and nothing of the session came since.
    is_left: bool,
    /// Seconds without a message of its charger before the process began, until the first one arrives; at most 18
    /// hours count.
    silent_before_s: u16,
}

/// A command for a session, and the shared state for routing.
pub struct Deliver<'a>(pub Command, pub &'a NodeConfig);

/// What a session is priced by.
pub struct Pricing {
    /// The tariff that it began with.
    pub tariff: Arc<Tariff>,
    /// The charger's time zone.
    pub zone: TimeZone,
}

impl HostedSession {
    /// A session in its cell.
    pub fn new(
        state: Session,
        charger: Slot,
        Pricing { tariff, zone }: Pricing,
        policy: Arc<Policy>,
        now: Now,
    ) -> HostedSession {
        let policy = policy.of_tariff(&tariff);
        let received = now.mono;
        let (compared, metered) = (received, received);
        HostedSession {
            state,
            charger,
            tariff,
            zone,
            policy,
            received,
            compared,
            metered,
            payment_due: Mono::NEVER,
            rebuilt: false,
            is_left: false,
            silent_before_s: 0,
        }
    }

    /// The policy, with the amounts of its tariff's currency.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Its known state.
    pub fn state(&self) -> &Session {
        &self.state
    }

    /// The cell of its charger.
    pub fn charger(&self) -> Slot {
        self.charger
    }

    /// Its tariff.
    pub fn tariff(&self) -> &Arc<Tariff> {
        &self.tariff
    }

    /// Its time zone.
    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// The price as text, for the charger's display: the tariff's own text, where it has one.
    pub fn price_text(&self) -> Box<str> {
        self.tariff.alt_texts().first().map_or_else(Box::default, |text| text.text.as_str().into())
    }

    /// Reads a word of every part that a reading needs; its value does not matter.
    #[inline]
    pub(super) fn prefetch_hot(&self) -> u64 {
        let Session { id, meter, rating, segments, payment, key, .. } = &self.state;
        let low = |bits: i64| bits.cast_unsigned();
        let charging = matches!(self.state.stage, Stage::Charging { .. });
        u64::from(id.partition().0)
            ^ u64::from(meter.sequence)
            ^ low(meter.register.microwatt_hours())
            ^ rating.prefetch()
            ^ segments.as_slice().last().map_or(0, |segment| low(segment.volume))
            ^ payment.prefetch()
            ^ u64::from(charging)
            ^ key.0
            ^ self.received.0
            ^ self.metered.0
            ^ self.payment_due.0
    }

    /// Applies a fact, live and in replay, and returns the entries that follow.
    pub fn fold(&mut self, event: &Event, post: &mut dyn FnMut(Entry)) {
        if let Event::Payment(fact) = event {
            posting::of_session(&self.state, &self.tariff, fact, post);
        }
        let ended = self.state.ended().is_some();
        // A reading that came after the end, which is rare: what was sold already consists of other parts by now.
        let before = match event {
            Event::Metered(_) if ended => posting::mixture(&self.state, &self.tariff),
            _ => None,
        };
        if let Event::Continued { .. } = event {
            posting::of_continuation(&self.state, &self.tariff, post);
        }
        session::apply(&mut self.state, event);
        if let Some(before) = before {
            posting::of_late_reading(&self.state, &self.tariff, &before, post);
        }
        if matches!(event, Event::Ended(_)) && !ended {
            posting::of_end(&self.state, &self.tariff, post);
        }
    }

    /// Keeps a document that a series has numbered, live and in replay.
    pub fn document(&mut self, issued: Issued) {
        self.state.keep_document(issued);
    }

    fn surroundings<'a>(&'a self, now: Now, node_config: &'a NodeConfig) -> Context<'a> {
        Context { now, tariff: &self.tariff, zone: &self.zone, policy: &self.policy, router: node_config }
    }

    /// When the charger's time-out ends, in states that have one.
    fn silence_deadline(&self) -> Option<Mono> {
        match &self.state.stage {
            Stage::Charging { .. } => Some(self.received.after(self.left_of(self.silence_allowed()))),
            // Ended on its last known total, and a hold is kept for late readings.
            Stage::Settling(ended) if ended.payable.minor > 0 && !self.state.payment.is_ending() => {
                Some(self.received.after(self.left_of(self.policy.late_readings)))
            }
            Stage::Authorizing | Stage::Settling(_) | Stage::Closed(_) => None,
        }
    }

    /// The rest of a span that begins with the charger's last message: the time of earlier processes counts, and a
    /// charger has some time to reconnect after each start.
    fn left_of(&self, span: TimeSpan) -> TimeSpan {
        let before = TimeSpan::from_secs(i64::from(self.silent_before_s));
        let left = TimeSpan::from_ms(span.ms().saturating_sub(before.ms()));
        left.max(span.min(self.policy.reconnect))
    }

    /// Time without a message of its charger when it was rebuilt, by the wall clock.
    fn silent_at(&self, now: Now) -> u16 {
        let last = match &self.state.stage {
            Stage::Settling(ended) | Stage::Closed(ended) => ended.known_at,
            Stage::Authorizing | Stage::Charging { .. } => self.state.meter.at,
        };
        u16::try_from(now.wall.since(last).whole_secs().max(0)).unwrap_or(u16::MAX)
    }

    /// Time without a good reading, also while no process ran: the energy continued to flow.
    fn quiet(&self, now: Now) -> TimeSpan {
        let measured = now.mono.since(self.metered);
        if self.rebuilt { measured.max(now.wall.since(self.state.meter.at)) } else { measured }
    }

    /// When the funds are to be checked although no good reading has arrived.
    fn watch_deadline(&self) -> Option<Mono> {
        match &self.state.stage {
            Stage::Charging { stop_asked: None, .. } if !self.state.is_unpaid() => {
                let wait = TimeSpan::from_ms(self.policy.stop_latency.ms().saturating_mul(2) / 3);
                Some(self.compared.after(wait))
            }
            Stage::Authorizing | Stage::Charging { .. } | Stage::Settling(_) | Stage::Closed(_) => None,
        }
    }

    fn payment_due(&self) -> Option<Mono> {
        (self.payment_due != Mono::NEVER).then_some(self.payment_due)
    }

    fn silence_allowed(&self) -> TimeSpan {
        let allowed = match self.state.meter.sequence {
            // A charger whose readings the gate numbers may send none before its stop.
            0 if self.state.origin.is_none() => self.policy.no_start,
            _ => self.policy.silence,
        };
        // Of a session without readings nothing is known before its stop.
        let allowed =
            if self.is_left && self.state.meter.sequence > 0 { allowed.min(OCPP_STOP_MISSING) } else { allowed };
        match &self.state.stage {
            // An operator ordered the end: the gate stops waiting for a charger that does not answer.
            Stage::Charging { stop_asked: Some(StopReason::Operator | StopReason::Driver), .. } => {
                allowed.min(self.policy.stop_latency)
            }
            _ => allowed,
        }
    }
}

impl Hostable for HostedSession {
    type Message<'a> = Deliver<'a>;
    type Event = Event;
    type Effect = Effect;

    fn handle(&mut self, Deliver(command, node_config): Deliver<'_>, context: &mut Hosted<HostedSession>) {
        let now = context.now();
        let command = match command {
            Command::Wake { .. } => {
                let due = |deadline: Option<Mono>| deadline.is_some_and(|at| at <= now.mono);
                // One command at a time: the payment's timer comes first, and the funds are checked directly after
                // it.
                let watch = due(self.watch_deadline()) && !due(self.payment_due());
                if watch {
                    self.compared = now.mono;
                }
                let quiet = watch.then(|| self.quiet(now));
                let silent = due(self.silence_deadline());
                match &self.state.stage {
                    Stage::Charging { .. } if silent && self.is_left => Command::Abandoned,
                    _ => Command::Wake { silent, quiet },
                }
            }
            Command::Reading(_)
            | Command::Stop(_)
            | Command::Sample(_)
            | Command::End { .. }
            | Command::RepeatStart
            | Command::PresentAnotherCredential { .. }
            | Command::Resumed
            | Command::Reconnected => {
                self.is_left = false;
                self.received = now.mono;
                self.silent_before_s = 0;
                command
            }
            Command::Left => {
                // Its stop may come after this: the time for it begins now.
                self.is_left = true;
                self.received = now.mono;
                self.silent_before_s = 0;
                command
            }
            Command::Occupied => {
                if !self.is_left && matches!(self.state.stage, Stage::Charging { stop_asked: None, .. }) {
                    self.received = now.mono;
                    self.silent_before_s = 0;
                }
                command
            }
            Command::Resume => {
                self.rebuilt = true;
                self.silent_before_s = self.silent_at(now);
                command
            }
            Command::Authorize { .. }
            | Command::Omitted
            | Command::Quarantine(_)
            | Command::Present(_)
            | Command::Abandoned
            | Command::Signed(_)
            | Command::Note(_)
            | Command::Rule(_)
            | Command::Payment(_)
            | Command::StopBy(_) => command,
        };
        let decision = session::decide(&self.state, command, &self.surroundings(now, node_config));
        let admitted = !matches!(self.state.stage, Stage::Authorizing);
        for event in &decision.events {
            self.fold(event, &mut |entry| context.post(entry));
        }
        // The cost is current after a good reading, and at the beginning. A higher limit is no evidence of the energy
        // used meanwhile: the time without a reading continues.
        let known = |event: &Event| match event {
            Event::Metered(_) => true,
            Event::Admitted { .. } => !admitted,
            _ => false,
        };
        if decision.events.iter().any(known) {
            (self.metered, self.compared) = (now.mono, now.mono);
            self.rebuilt = false;
        }
        if !matches!(decision.events.as_slice(), [Event::Metered(_)]) {
            self.payment_due = self.state.payment.arm(now, &self.policy.payment).unwrap_or(Mono::NEVER);
        }
        context.commit(decision);
    }

    fn next_deadline(&self) -> Option<Mono> {
        let never = |deadline: Option<Mono>| deadline.unwrap_or(Mono::NEVER);
        let earliest = never(self.silence_deadline()).min(never(self.watch_deadline())).min(self.payment_due);
        (earliest != Mono::NEVER).then_some(earliest)
    }

    fn write(&self, bytes: &mut Vec<u8>) {
        self.state.store(bytes);
    }

    fn prefetch(&self) -> u64 {
        let first = |text: &str| u64::from(text.as_bytes().first().copied().unwrap_or(0));
        let Session { charger, segments, payment, .. } = &self.state;
        let holds =
            payment.holds().iter().map(|hold| hold.processor_ref.as_ref().map_or(0, |reference| first(&reference.0)));
        first(charger.as_str())
            ^ segments.as_slice().first().map_or(0, |segment| segment.volume.cast_unsigned())
            ^ payment.past_operations().last().map_or(0, |past| past.amount_minor.cast_unsigned())
            ^ holds.fold(0, |all, hold| all ^ hold)
    }

    /// Authorizing, charging, settling, and operations in doubt.
    fn counts(&self) -> Counts {
        let doubted = |live: &&LiveOperation| matches!(live.phase, Phase::Unknown { .. });
        let doubted = self.state.payment.live_operations().iter().filter(doubted).count();
        let mut counts = [0, 0, 0, u32::try_from(doubted).unwrap_or(u32::MAX)];
        match &self.state.stage {
            Stage::Authorizing => counts[0] = 1,
            Stage::Charging { .. } => counts[1] = 1,
            Stage::Settling(_) => counts[2] = 1,
            Stage::Closed(_) => {}
        }
        counts
    }
}
