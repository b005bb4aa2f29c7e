//! The chargers on the channels of a connection.
//!
//! Sites number their channels from 1. While the numbers have no large gaps a channel is found by its number, and
//! adjacent ones are in the cache for the next message; a million hash table entries fit no cache.

use super::reference::ChargerRef;
use crate::limits;
use crate::message::Channel;
use hashbrown::HashMap;

/// Channels below this are found by their number: those of a site that numbers them as it opens them.
const NUMBERED: usize = limits::CHANNELS_PER_LINK + 1;

/// The channels of one connection with chargers of this shard.
#[derive(Debug, Default)]
pub(super) struct Channels {
    numbered: Vec<Option<ChargerRef>>,
    others: HashMap<Channel, ChargerRef>,
    len: usize,
}

impl Channels {
    /// The charger on a channel.
    #[inline]
    pub fn get(&self, channel: Channel) -> Option<ChargerRef> {
        match self.numbered.get(channel.0 as usize) {
            Some(charger) => *charger,
            None if self.others.is_empty() => None,
            None => self.others.get(&channel).copied(),
        }
    }

    /// Binds this charger to it.
    pub fn insert(&mut self, channel: Channel, charger: ChargerRef) {
        let place = channel.0 as usize;
        let before = if place >= NUMBERED {
            self.others.insert(channel, charger)
        } else {
            if place >= self.numbered.len() {
                self.numbered.resize(place + 1, None);
            }
            self.numbered[place].replace(charger)
        };
        self.len += usize::from(before.is_none());
    }

    /// Unbinds it.
    pub fn remove(&mut self, channel: Channel) {
        let before = match self.numbered.get_mut(channel.0 as usize) {
            Some(charger) => charger.take(),
            None => self.others.remove(&channel),
        };
        self.len -= usize::from(before.is_some());
    }

    /// Number of bound channels.
    pub fn len(&self) -> usize {
        self.len
    }

    /// All channels with a charger.
    pub fn bound(&self) -> impl Iterator<Item = Channel> {
        let numbered = (0_u32..).zip(&self.numbered).filter(|(_, charger)| charger.is_some());
        numbered.map(|(number, _)| Channel(number)).chain(self.others.keys().copied())
    }

    /// All bound chargers.
    pub fn chargers(&self) -> impl Iterator<Item = ChargerRef> {
        self.numbered.iter().flatten().chain(self.others.values()).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn they_are_a_map_of_channels(
            steps in prop::collection::vec((any::<bool>(), prop_oneof![0_u32..6, 1_020_u32..1_030, any::<u32>()], any::<u16>()), 0..60),
        ) {
            let (mut channels, mut model) = (Channels::default(), BTreeMap::new());
            for (goes, number, partition) in steps {
                let (channel, charger) = (Channel(number), ChargerRef { partition, slot: number });
                if goes {
                    channels.remove(channel);
                    model.remove(&channel);
                } else {
                    channels.insert(channel, charger);
                    model.insert(channel, charger);
                }
                for channel in [channel, Channel(number.wrapping_add(1))] {
                    prop_assert_eq!(channels.get(channel), model.get(&channel).copied());
                }
                let mut bound: Vec<Channel> = channels.bound().collect();
                bound.sort_unstable();
                prop_assert!(bound.iter().eq(model.keys()));
                let mut all: Vec<ChargerRef> = channels.chargers().collect();
                all.sort_unstable_by_key(|charger| charger.slot);
                let expected: Vec<ChargerRef> = model.values().copied().collect();
                prop_assert_eq!((all, channels.len()), (expected, model.len()));
            }
        }
    }
}
