//! Reasons why a link ends, with the side to blame.

use super::frame::{FrameError, FrameType};
use super::payload::PayloadError;
use crate::limits;
use crate::message::{Channel, Code, GoAway, Role};
use crate::units::{ChargerId, ProcessorId, SiteId, TimeSpan, visible};

/// A reason that ends a link. The text names the fault, never a secret; the connection adds the peer.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum LinkError {
    /// The bytes are no frames.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A frame's payload does not match its type.
    #[error("{kind:?} on channel {channel}: {error}")]
    Payload {
        /// The frame's type.
        kind: FrameType,
        /// Its channel.
        channel: Channel,
        /// The fault.
        error: PayloadError,
    },
    /// The certificate's role is not allowed on this listener.
    #[error("a {0} may not speak on this listener")]
    WrongRole(Role),
    /// A Hello with another identity than the certificate's.
    #[error("the Hello names `{claimed}`, the certificate `{certified}`")]
    IdentityDiffers {
        /// In the Hello.
        claimed: Box<str>,
        /// In the certificate.
        certified: Box<str>,
    },
    /// A site controller sends for a charger that is not configured under it.
    #[error("site {site} may not speak for charger {charger}")]
    NotSpokenFor {
        /// The site of the certificate.
        site: SiteId,
        /// The charger of the Hello.
        charger: ChargerId,
    },
    /// A processor with a good certificate that no rule names.
    #[error("no [[processor]] of the gate's configuration is called `{0}`")]
    PeerUnknown(ProcessorId),
    /// Something else than a Hello came first.
    #[error("{found:?} on channel {channel} before any Hello")]
    HelloExpected {
        /// The frame's type.
        found: FrameType,
        /// Where.
        channel: Channel,
    },
    /// A second Hello on a channel.
    #[error("a second Hello on channel {0}")]
    HelloTwice(Channel),
    /// One charger on two channels.
    #[error("charger {charger} says Hello on channel {again}, and already speaks on channel {first}")]
    ChargerTwice {
        /// The charger.
        charger: ChargerId,
        /// The channel it has.
        first: Channel,
        /// The channel of the second Hello.
        again: Channel,
    },
    /// A channel that this peer cannot have.
    #[error("channel {0} is not one of this peer's")]
    ChannelUnknown(Channel),
    /// More channels than a connection may have.
    #[error("more than {} channels", limits::CHANNELS_PER_LINK)]
    TooManyChannels,
    /// More callbacks than were granted.
    #[error("more than {0} unacknowledged callbacks")]
    WindowExceeded(u32),
    /// No Hello in time.
    #[error("no Hello within {} s", limits::HELLO_TIMEOUT.whole_secs())]
    HelloTimeout,
    /// A frame was begun and not finished in time.
    #[error("a frame was begun and not finished within {} s", limits::FRAME_TIMEOUT.whole_secs())]
    FrameTimeout,
    /// No frame arrived within the time-out.
    #[error("nothing was received for {} s", .0.whole_secs())]
    Silent(TimeSpan),
    /// The peer announced the end of the connection.
    #[error("the peer went away: {} {}", .0.code, visible(&.0.text))]
    PeerLeft(GoAway),
    /// We announced the end of the connection, and the time for messages in progress is over.
    #[error("closed from this side: {0}")]
    Closed(Code),
}

/// The side to blame for the end of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The peer broke the protocol: log it as a warning that names the peer, and count it.
    Peer,
    /// The peer, or the network, sent nothing any more.
    Network,
    /// Neither side: an orderly end.
    Neither,
}

impl LinkError {
    /// The code that is sent to the peer.
    pub const fn code(&self) -> Code {
        match self {
            LinkError::Frame(error) => error.code(),
            LinkError::Payload { error, .. } => error.code(),
            LinkError::WrongRole(_) => Code::WrongRole,
            LinkError::IdentityDiffers { .. } => Code::IdentityDiffers,
            LinkError::NotSpokenFor { .. } => Code::NotSpokenFor,
            LinkError::PeerUnknown(_) => Code::PeerUnknown,
            LinkError::HelloExpected { .. } => Code::HelloExpected,
            LinkError::HelloTwice(_) | LinkError::ChargerTwice { .. } => Code::HelloTwice,
            LinkError::ChannelUnknown(_) => Code::ChannelUnknown,
            LinkError::TooManyChannels => Code::TooManyChannels,
            LinkError::WindowExceeded(_) => Code::WindowExceeded,
            LinkError::HelloTimeout => Code::HelloTimeout,
            LinkError::FrameTimeout => Code::FrameTimeout,
            LinkError::Silent(_) => Code::Silent,
            LinkError::PeerLeft(_) => Code::PeerLeaves,
            LinkError::Closed(code) => *code,
        }
    }

    /// The side to blame.
    pub const fn blame(&self) -> Blame {
        match self {
            LinkError::Frame(_)
            | LinkError::Payload { .. }
            | LinkError::WrongRole(_)
            | LinkError::IdentityDiffers { .. }
            | LinkError::NotSpokenFor { .. }
            | LinkError::PeerUnknown(_)
            | LinkError::HelloExpected { .. }
            | LinkError::HelloTwice(_)
            | LinkError::ChargerTwice { .. }
            | LinkError::ChannelUnknown(_)
            | LinkError::TooManyChannels
            | LinkError::WindowExceeded(_) => Blame::Peer,
            LinkError::HelloTimeout | LinkError::FrameTimeout | LinkError::Silent(_) => Blame::Network,
            LinkError::PeerLeft(_) | LinkError::Closed(_) => Blame::Neither,
        }
    }

    /// The last message to the peer before the connection is closed; `None` when it left by itself or has it already.
    pub fn farewell(&self) -> Option<GoAway> {
        match self.blame() {
            Blame::Neither => None,
            Blame::Peer | Blame::Network => Some(GoAway {
                code: self.code(),
                text: self.to_string().into_boxed_str(),
                reconnect_after: TimeSpan::ZERO,
            }),
        }
    }
}

/// A message of ours that cannot be sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The link has ended; messages that are not durable at the peer are repeated on the next one.
    #[error("the link is closed")]
    Closed,
    /// No charger sent Hello on this channel.
    #[error("no charger sent Hello on channel {0}")]
    ChannelUnknown(Channel),
    /// The message does not fit a frame.
    #[error(transparent)]
    TooLong(FrameError),
    /// The message is of chargers that speak another protocol.
    #[error("the native protocol has no such message")]
    NotNative,
}
