//! The part of a connection that needs no socket: which shard a charger's messages are for, what a processor's messages are
//! to its actor, and the messages sent before a connection is closed.

use super::node_config::NodeConfig;
use super::processor::Callback;
use crate::message::{
    Channel, ChargerHello, Code, FromCharger, FromProcessor, GoAway, PeerIdentity, ProcessorHello, ProcessorHelloAck,
    Received, Subject, Terms, ToCharger, ToProcessor,
};
use crate::units::{Now, PartitionId, TimeSpan};
use smallvec::SmallVec;

/// Which shard each channel's charger belongs to, in the order of the channels. Nearly every connection has one.
#[derive(Debug, Default)]
pub struct ShardsOfChannels(SmallVec<[(Channel, u16); 1]>);

impl ShardsOfChannels {
    /// Splits what a connection has read into a batch for each shard, each in order. A charger's hello says to which shard its
    /// channel belongs from now on, if `admits` lets it; what comes on a channel without a hello is dropped.
    pub fn split(
        &mut self,
        node_config: &NodeConfig,
        received: &mut Vec<Received<FromCharger>>,
        mut admits: impl FnMut(Channel, &ChargerHello) -> bool,
    ) -> Vec<(u16, Vec<Received<FromCharger>>)> {
        let mut batches: Vec<(u16, Vec<Received<FromCharger>>)> = Vec::with_capacity(1);
        for received in received.drain(..) {
            if let FromCharger::Hello(hello) = &received.message {
                if !admits(received.channel, hello) {
                    continue;
                }
                let partition = PartitionId::of(hello.charger.as_str(), node_config.partitions);
                self.set(received.channel, partition.0 % node_config.shards);
            }
            let Ok(place) = self.place(received.channel) else { continue };
            let shard = self.0[place].1;
            match batches.iter_mut().find(|(of, _)| *of == shard) {
                Some((_, messages)) => messages.push(received),
                None => batches.push((shard, vec![received])),
            }
        }
        batches
    }

    fn place(&self, channel: Channel) -> Result<usize, usize> {
        self.0.binary_search_by_key(&channel, |(of, _)| *of)
    }

    fn set(&mut self, channel: Channel, shard: u16) {
        match self.place(channel) {
            Ok(place) => self.0[place].1 = shard,
            Err(place) => self.0.insert(place, (channel, shard)),
        }
    }
}

/// A message of a processor, by who deals with it.
#[derive(Debug)]
pub enum Came {
    /// The connection sends Hello: it is answered by [`welcome`], and takes operations from then on.
    Hello(ProcessorHello),
    /// For the processor's actor.
    Callback(Callback),
    /// The processor leaves.
    GoAway(GoAway),
}

impl From<FromProcessor> for Came {
    fn from(message: FromProcessor) -> Came {
        Came::Callback(match message {
            FromProcessor::Hello(hello) => return Came::Hello(hello),
            FromProcessor::GoAway(go) => return Came::GoAway(go),
            FromProcessor::Answer(answer) => Callback::Answer(answer),
            FromProcessor::Notification(notification) => Callback::Notification(notification),
            FromProcessor::Credit { operations } => Callback::Credit(operations),
            FromProcessor::Drain(_) => Callback::Drain,
            FromProcessor::Settlement(part) => Callback::Settlement(Box::new(part)),
        })
    }
}

/// The answer to a processor's hello.
pub fn welcome(now: Now) -> ToProcessor {
    ToProcessor::HelloAck(ProcessorHelloAck { terms: Terms::PROCESSOR, server_time: now.wall })
}

/// What a charger is sent before its channel is closed.
pub fn farewell(code: Code) -> ToCharger {
    ToCharger::GoAway(GoAway { code, text: code.meaning().into(), reconnect_after: TimeSpan::ZERO })
}

/// Whether the connection of this peer ends with this channel: a single charger's with any, a site's with channel 0.
pub fn ends_with(peer: &PeerIdentity, channel: Channel) -> bool {
    matches!(peer.subject, Subject::Charger(_)) || channel == Channel::ZERO
}
