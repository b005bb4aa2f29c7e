//! Attackers: peers with valid certificates, unauthenticated peers and scrapers that repeat attacks found in trials,
//! beside regular traffic.
//!
//! Each attacker works in rounds, with random numbers of its own, from an address of its own. It has a list of
//! allowed answers of the gate; any other answer is a violation. Its use of resources (connections, names, bytes) is
//! bounded.

mod account_names;
mod alternating_registers;
mod card_numbers;
mod charger_line;
mod coarse_meter;
mod console_abuse;
mod crowd_of_one;
mod evil_answers;
mod extreme_figures;
mod field;
mod forged_certificates;
mod garbage;
mod half_open;
mod hello_flood;
mod honest;
mod http;
mod implausible_starts;
mod planted;
mod processor_line;
mod raw;
mod refused_answers;
mod repeated_callback;
mod repeated_disputes;
mod reserved_names;
mod settlement_floods;
mod settlement_lies;
mod silent_peers;
mod simulated_processor;
mod suspect_readings;
mod tally;
mod unseen_characters;
mod wildcard_site;

pub use field::{ConsoleWay, Field, Ways};
pub use honest::{Checker, Honest, HonestReport, HonestSettings};
pub use tally::{Counts, Tally};

use super::pace::Pace;
use super::processor::{Lines, Service, Settings};
use crate::message::Subject;
use crate::payment::CredentialKind;
use crate::units::rng::Rng;
use crate::units::{Currency, ProcessorId};
use serde::Serialize;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Why a round could not be made; nothing that the gate did wrong.
#[derive(Debug)]
pub struct Trouble(pub String);

impl Trouble {
    /// From any error.
    pub fn of(error: impl fmt::Display) -> Trouble {
        Trouble(error.to_string())
    }
}

/// One round in progress.
pub type Attacking = Pin<Box<dyn Future<Output = Result<(), Trouble>> + Send>>;

/// A kind of attacker.
#[derive(Clone, Copy)]
pub struct Attacker {
    /// What it is called on the command line.
    pub name: &'static str,
    /// The entries of the trials' findings that it covers.
    pub findings: &'static str,
    /// What it does.
    pub does: &'static str,
    /// What the gate has to answer.
    pub expects: &'static str,
    /// Most time between two rounds.
    pause: Duration,
    /// The currency of its own processors and chargers, by its number: no regular driver's money is involved.
    currency: u16,
    attack: fn(Field) -> Attacking,
}

impl Attacker {
    /// The names of its chargers, as a pattern, and the currency of their tariff.
    pub fn chargers(&self) -> (String, Currency) {
        (format!("EVIL-{}-*", self.name), self.currency())
    }

    fn currency(&self) -> Currency {
        Currency::from_numeric(self.currency).unwrap_or(Currency::EUR)
    }
}

/// Every kind of attacker, in the order of the findings.
pub const ATTACKERS: &[Attacker] = &[
    alternating_registers::ATTACKER,
    coarse_meter::ATTACKER,
    hello_flood::ATTACKER,
    extreme_figures::ATTACKER,
    half_open::ATTACKER,
    crowd_of_one::ATTACKER,
    implausible_starts::ATTACKER,
    suspect_readings::ATTACKER,
    account_names::ATTACKER,
    card_numbers::ATTACKER,
    forged_certificates::ATTACKER,
    repeated_disputes::ATTACKER,
    settlement_lies::ATTACKER,
    settlement_floods::ATTACKER,
    wildcard_site::ATTACKER,
    refused_answers::ATTACKER,
    repeated_callback::ATTACKER,
    console_abuse::ATTACKER,
    unseen_characters::ATTACKER,
    reserved_names::ATTACKER,
    garbage::ATTACKER,
    evil_answers::ATTACKER,
    silent_peers::ATTACKER,
];

/// The currency of attackers that need none of their own, by its number.
const EURO: u16 = 978;

/// What one attacker did and got.
#[derive(Clone, Debug, Serialize)]
pub struct AttackReport {
    /// What it is called.
    pub name: &'static str,
    /// The entries of the trials' findings that it covers.
    pub findings: &'static str,
    /// What it did.
    pub does: &'static str,
    /// What the gate had to answer.
    pub expects: &'static str,
    /// What it got.
    #[serde(flatten)]
    pub counts: Counts,
}

/// Attackers at work. Dropping it stops them.
pub struct Attackers {
    running: watch::Sender<bool>,
    at_work: Vec<(Attacker, Arc<Tally>, JoinHandle<()>)>,
}

/// After a round that could not be made.
const KEPT_OUT_PAUSE: Duration = Duration::from_secs(2);
/// How long a round may take to end when the attackers are to stop.
const LAST_ROUND: Duration = Duration::from_secs(20);

impl Attackers {
    /// Starts these kinds on the current runtime.
    pub fn start(kinds: &[Attacker], ways: &Arc<Ways>, seed: u64) -> Attackers {
        let (running, orders) = watch::channel(true);
        let at_work = kinds.iter().map(|attacker| {
            let tally = Arc::new(Tally::default());
            let index = ATTACKERS.iter().position(|one| one.name == attacker.name).unwrap_or_default();
            let field = Field {
                ways: Arc::clone(ways),
                tally: Arc::clone(&tally),
                rng: Rng::new(seed),
                round: 0,
                name: attacker.name,
                currency: attacker.currency(),
                source: field::source_of(ways.chargers, index),
                running: orders.clone(),
            };
            (*attacker, tally, tokio::spawn(work(*attacker, field, seed)))
        });
        Attackers { at_work: at_work.collect(), running }
    }

    /// How they stand.
    pub fn reports(&self) -> Vec<AttackReport> {
        let report = |(attacker, tally, _): &(Attacker, Arc<Tally>, JoinHandle<()>)| AttackReport {
            name: attacker.name,
            findings: attacker.findings,
            does: attacker.does,
            expects: attacker.expects,
            counts: tally.counts(),
        };
        self.at_work.iter().map(report).collect()
    }

    /// Lets them end their rounds.
    pub async fn stop(mut self) -> Vec<AttackReport> {
        self.running.send_replace(false);
        let deadline = tokio::time::Instant::now() + LAST_ROUND;
        for (attacker, tally, task) in &mut self.at_work {
            match tokio::time::timeout_at(deadline, &mut *task).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tally.violation(format!("the attacker {} itself failed: {error}", attacker.name)),
                Err(_) => task.abort(),
            }
        }
        self.reports()
    }
}

/// The processors of attackers, once they behave: what the gate still waits for is answered, so that it comes to its end.
///
/// # Errors
/// [`Trouble`]: the gate cannot be reached, or refuses what must be accepted.
pub fn reformed(kinds: &[Attacker], ways: &Ways) -> Result<Vec<Service>, Trouble> {
    let pace = Pace { clock: Arc::clone(&ways.clock), speed: 1 };
    let mut services = Vec::new();
    for attacker in kinds.iter().filter(|attacker| attacker.currency != EURO) {
        let id = ProcessorId::new(&peer_name(attacker.name, 0)).map_err(Trouble::of)?;
        let dialler = ways.dialler(&Subject::Processor(id.clone()))?;
        let capabilities = processor_line::capabilities_in(attacker.currency(), &id, &[CredentialKind::WalletToken]);
        let settings = Settings { capabilities, ..Settings::new(id, 0) };
        services.push(Service::start(settings, &Lines { dialler, connections: 1, mac: None }, &pace));
    }
    Ok(services)
}

/// The name of an attacker's nth peer.
fn peer_name(attacker: &str, number: u64) -> String {
    format!("EVIL-{attacker}-{number:02}")
}

/// Random numbers of a round of an attacker: the same for a seed, independent of the others.
fn rng_of(seed: u64, name: &str, round: u64) -> Rng {
    let name = name.bytes().fold(0_u64, |hash, byte| hash.wrapping_mul(1_099_511_628_211) ^ u64::from(byte));
    Rng::of(seed, u128::from(name) << 64 | u128::from(round))
}

async fn work(attacker: Attacker, mut field: Field, seed: u64) {
    let tally = Arc::clone(&field.tally);
    while field.goes_on() {
        field.rng = rng_of(seed, attacker.name, field.round);
        let outcome = (attacker.attack)(field.clone()).await;
        let kept_out = outcome.is_err();
        tally.round(outcome);
        field.round += 1;
        let most = i64::try_from(attacker.pause.as_millis()).unwrap_or(i64::MAX);
        let wait = Duration::from_millis(field.rng.between(most / 2, most).unsigned_abs());
        field.pause(if kept_out { wait.max(KEPT_OUT_PAUSE) } else { wait }).await;
    }
}

/// The kinds with these names; none: all of them. `planted` is one that no gate answers as it expects, to see a run fail.
///
/// # Errors
/// A name that no kind has.
pub fn named(names: &[String]) -> Result<Vec<Attacker>, String> {
    let all = || ATTACKERS.iter().chain([&planted::ATTACKER]);
    let find = |name: &String| all().find(|one| one.name == name).copied().ok_or_else(|| name.clone());
    if names.is_empty() { Ok(ATTACKERS.to_vec()) } else { names.iter().map(find).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_used_once_and_every_kind_says_what_it_expects() {
        let mut names = BTreeSet::new();
        let mut currencies = BTreeSet::new();
        for attacker in ATTACKERS {
            let own = attacker.currency != EURO;
            assert_eq!(attacker.currency().numeric(), attacker.currency, "{}", attacker.name);
            assert!(!own || currencies.insert(attacker.currency), "{}: another one's currency", attacker.name);
            assert!(names.insert(attacker.name), "{} twice", attacker.name);
            assert!(!attacker.does.is_empty() && !attacker.expects.is_empty(), "{}", attacker.name);
        }
        assert!(named(&["no-such".to_owned()]).is_err());
    }

    #[test]
    fn rounds_repeat_with_their_seed() {
        let roll = |seed, name, round| rng_of(seed, name, round).bits();
        assert_eq!(roll(1, "garbage", 3), roll(1, "garbage", 3));
        let others = [roll(2, "garbage", 3), roll(1, "others", 3), roll(1, "garbage", 4)];
        assert!(others.iter().all(|other| *other != roll(1, "garbage", 3)));
    }
}
