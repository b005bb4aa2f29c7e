//! A partition as bytes, and back: what a snapshot holds.
//!
//! States are written as they are, in the order of cells; where cells were is not kept, because projections (which charger
//! has which session) are rebuilt from the states.

use super::account::HostedAccount;
use super::charger::HostedCharger;
use super::hosted::Slot;
use super::partition::Partition;
use super::posting::PartitionBooks;
use super::session::HostedSession;
use super::shard::Shard;
use crate::account::Account;
use crate::billing::invoice::{Series, SeriesId};
use crate::charger::Charger;
use crate::session::Session;
use crate::tariff::Tariff;
use crate::units::{Now, PartitionId};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Serialize)]
struct Written<'a> {
    tariffs: Vec<&'a str>,
    chargers: Vec<&'a Charger>,
    sessions: Vec<&'a Session>,
    accounts: Vec<&'a Account>,
    tally: super::partition::Tally,
    books: &'a PartitionBooks,
    series: &'a BTreeMap<SeriesId, Series>,
}

#[derive(Deserialize)]
struct Read<'a> {
    #[serde(borrow)]
    tariffs: Vec<&'a str>,
    chargers: Vec<Charger>,
    sessions: Vec<Session>,
    accounts: Vec<Account>,
    tally: super::partition::Tally,
    books: PartitionBooks,
    series: BTreeMap<SeriesId, Series>,
}

impl Shard {
    /// The state of a partition after its last record.
    pub fn snapshot(&self, partition: PartitionId) -> Vec<u8> {
        let Some(partition) = self.partitions().iter().find(|known| known.id == partition) else { return Vec::new() };
        let written = Written {
            tariffs: partition.pinned_all().map(|tariff| tariff.source()).collect(),
            chargers: partition.chargers.iter().map(|(_, charger)| charger.state()).collect(),
            sessions: partition.sessions.iter().map(|(_, session)| session.state()).collect(),
            accounts: partition.accounts.iter().map(|(_, account)| account.state()).collect(),
            tally: partition.tally,
            books: &partition.books,
            series: &partition.series,
        };
        postcard::to_stdvec(&written).expect("plain data into memory")
    }

    /// Takes a partition's state. Comes before any record of that partition.
    pub fn restore(&mut self, partition: PartitionId, state: &[u8], now: Now) -> Result<(), String> {
        let policy = Arc::clone(&self.house().policy);
        let partition = self.partition_mut(partition);
        let read: Read<'_> = postcard::from_bytes(state).map_err(|error| error.to_string())?;
        partition.tally = read.tally;
        partition.books = read.books;
        partition.series = read.series;
        for source in read.tariffs {
            let tariff = Tariff::parse(source).map_err(|error| format!("a pinned tariff: {error}"))?.tariff;
            partition.pin(Arc::new(tariff));
        }
        for charger in read.chargers {
            partition.insert_charger(HostedCharger::from_state(charger));
        }
        for account in read.accounts {
            let hosted = HostedAccount::from_state(account);
            if let Some(id) = hosted.id().cloned() {
                partition.insert_account(id, hosted);
            }
        }
        for session in read.sessions {
            insert_session(partition, session, |session, charger, tariff, zone| {
                HostedSession::new(session, charger, tariff, zone, policy.clone(), now)
            })?;
        }
        Ok(())
    }
}

pub(super) fn insert_session(
    partition: &mut Partition,
    session: Session,
    host: impl FnOnce(Session, u32, Arc<Tariff>, TimeZone) -> HostedSession,
) -> Result<Slot, String> {
    let tariff = partition.pinned(&session.tariff).ok_or_else(|| format!("tariff {} is not pinned", session.tariff))?;
    let zone = TimeZone::get(&session.zone).map_err(|error| error.to_string())?;
    let (slot, key) = (partition.charger(&session.charger), session.key);
    let cell = partition.insert_session(host(session, slot, tariff, zone));
    if let Some(charger) = partition.chargers.get_mut(slot) {
        charger.attach(key, cell);
    }
    Ok(cell)
}
