//! Codes of refusals, in both directions: links, starts, readings, callbacks. One table, numbers are never reused:
//! 208, 404, 901 and 905 were in it and are sent by no version.

use std::fmt;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $meaning:literal;)*) => {
        /// Reason of a refusal or of a closed connection. The numbers are on the wire and are never reused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code {
            $(#[doc = $meaning] $name,)*
            /// A number that is not in this version's table.
            Unlisted(u16),
        }

        impl Code {
            /// Every code of this version, in the order of the table.
            pub const ALL: &[Code] = &[$(Code::$name),*];

            /// The number on the wire.
            pub const fn number(self) -> u16 {
                match self {
                    $(Code::$name => $number,)*
                    Code::Unlisted(number) => number,
                }
            }

            /// The code with this number.
            pub const fn from_number(number: u16) -> Code {
                match number {
                    $($number => Code::$name,)*
                    _ => Code::Unlisted(number),
                }
            }

            /// Its meaning, in one sentence.
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(Code::$name => $meaning,)*
                    Code::Unlisted(_) => "a code that this version does not know",
                }
            }
        }
    };
}

codes! {
    // 100: the bytes are not frames, or a frame is not a message. Closes the connection.
    FrameTooLong = 101, "the frame is longer than HelloAck allows";
    FrameTooShort = 102, "the frame is shorter than its own header and trailer";
    FrameVersion = 103, "the frame's version is not spoken here";
    FrameChecksum = 104, "the frame's CRC-32 does not fit its bytes";
    FrameFlags = 105, "the frame has a flag that this version does not know";
    FrameType = 106, "the frame's type is not known";
    Payload = 107, "the payload is not the message that the frame's type names";
    FrameMacMissing = 108, "the frame carries no MAC although one is agreed on";
    FrameMacUnexpected = 109, "the frame carries a MAC although none is agreed on";
    FrameMacWrong = 110, "the frame's MAC does not fit its bytes";
    FrameTimeout = 111, "a frame was begun and not finished in time";

    // 200: roles and order of messages. Closes the connection.
    WrongRole = 201, "the certificate's role may not speak on this listener";
    WrongDirection = 202, "this type of frame is never sent in this direction";
    IdentityDiffers = 203, "the Hello names another peer than the certificate";
    NotSpokenFor = 204, "the certificate's site may not speak for this charger";
    HelloTimeout = 205, "no Hello in time";
    HelloExpected = 206, "the first message of a channel must be a Hello";
    HelloTwice = 207, "the channel, or the charger, has sent Hello already";
    ChannelUnknown = 209, "no charger sent Hello on this channel";
    TooManyChannels = 210, "more channels than a connection may have";
    Silent = 211, "nothing was received for three heartbeats";
    WindowExceeded = 212, "more unacknowledged callbacks than HelloAck allows";
    PeerUnknown = 213, "the certificate is good, but no peer of this name is configured";
    TooManyChargers = 214, "the site has introduced as many chargers as it may";

    // 300: a start is refused.
    ConnectorUnknown = 301, "the charger's Hello named no such connector";
    ConnectorOccupied = 302, "the connector has another open session";
    SessionKeyInUse = 303, "the session key is in use on another connector";
    SessionKeyStale = 304, "the session key is older than those that are remembered; keys must grow";
    TooManyRefusals = 305, "too many refused credentials; wait";
    CredentialDeclined = 306, "the processor refuses the credential";
    FundsInsufficient = 307, "not enough funds for a useful session";
    CredentialNotAccepted = 308, "no processor takes this kind of credential";
    CardNumber = 309, "the token, or another text, looks like a card number; only tokens are taken";
    NoTariff = 310, "no tariff applies at this connector and time";
    NoProcessor = 311, "no processor can be reached";
    OutcomeUnknown = 312, "the processor did not answer in time";
    OutOfService = 313, "the operator has taken the charger out of service";
    StartImplausible = 314, "the time or the register of the start cannot be right";
    Busy = 315, "the gate takes no new sessions now; try again later";
    SessionEnded = 316, "the session of this start is over";
    OtherCurrency = 317, "the credential is good, but its funds are in another currency than the tariff";
    CredentialExpired = 318, "the card has expired";
    ConcurrentSession = 319, "the account pays for another session, and for one at a time";

    // 400: a reading or a stop is refused. Up to 403, and 409: nothing is recorded. 405 to 408: it is recorded and
    // acknowledged, but suspect and not billed; the next one continues after it.
    SessionUnknown = 401, "no session of this charger has this key";
    SessionOver = 402, "the session is over";
    SequenceGap = 403, "a sequence was skipped";
    RegisterFalls = 405, "the register is lower than before; recorded, not billed";
    RegisterJumps = 406, "the register rose by more than the connector can give; recorded, not billed";
    TimeBackwards = 407, "the reading is older than the one before; recorded, not billed";
    TimeImplausible = 408, "the reading's time cannot be right; recorded, not billed";
    SessionNotStarted = 409, "the start is not decided yet";

    // 500: a callback is refused.
    OperationUnknown = 501, "no operation with this id was asked for";
    OperationOfAnother = 502, "the operation was given to another processor";
    HoldDiffers = 503, "the answer names another hold than the operation";
    AmountDiffers = 504, "the amount cannot follow from the operation";
    CurrencyDiffers = 505, "the currency is not the operation's";
    CallbackDiffers = 506, "the callback id was used for another message";
    OutcomeConflicts = 507, "the operation already has another final outcome";
    HoldUnknown = 508, "no hold has this id";
    SettlementDiffers = 509, "the batch does not add up to its trailer";
    NotYet = 510, "what it is about is not known yet; say it again later";

    // 900: the sender's own reasons to close.
    Replaced = 902, "a newer connection of the same peer took over";
    Draining = 903, "the connection was drained";
    Overloaded = 904, "too many connections; come back later";
    PeerLeaves = 906, "the peer is done";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.number(), self.meaning())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_lead_back_to_their_codes_and_grow() {
        for code in Code::ALL {
            assert_eq!(Code::from_number(code.number()), *code);
        }
        assert!(
            Code::ALL.windows(2).all(|pair| pair[0].number() < pair[1].number()),
            "in the table's order, none twice"
        );
        assert_eq!(Code::from_number(7), Code::Unlisted(7));
    }
}
