//! What is going on, gathered from the shards.

use crate::actors::directory::Directory;
use crate::actors::partition::Tally;
use crate::actors::shard::Shard;
use crate::actors::shard_actor::Look;
use crate::payment::Payment;
use crate::session::Stage;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::mpsc;
use std::time::Duration;

/// The state of a gate in figures.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Figures {
    /// Sessions in which energy may flow.
    pub sessions_charging: u64,
    /// Sessions that wait for an authorization.
    pub sessions_authorizing: u64,
    /// Sessions whose hold is being captured or released.
    pub sessions_settling: u64,
    /// Sessions whose every hold has ended.
    pub sessions_settled: u64,
    /// Sessions whose credential was refused.
    pub sessions_refused: u64,
    /// Readings recorded.
    pub readings: u64,
    /// Energy delivered.
    pub energy_wh: i64,
    /// Chargers that somebody speaks for now.
    pub chargers_online: u64,
    /// Money by currency.
    pub money: BTreeMap<&'static str, Money>,
}

/// Money in one currency, in minor units.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Money {
    /// Reserved and neither captured nor released.
    pub held_minor: i64,
    /// Captured.
    pub captured_minor: i64,
    /// Reserved once and given free.
    pub released_minor: i64,
    /// Owed and not captured.
    pub shortfall_minor: i64,
}

impl Figures {
    /// Adds up all shards. Waits for them for a while; a shard that does not answer is left out.
    pub fn gather(directory: &Directory) -> Figures {
        let mut figures = Figures::default();
        for part in ask_all(directory, Figures::of) {
            figures.add(&part);
        }
        figures
    }

    fn of(shard: &Shard) -> Figures {
        let mut figures = Figures::default();
        for partition in shard.partitions() {
            figures.chargers_online +=
                partition.chargers.iter().filter(|(_, charger)| charger.link().is_some()).count() as u64;
            let Tally { opened: _, refused, settled, readings, energy } = partition.tally;
            figures.energy_wh += energy.whole_watt_hours();
            figures.sessions_settled += settled;
            figures.sessions_refused += refused;
            figures.readings += readings;
            for (_, session) in partition.sessions.iter() {
                let state = session.state();
                match &state.stage {
                    Stage::Authorizing => figures.sessions_authorizing += 1,
                    Stage::Charging { .. } => figures.sessions_charging += 1,
                    Stage::Settling(_) => figures.sessions_settling += 1,
                    Stage::Closed(_) => {}
                }
                let money = figures.money.entry(state.payment.currency().code()).or_default();
                money.held_minor += state.payment.authorized().minor;
                money.captured_minor += state.payment.captured().minor;
                money.released_minor += released_minor(&state.payment);
                money.shortfall_minor += state.payment.shortfall().minor;
            }
        }
        figures
    }

    fn add(&mut self, other: &Figures) {
        self.sessions_charging += other.sessions_charging;
        self.sessions_authorizing += other.sessions_authorizing;
        self.sessions_settling += other.sessions_settling;
        self.sessions_settled += other.sessions_settled;
        self.sessions_refused += other.sessions_refused;
        self.readings += other.readings;
        self.energy_wh += other.energy_wh;
        self.chargers_online += other.chargers_online;
        for (currency, money) in &other.money {
            let sum = self.money.entry(currency).or_default();
            sum.held_minor += money.held_minor;
            sum.captured_minor += money.captured_minor;
            sum.released_minor += money.released_minor;
            sum.shortfall_minor += money.shortfall_minor;
        }
    }
}

/// What was reserved by holds that have ended, and not taken.
fn released_minor(payment: &Payment) -> i64 {
    let ended = payment.holds().iter().filter(|hold| hold.is_over());
    ended.map(|hold| hold.authorized_minor.saturating_sub(hold.captured_minor).max(0)).sum()
}

/// How long a shard may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Asks every shard the same, at the same time.
pub fn ask_all<T: Send + 'static>(directory: &Directory, question: fn(&Shard) -> T) -> Vec<T> {
    let (answers, answered) = mpsc::channel();
    for shard in directory.shards() {
        let answers = answers.clone();
        let look = Look(Box::new(move |shard| {
            let _ = answers.send(question(shard));
        }));
        let _ = shard.try_send(look);
    }
    drop(answers);
    std::iter::from_fn(|| answered.recv_timeout(PATIENCE).ok()).collect()
}
