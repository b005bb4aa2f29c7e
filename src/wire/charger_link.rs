//! The gate's end of a charger's (or site controller's) connection.
//!
//! ```text
//!              Hello, checked against the certificate          GoAway, garbage, silence
//!   awaiting ──────────────────────────────────────▶ open ──────────────────────────────▶ closed
//!   Hello                                             │ ▲
//!      │ 10 s                                         └─┘ more Hellos on other channels (sites only)
//!      └──────────▶ closed
//! ```
//!
//! No input or output of its own: it takes bytes and the time, and returns messages and bytes. Garbage, wrong
//! identities and heartbeats are handled here and never reach the machines.

use super::charger_codec::{ChargerPayload, put, read_from_charger, write_to_charger};
use super::frame::{Direction, Frame, FrameHead, FrameReader, FrameType, write_frame};
use super::payload::write_go_away;
use super::watch::{Phase, Watch};
use super::{LinkError, SendError, schema};
use crate::limits;
use crate::message::{Channel, ChargerHello, Code, FromCharger, PeerIdentity, Received, Subject, ToCharger};
use crate::units::{ChargerId, Mono, Now, SiteId};
use smallvec::SmallVec;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

/// Returns whether a charger belongs to a site; from the configuration.
pub type MaySpeakFor = Arc<dyn Fn(&SiteId, &ChargerId) -> bool + Send + Sync>;

/// The gate's end of one connection of a charger or a site controller.
pub struct ChargerLink {
    reader: FrameReader,
    state: State,
}

/// Everything but the reader, so that a frame can be borrowed from the one while the other changes.
struct State {
    peer: PeerIdentity,
    may_speak_for: MaySpeakFor,
    watch: Watch,
    /// The charger of each channel.
    bound: Bindings,
    /// Channels that we closed. Messages in flight then are dropped, until a new Hello.
    dismissed: BTreeSet<Channel>,
}

struct Bound {
    charger: ChargerId,
    /// The Hello's own number, for the HelloAck.
    hello: u64,
}

/// In the order of their channels. Nearly every connection has one, and there are many connections: that one is kept in
/// place.
#[derive(Default)]
struct Bindings(SmallVec<[(Channel, Bound); 1]>);

impl Bindings {
    fn place(&self, channel: Channel) -> Result<usize, usize> {
        self.0.binary_search_by_key(&channel, |(bound, _)| *bound)
    }

    fn get(&self, channel: Channel) -> Option<&Bound> {
        self.place(channel).ok().map(|place| &self.0[place].1)
    }

    /// Binds a free channel.
    fn insert(&mut self, channel: Channel, bound: Bound) {
        if let Err(place) = self.place(channel) {
            self.0.insert(place, (channel, bound));
        }
    }

    fn remove(&mut self, channel: Channel) -> Option<Bound> {
        self.place(channel).ok().map(|place| self.0.remove(place).1)
    }
}

impl ChargerLink {
    /// A link after the handshake, for the peer that its certificate names.
    ///
    /// # Errors
    ///
    /// [`LinkError::WrongRole`] when that is neither a charger nor a site.
    pub fn new(peer: PeerIdentity, may_speak_for: MaySpeakFor, now: Mono) -> Result<ChargerLink, LinkError> {
        match &peer.subject {
            Subject::Charger(_) | Subject::Site(_) => {}
            Subject::Processor(_) | Subject::Gate(_) => return Err(LinkError::WrongRole(peer.role())),
        }
        let state = State {
            peer,
            may_speak_for,
            watch: Watch::new(now),
            bound: Bindings::default(),
            dismissed: BTreeSet::new(),
        };
        Ok(ChargerLink { reader: FrameReader::new(Direction::ChargerToGate, None), state })
    }

    /// Takes bytes as they came. Messages for the machines are appended to `messages`, bytes for the peer to `reply`.
    ///
    /// On an error the messages before it are still good, `reply` ends with a GoAway, and the connection is to be closed
    /// when that is written. How the bytes are cut into pieces makes no difference.
    ///
    /// # Errors
    /// [`LinkError`]: a malformed frame or payload, another identity than the certificate's, a message that is not
    /// allowed now, or the end of the connection.
    pub fn receive(
        &mut self,
        mut bytes: &[u8],
        now: Now,
        messages: &mut Vec<Received<FromCharger>>,
        reply: &mut Vec<u8>,
    ) -> Result<(), LinkError> {
        let ChargerLink { reader, state } = self;
        if let Phase::Closed(code) = state.watch.phase {
            return Err(LinkError::Closed(code));
        }
        loop {
            let outcome = match reader.next(&mut bytes) {
                Ok(None) => break,
                Ok(Some(frame)) => state.take(&frame, now, messages, reply),
                Err(error) => Err(error.into()),
            };
            if let Err(error) = outcome {
                return Err(state.fail(error, reply));
            }
        }
        state.watch.mid_frame(reader.is_mid_frame(), now.mono);
        Ok(())
    }

    /// Appends a message to `out`. A GoAway ends the channel; on channel 0, the link.
    ///
    /// # Errors
    /// [`SendError::Closed`]; [`SendError::ChannelUnknown`] without a charger on the channel; [`SendError::TooLong`].
    pub fn send(&mut self, channel: Channel, message: &ToCharger, out: &mut Vec<u8>) -> Result<(), SendError> {
        let state = &mut self.state;
        if state.watch.is_closed() {
            return Err(SendError::Closed);
        }
        let correlation = match message {
            ToCharger::GoAway(go) => {
                if channel == Channel::ZERO {
                    state.watch.phase = Phase::Closed(go.code);
                    state.bound.0.clear();
                } else if state.bound.remove(channel).is_none() {
                    return Err(SendError::ChannelUnknown(channel));
                } else {
                    state.dismissed.insert(channel);
                }
                0
            }
            ToCharger::HelloAck(ack) => {
                state.watch.heartbeat = ack.terms.heartbeat;
                state.bound.get(channel).ok_or(SendError::ChannelUnknown(channel))?.hello
            }
            _ if state.bound.get(channel).is_some() => 0,
            _ => return Err(SendError::ChannelUnknown(channel)),
        };
        let (kind, payload) = write_to_charger(message).ok_or(SendError::NotNative)?;
        write_frame(out, FrameHead { kind, channel, correlation }, None, payload).map_err(SendError::TooLong)
    }

    /// When [`ChargerLink::on_deadline`] is to be called next.
    pub fn next_deadline(&self) -> Option<Mono> {
        self.state.watch.give_up_at()
    }

    /// Time passed. An error ends the link, as in [`ChargerLink::receive`].
    ///
    /// # Errors
    /// [`LinkError`]: no Hello, or no frame, within the time-out.
    pub fn on_deadline(&mut self, now: Mono, reply: &mut Vec<u8>) -> Result<(), LinkError> {
        self.state.watch.check(now).map_err(|error| self.state.fail(error, reply))
    }

    /// Where it stands.
    pub fn phase(&self) -> Phase {
        self.state.watch.phase
    }

    /// The peer, by its certificate.
    pub fn peer(&self) -> &PeerIdentity {
        &self.state.peer
    }

    /// The charger that is bound to a channel.
    pub fn charger(&self, channel: Channel) -> Option<&ChargerId> {
        self.state.bound.get(channel).map(|bound| &bound.charger)
    }

    /// All channels with their chargers.
    pub fn chargers(&self) -> impl Iterator<Item = (Channel, &ChargerId)> {
        self.state.bound.0.iter().map(|(channel, bound)| (*channel, &bound.charger))
    }
}

impl State {
    fn take(
        &mut self,
        frame: &Frame<'_>,
        now: Now,
        messages: &mut Vec<Received<FromCharger>>,
        reply: &mut Vec<u8>,
    ) -> Result<(), LinkError> {
        let channel = frame.channel;
        if !self.hears(frame)? {
            return Ok(());
        }
        let payload = read_from_charger(frame, messages).map_err(|error| LinkError::Payload {
            kind: frame.kind,
            channel,
            error,
        })?;
        self.watch.received(now.mono);
        match payload {
            ChargerPayload::Readings => {}
            ChargerPayload::Heartbeat => {
                let ack = schema::HeartbeatAck { server_time_ms: now.wall.unix_ms() };
                let payload = |out: &mut Vec<u8>| put(&ack, out);
                let kind = FrameType::HeartbeatAck;
                write_frame(reply, FrameHead { kind, channel, correlation: frame.correlation }, None, payload)?;
            }
            ChargerPayload::Message(FromCharger::Hello(hello)) => {
                self.bind(channel, frame.correlation, &hello)?;
                messages.push(Received { channel, message: FromCharger::Hello(hello) });
            }
            ChargerPayload::Message(FromCharger::Start(start)) if start.credential.has_card_number() => {
                let refusal = ToCharger::StartRejected {
                    session: start.session,
                    code: Code::CardNumber,
                    text: Code::CardNumber.meaning().into(),
                };
                if let Some((kind, payload)) = write_to_charger(&refusal) {
                    write_frame(reply, FrameHead { kind, channel, correlation: frame.correlation }, None, payload)?;
                }
            }
            ChargerPayload::Message(message) => messages.push(Received { channel, message }),
        }
        Ok(())
    }

    /// Whether the frame's channel is to be listened to. Nothing but a Hello opens one.
    fn hears(&self, frame: &Frame<'_>) -> Result<bool, LinkError> {
        let (found, channel) = (frame.kind, frame.channel);
        if found == FrameType::ChargerHello || self.bound.get(channel).is_some() {
            return Ok(true);
        }
        match self.watch.phase {
            Phase::AwaitingHello => Err(LinkError::HelloExpected { found, channel }),
            // Channel 0 belongs to a site's connection itself, and has no charger.
            Phase::Open if channel == Channel::ZERO && found == FrameType::Heartbeat => Ok(true),
            Phase::Open if self.dismissed.contains(&channel) => Ok(false),
            Phase::Open | Phase::Closed(_) => Err(LinkError::ChannelUnknown(channel)),
        }
    }

    /// Binds a channel to the charger of a Hello, if the certificate allows it.
    fn bind(&mut self, channel: Channel, correlation: u64, hello: &ChargerHello) -> Result<(), LinkError> {
        let charger = hello.charger.clone();
        match &self.peer.subject {
            Subject::Charger(certified) if *certified != charger => {
                return Err(LinkError::IdentityDiffers {
                    claimed: charger.as_str().into(),
                    certified: certified.as_str().into(),
                });
            }
            Subject::Charger(_) if channel != Channel::ZERO => return Err(LinkError::ChannelUnknown(channel)),
            Subject::Charger(_) => {}
            Subject::Site(site) if !(self.may_speak_for)(site, &charger) => {
                return Err(LinkError::NotSpokenFor { site: site.clone(), charger });
            }
            Subject::Site(_) if channel == Channel::ZERO => return Err(LinkError::ChannelUnknown(channel)),
            Subject::Site(_) => {}
            Subject::Processor(_) | Subject::Gate(_) => return Err(LinkError::WrongRole(self.peer.role())),
        }
        if self.bound.get(channel).is_some() {
            return Err(LinkError::HelloTwice(channel));
        }
        if let Some((first, _)) = self.bound.0.iter().find(|(_, bound)| bound.charger == charger) {
            return Err(LinkError::ChargerTwice { charger, first: *first, again: channel });
        }
        self.dismissed.remove(&channel);
        if self.bound.0.len() + self.dismissed.len() >= limits::CHANNELS_PER_LINK {
            return Err(LinkError::TooManyChannels);
        }
        self.bound.insert(channel, Bound { charger, hello: correlation });
        self.watch.phase = Phase::Open;
        Ok(())
    }

    /// Ends the link and sends the peer the reason.
    fn fail(&mut self, error: LinkError, reply: &mut Vec<u8>) -> LinkError {
        self.watch.phase = Phase::Closed(error.code());
        if let Some(farewell) = error.farewell() {
            let payload = |out: &mut Vec<u8>| put(&write_go_away(&farewell), out);
            write_frame(reply, FrameHead::new(FrameType::ChargerGoAway, Channel::ZERO), None, payload)
                .expect("a farewell is cut to fit a frame");
        }
        error
    }
}

impl fmt::Debug for ChargerLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChargerLink({}, {:?}, {} channels)", self.peer(), self.phase(), self.state.bound.0.len())
    }
}
