//! Messages between chargers, processors and the gate, as plain values without any bytes.
//!
//! * [`PeerIdentity`]: which peer a certificate names.
//! * [`FromCharger`], [`ToCharger`]: the vocabulary of a charger; [`Channel`], [`Received`]: its address on a connection.
//! * [`Unnumbered`], [`Answer`]: the same for chargers whose sessions the gate numbers.
//! * [`ChargerOrder`], [`OrderOutcome`]: what operators order a charger, and what becomes of it.
//! * [`FromProcessor`], [`ToProcessor`]: the vocabulary of a payment processor, with its settlement batches.
//! * [`Code`]: the numbers by which either side refuses.
//!
//! A protocol (the native one is [`wire`](crate::wire)) translates between these values and bytes; the actors receive
//! only the values, so that a further protocol changes nothing in them.

mod channel;
mod charger;
mod code;
mod identity;
mod numbered;
mod order;
mod processor;
mod unnumbered;

pub use channel::{Channel, Received};
pub use charger::{
    ChargerHello, ChargerHelloAck, ConnectorInfo, ConnectorState, ConnectorStatus, FromCharger, GoAway, Limit,
    MeterAck, Numbering, ReceiptNotice, SessionMark, SessionPosition, Standing, StartSession, StopOrder, StopReason,
    Terms, ToCharger,
};
pub use code::Code;
pub use identity::{IdentityError, PeerIdentity, Role, Subject};
pub use order::{ChargerOrder, OrderNumber, OrderOutcome, Triggered};
pub use processor::{
    Drain, FromProcessor, ProcessorHello, ProcessorHelloAck, SettlementKind, SettlementLine, SettlementPart,
    SettlementTrailer, ToProcessor,
};
pub use unnumbered::{Answer, Begin, Bill, Funds, SessionName, Ticket, Unnumbered};
