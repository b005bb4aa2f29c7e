//! Chargers, processors, holds.

use super::sessions::hold_state;
use super::views::Views;
use crate::actors::processor::{ProcessorActor, Report};
use crate::units::Amount;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use std::sync::mpsc;
use std::time::Duration;

/// A charger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChargerRow {
    /// Its id.
    pub id: String,
    /// Whether somebody speaks for it now.
    pub online: bool,
    /// What its connectors say they are doing.
    pub connectors: Vec<String>,
    /// Its firmware.
    pub firmware: String,
    /// Sessions that are open.
    pub sessions: Vec<String>,
}

/// A processor that was connected since the start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessorRow {
    /// Its id.
    pub id: String,
    /// Connections that are up.
    pub connections: usize,
    /// Operations that wait for an answer.
    pub in_flight: usize,
    /// Operations sent, repetitions included.
    pub sent: u64,
    /// Answers received, repetitions included.
    pub answers: u64,
    /// Operations that no connection could take.
    pub not_sent: u64,
    /// Kinds of operations that are not sent now, because they failed.
    #[serde(default)]
    pub breakers_open: Vec<String>,
}

/// Funds that are reserved, or being asked for or released.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldRow {
    /// Its id: that of its authorization.
    pub id: String,
    /// The session.
    pub session: String,
    /// Where.
    pub processor: String,
    /// The processor's name for it.
    pub reference: Option<String>,
    /// How it stands.
    pub state: String,
    /// Reserved, in major units.
    pub authorized: Decimal,
    /// Taken.
    pub captured: Decimal,
    /// The currency.
    pub currency: String,
    /// When it lapses.
    pub expires_at: String,
}

impl Views {
    /// Every charger that ever said hello, in the order of ids; those whose id begins so.
    pub fn chargers(&self, start: &str) -> Vec<ChargerRow> {
        let start = start.to_owned();
        let found = self.ask(move |shard| {
            let chargers = shard.partitions().iter().flat_map(|partition| partition.chargers.iter());
            let wanted = chargers.filter(|(_, hosted)| hosted.state().id.as_str().starts_with(&start));
            let rows = wanted.map(|(_, hosted)| {
                let state = hosted.state();
                let connectors = state.connectors.iter().map(|connector| {
                    let status = hosted.statuses().iter().find(|(id, _)| *id == connector.id);
                    let status = status.map_or("unknown".to_owned(), |(_, state)| format!("{state:?}").to_lowercase());
                    format!("{}: {} kW, {status}", connector.id, connector.power_max.kw())
                });
                ChargerRow {
                    id: state.id.to_string(),
                    online: hosted.link().is_some(),
                    connectors: connectors.collect(),
                    firmware: state.firmware.to_string(),
                    sessions: hosted.sessions().iter().map(|(key, _)| key.to_string()).collect(),
                }
            });
            rows.collect::<Vec<_>>()
        });
        let mut rows: Vec<ChargerRow> = found.into_iter().flatten().collect();
        rows.sort_by(|a, b| a.id.cmp(&b.id));
        rows
    }

    /// Processors of a running gate, in the order of ids.
    pub fn processors(&self) -> Vec<ProcessorRow> {
        let Some(directory) = self.directory() else { return Vec::new() };
        let (answers, answered) = mpsc::channel();
        for actor in directory.processors().values() {
            let answers = answers.clone();
            let _ = actor.try_send(Report(Box::new(move |actor| {
                let _ = answers.send(processor(actor));
            })));
        }
        drop(answers);
        let mut rows: Vec<ProcessorRow> =
            std::iter::from_fn(|| answered.recv_timeout(Duration::from_secs(5)).ok()).collect();
        rows.sort_by(|a, b| a.id.cmp(&b.id));
        rows
    }

    /// Holds that have not ended, in the order of ids.
    pub fn holds(&self) -> Vec<HoldRow> {
        let found = self.ask(|shard| {
            let sessions = shard.partitions().iter().flat_map(|partition| partition.sessions.iter());
            let rows = sessions.flat_map(|(_, hosted)| {
                let payment = &hosted.state().payment;
                let major = |minor| Amount::new(minor, payment.currency()).major();
                let open = payment.holds().iter().filter(|hold| !hold.is_over());
                open.map(move |hold| HoldRow {
                    id: payment.operation_id(hold.number).to_string(),
                    session: payment.session().to_string(),
                    processor: hold.processor.to_string(),
                    reference: hold.processor_ref.as_ref().map(|name| name.0.to_string()),
                    state: hold_state(hold.stage).to_owned(),
                    authorized: major(hold.authorized_minor),
                    captured: major(hold.captured_minor),
                    currency: payment.currency().code().to_owned(),
                    expires_at: hold.expires_at.to_string(),
                })
            });
            rows.collect::<Vec<_>>()
        });
        let mut rows: Vec<HoldRow> = found.into_iter().flatten().collect();
        rows.sort_by(|a, b| a.id.cmp(&b.id));
        rows
    }
}

fn processor(actor: &ProcessorActor) -> ProcessorRow {
    let counts = actor.counts();
    ProcessorRow {
        id: actor.id().to_string(),
        connections: actor.connections(),
        in_flight: actor.in_flight(),
        sent: counts.sent,
        answers: counts.answers,
        not_sent: counts.not_sent,
        breakers_open: actor.open_breakers().iter().map(|kind| format!("{kind:?}").to_lowercase()).collect(),
    }
}
