//! Peers of a partition that lost their connection a moment ago: most come back at once, and that is no fact.
//!
//! A peer counts as connected until it has been without a connection for a while. What is stored is only that it counts so:
//! after a restart all are without one, and those that do not come back in time are missed by a look at all of them.

use super::charger::HostedCharger;
use super::handlers::{chargers, processors};
use super::hosted::{Arena, Slot};
use super::partition::Partition;
use super::shard::Shard;
use crate::limits::{ABSENCES_NOTED_AT_ONCE, ABSENT_AFTER_RESTART, CHARGER_ABSENT_MAX, PROCESSOR_ABSENT_MAX};
use crate::units::{Mono, Now, ProcessorId, TimeSpan};
use std::collections::{BTreeMap, BTreeSet};

/// Peers without a connection, each until its time is over.
#[derive(Debug)]
pub(super) struct Absences<K> {
    /// Gone since the last tick.
    gone: BTreeSet<K>,
    until: BTreeMap<K, Mono>,
    due: BTreeSet<(Mono, K)>,
}

impl<K> Default for Absences<K> {
    fn default() -> Absences<K> {
        Absences { gone: BTreeSet::new(), until: BTreeMap::new(), due: BTreeSet::new() }
    }
}

impl<K: Clone + Ord> Absences<K> {
    /// A peer has no connection any more. Its time begins with the next tick.
    pub fn gone(&mut self, peer: K) {
        self.gone.insert(peer);
    }

    /// It has one again.
    pub fn back(&mut self, peer: &K) {
        self.gone.remove(peer);
        if let Some(until) = self.until.remove(peer) {
            self.due.remove(&(until, peer.clone()));
        }
    }

    /// Its time is over at this moment.
    pub fn until(&mut self, peer: K, until: Mono) {
        self.back(&peer);
        self.due.insert((until, peer.clone()));
        self.until.insert(peer, until);
    }

    /// Takes out some whose time is over; those that went since the last tick have this much.
    fn take_due(&mut self, now: Mono, absent_max: TimeSpan) -> Vec<K> {
        for peer in std::mem::take(&mut self.gone) {
            self.until(peer, now.after(absent_max));
        }
        let mut taken = Vec::new();
        while taken.len() < ABSENCES_NOTED_AT_ONCE
            && self.due.first().is_some_and(|(until, _)| *until <= now)
            && let Some((_, peer)) = self.due.pop_first()
        {
            self.until.remove(&peer);
            taken.push(peer);
        }
        taken
    }
}

/// Peers of a partition that are without a connection, and those of which the last process knew that they had one.
#[derive(Debug, Default)]
pub(super) struct Missing {
    pub chargers: Absences<Slot>,
    pub processors: Absences<ProcessorId>,
    /// Processors with a connection, and whether they wish no new holds.
    pub present: BTreeMap<ProcessorId, bool>,
    /// When all peers are looked at, once after a restart.
    look_at: Option<Mono>,
}

impl Shard {
    /// After replay: peers that do not come back in time are missed.
    pub(super) fn miss_peers(&mut self, now: Now) {
        for partition in self.partitions_mut() {
            partition.missing.look_at = Some(now.mono.after(ABSENT_AFTER_RESTART));
        }
    }

    /// Notes peers that have been without a connection for too long. Those that find the journal busy are noted later.
    pub(super) fn note_absent(&mut self, now: Now) {
        for local in 0..self.partitions().len() {
            let local = u16::try_from(local).expect("partitions are counted by a u16");
            let partition = &mut self.partitions_mut()[usize::from(local)];
            if partition.missing.look_at.take_if(|at| *at <= now.mono).is_some() {
                look_for_missing(partition, now.mono);
            }
            let chargers = partition.missing.chargers.take_due(now.mono, CHARGER_ABSENT_MAX);
            let processors = partition.missing.processors.take_due(now.mono, PROCESSOR_ABSENT_MAX);
            for slot in chargers {
                match self.begin(local, now) {
                    Ok((partition, mut delivery)) => chargers::absent(&mut delivery, partition, slot),
                    Err(_) => self.missing_in(local).chargers.until(slot, now.mono),
                }
            }
            for processor in processors {
                match self.begin(local, now) {
                    Ok((partition, mut delivery)) => processors::absent(&mut delivery, partition, &processor),
                    Err(_) => self.missing_in(local).processors.until(processor, now.mono),
                }
            }
        }
    }

    fn missing_in(&mut self, local: u16) -> &mut Missing {
        &mut self.partitions_mut()[usize::from(local)].missing
    }
}

fn look_for_missing(partition: &mut Partition, now: Mono) {
    let is_missing = |hosted: &HostedCharger| hosted.state().is_online && hosted.link().is_none();
    let cells: &Arena<HostedCharger> = &partition.chargers;
    let missing = cells.iter().filter(|(_, hosted)| is_missing(hosted)).map(|(slot, _)| slot);
    for slot in missing {
        // One that came and went since the restart has its own time.
        if !partition.missing.chargers.until.contains_key(&slot) {
            partition.missing.chargers.until(slot, now);
        }
    }
    let absent = partition
        .processors
        .iter()
        .filter(|(id, known)| known.is_connected && !partition.missing.present.contains_key(id));
    let absent: Vec<ProcessorId> = absent.map(|(id, _)| id.clone()).collect();
    absent.into_iter().for_each(|processor| partition.missing.processors.until(processor, now));
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHILE: TimeSpan = TimeSpan::from_secs(60);

    #[test]
    fn a_peer_is_missed_when_its_time_is_over_and_not_before() {
        let mut absences = Absences::default();
        absences.gone("a");
        assert!(absences.take_due(Mono(1_000), WHILE).is_empty());
        assert!(absences.take_due(Mono(60_999), WHILE).is_empty());
        assert_eq!(absences.take_due(Mono(61_000), WHILE), ["a"]);
        assert!(absences.take_due(Mono(200_000), WHILE).is_empty(), "once");
    }

    #[test]
    fn one_that_comes_and_goes_has_its_whole_time_again() {
        let mut absences = Absences::default();
        absences.gone("a");
        absences.take_due(Mono(0), WHILE);
        absences.back(&"a");
        assert!(absences.take_due(Mono(60_000), WHILE).is_empty());
        absences.gone("a");
        absences.take_due(Mono(70_000), WHILE);
        assert!(absences.take_due(Mono(129_000), WHILE).is_empty());
        assert_eq!(absences.take_due(Mono(130_000), WHILE), ["a"]);
        assert!(absences.due.is_empty() && absences.until.is_empty());
    }
}
