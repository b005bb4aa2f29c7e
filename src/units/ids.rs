//! Identifiers of chargers, sessions, operations, accounts and processors.
//!
//! Text ids come from configuration and certificates and are checked once. Numeric ids are made by the gate. A
//! session's id carries its partition. Its payment has the same number, and the ids of the payment's operations differ
//! from that only in their last 16 bits, so an answer from a processor finds its payment without any table.

use super::Timestamp;
use super::phrase::with_article;
use super::screen::has_issued_card_number;
use crate::stored::{Stored, StoredError, load_text, store_text, stored};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// A text or number that cannot be an id.
///
/// ```
/// use wattstile::units::ChargerId;
///
/// assert!(ChargerId::new("NL*WST-7").is_ok());
/// let error = ChargerId::new("hall 7").unwrap_err();
/// assert_eq!(error.to_string(), "a charger id may not contain ' '");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// An empty text.
    #[error("{} must not be empty", with_article(what))]
    Empty {
        /// The kind of id.
        what: &'static str,
    },
    /// Longer than the kind allows.
    #[error("{} has at most {max} characters, this one has {len}", with_article(what))]
    TooLong {
        /// The kind of id.
        what: &'static str,
        /// Characters found.
        len: usize,
        /// Characters allowed.
        max: usize,
    },
    /// A character outside `A-Z a-z 0-9 * + - . : = @ _ |`.
    #[error("{} may not contain {found:?}", with_article(what))]
    Character {
        /// The kind of id.
        what: &'static str,
        /// The first character that is not allowed.
        found: char,
    },
    /// A text that looks like a payment card's number; it is not repeated.
    #[error(
        "{} may not have what looks like a card's number in it (12 to 19 digits that pass the Luhn check)",
        with_article(what)
    )]
    CardNumber {
        /// The kind of id.
        what: &'static str,
    },
    /// A numeric id that is not 32 hexadecimal digits (with or without its prefix).
    #[error("{} is 32 hexadecimal digits after an optional `{prefix}`", with_article(what))]
    Digits {
        /// The kind of id.
        what: &'static str,
        /// The prefix it may carry.
        prefix: &'static str,
    },
}

/// Checks a text id: the characters that OCPP identifiers, EVSE ids and host names need, and none that a log, a path
/// or a page could trip over.
fn check_text(what: &'static str, max: usize, text: &str) -> Result<(), IdError> {
    if text.is_empty() {
        return Err(IdError::Empty { what });
    }
    if text.len() > max {
        return Err(IdError::TooLong { what, len: text.chars().count(), max });
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || "*+-.:=@_|".contains(c);
    match text.chars().find(|c| !allowed(*c)) {
        Some(found) => Err(IdError::Character { what, found }),
        None => Ok(()),
    }
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $max:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The longest text that is accepted, in characters.
            pub const MAX_LEN: usize = $max;

            /// Checks the text and makes the id.
            ///
            /// # Errors
            /// The fault in it; a card's number is not repeated.
            pub fn new(text: &str) -> Result<$name, IdError> {
                check_text($what, $max, text)?;
                if has_issued_card_number(text.as_bytes()) {
Err(IdError::CardNumber { what: $what })
} else {
Ok($name(Arc::from(text)))
}
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<$name, IdError> {
                $name::new(text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl Stored for $name {
            fn store(&self, out: &mut Vec<u8>) {
                store_text(&self.0, out);
            }

            // Ids in the log were checked for card numbers when they came in.
            fn load(from: &mut &[u8]) -> Result<$name, StoredError> {
                let text = load_text(from)?;
                check_text($what, $max, text).map_err(StoredError::invalid)?;
                Ok($name(Arc::from(text)))
            }
        }

        #[cfg(test)]
        impl crate::stored::Example for $name {
            fn make(_: usize, _: &mut usize) -> $name {
                $name(Arc::from("NL*WST-7"))
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<$name, D::Error> {
                // Ids in the log were checked when they came in; only texts from outside are screened for card
                // numbers.
                let outside = deserializer.is_human_readable();
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                if outside {
$name::new(&text)
} else {
check_text($what, $max, &text).map(|()| $name(Arc::from(&*text)))
}
                .map_err(serde::de::Error::custom)
            }
        }
    };
}

text_id!(
    /// A charging station, as its certificate names it (OCPP 2.0.1 allows 48 characters).
    ChargerId, "charger id", 48
);
text_id!(
    /// A place with chargers, and the controller that connects for them.
    SiteId, "site id", 48
);
text_id!(
    /// A prepaid or postpaid account.
    AccountId, "account id", 48
);
text_id!(
    /// The operator that sells the energy and is owed a session's net amount.
    OperatorId, "operator id", 36
);
text_id!(
    /// A payment processor, as its certificate names it; or an account, as the processor of its own funds.
    ProcessorId, "processor id", 64
);
text_id!(
    /// A tariff's own id (OCPI: CiString(36)); its [`TariffHash`] identifies the version that applies.
    TariffId, "tariff id", 36
);

impl ProcessorId {
    /// Prefix of an account's id as a processor. No connected processor has such a name.
    pub const OF_ACCOUNTS: &str = "account:";

    /// Whether it is an account, so that it is not allowed in certificates and configurations.
    pub fn is_of_account(&self) -> bool {
        self.as_str().starts_with(ProcessorId::OF_ACCOUNTS)
    }
}

/// The connector of a charger, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ConnectorId(pub u16);

stored!(struct ConnectorId(value));

impl fmt::Display for ConnectorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A charger's own number for a session, unique on that charger for ever; it makes a repeated start recognisable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SessionKey(pub u64);

stored!(struct SessionKey(value));

impl fmt::Display for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A fixed slice of the id space: the unit of ordering, journaling, recovery and, later, of ownership by a node.
///
/// ```
/// use wattstile::units::PartitionId;
///
/// assert_eq!(PartitionId::of("NL-WST-7", 64), PartitionId::of("NL-WST-7", 64));
/// assert!(PartitionId::of("NL-WST-7", 64) < PartitionId(64));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PartitionId(pub u16);

stored!(struct PartitionId(value));

impl PartitionId {
    /// The partition of a text id among `count`: CRC-32 of its bytes, modulo. Never changes for a data directory.
    ///
    /// # Panics
    /// When `count` is zero.
    pub fn of(id: &str, count: u16) -> PartitionId {
        let slot = crc32fast::hash(id.as_bytes()) % u32::from(count);
        PartitionId(u16::try_from(slot).expect("a remainder of a u16 fits a u16"))
    }
}

impl fmt::Display for PartitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Serialization of 128 bits: a number in formats for people, else sixteen bytes. As a varint of the log they would
/// take nineteen bytes, decoded seven bits at a time. In memory they are big-endian bytes, because a `u128` would
/// align all of its holders to sixteen bytes.
mod bits {
    use serde::de::{Error, Visitor};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use std::fmt;

    pub fn serialize<S: Serializer>(bits: &[u8; 16], serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            u128::from_be_bytes(*bits).serialize(serializer)
        } else {
            serializer.serialize_bytes(bits)
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 16], D::Error> {
        if deserializer.is_human_readable() {
            u128::deserialize(deserializer).map(u128::to_be_bytes)
        } else {
            deserializer.deserialize_bytes(Bytes)
        }
    }

    struct Bytes;

    impl Visitor<'_> for Bytes {
        type Value = [u8; 16];

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("the sixteen bytes of an id")
        }

        fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<[u8; 16], E> {
            bytes.try_into().map_err(|_| E::invalid_length(bytes.len(), &self))
        }
    }
}

/// Bits of an id below a payment that number its operations.
const ORDINAL_BITS: u32 = 16;
const ORDINAL_MASK: u128 = (1 << ORDINAL_BITS) - 1;

/// A charging session: 48 bits of time in milliseconds, 16 of partition, 48 of randomness, 16 zero bits where the
/// ordinals of the operations of its payment go.
///
/// ```
/// use wattstile::units::{PartitionId, SessionId, Timestamp};
///
/// let begun = Timestamp::from_unix_ms(1_796_000_000_000);
/// let id = SessionId::new(begun, PartitionId(5), 7);
/// assert_eq!((id.begun(), id.partition()), (begun, PartitionId(5)));
/// assert_eq!(id.to_string().parse::<SessionId>()?, id);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SessionId(#[serde(with = "bits")] [u8; 16]);

/// Without the zeros at its end.
impl Stored for SessionId {
    #[inline]
    fn store(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0[..14]);
    }

    #[inline]
    fn load(from: &mut &[u8]) -> Result<SessionId, StoredError> {
        let mut id = [0; 16];
        id[..14].copy_from_slice(&<[u8; 14]>::load(from)?);
        Ok(SessionId(id))
    }
}

impl SessionId {
    /// Makes an id. `random` is randomness from outside (its lowest 48 bits are used), so that ids cannot be guessed.
    pub fn new(at: Timestamp, partition: PartitionId, random: u64) -> SessionId {
        let time = u128::from(at.unix_ms().unsigned_abs() & 0xffff_ffff_ffff);
        let random = u128::from(random & 0xffff_ffff_ffff);
        SessionId::from_u128(time << 80 | u128::from(partition.0) << 64 | random << ORDINAL_BITS)
    }

    /// From its 128 bits; the ordinal is cut off.
    pub const fn from_u128(bits: u128) -> SessionId {
        SessionId((bits & !ORDINAL_MASK).to_be_bytes())
    }

    /// The 128 bits.
    pub const fn as_u128(self) -> u128 {
        u128::from_be_bytes(self.0)
    }

    /// When it was made, by the gate's clock.
    #[inline]
    pub const fn begun(self) -> Timestamp {
        let [a, b, c, d, e, f, ..] = self.0;
        Timestamp::from_unix_ms(i64::from_be_bytes([0, 0, a, b, c, d, e, f]))
    }

    /// The partition that hosts the session.
    pub fn partition(self) -> PartitionId {
        PartitionId(u16::from_be_bytes([self.0[6], self.0[7]]))
    }

    /// The part of the id that distinguishes sessions of one partition: time and randomness.
    pub const fn within_partition(self) -> [u8; 12] {
        let [a, b, c, d, e, f, _, _, g, h, i, j, k, l, _, _] = self.0;
        [a, b, c, d, e, f, g, h, i, j, k, l]
    }

    /// Rebuilds the id from its partition and the part that is unique within it.
    pub const fn in_partition(partition: PartitionId, within: [u8; 12]) -> SessionId {
        let ([p, q], [a, b, c, d, e, f, g, h, i, j, k, l]) = (partition.0.to_be_bytes(), within);
        SessionId([a, b, c, d, e, f, p, q, g, h, i, j, k, l, 0, 0])
    }

    /// Its payment, which has the same number.
    pub const fn payment(self) -> PaymentId {
        PaymentId(self.0)
    }
}

/// The payment of a charging session or of a top-up, with the number of that session; a top-up has no other id. Shown as
/// the session is: it is the id that operators know.
///
/// ```
/// use wattstile::units::{PartitionId, SessionId, Timestamp};
///
/// let session = SessionId::new(Timestamp::from_unix_ms(1_796_000_000_000), PartitionId(5), 7);
/// let payment = session.payment();
/// assert_eq!(payment.to_string(), session.to_string(), "operators know one id");
/// assert_eq!(payment.operation(3).payment(), payment, "an answer finds its payment");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PaymentId(#[serde(with = "bits")] [u8; 16]);

/// Without the zeros at its end.
impl Stored for PaymentId {
    #[inline]
    fn store(&self, out: &mut Vec<u8>) {
        self.session().store(out);
    }

    #[inline]
    fn load(from: &mut &[u8]) -> Result<PaymentId, StoredError> {
        SessionId::load(from).map(SessionId::payment)
    }
}

#[cfg(test)]
impl crate::stored::Example for PaymentId {
    fn make(variant: usize, left: &mut usize) -> PaymentId {
        SessionId::make(variant, left).payment()
    }
}

impl PaymentId {
    /// The id of a payment without a session. `random` is randomness from outside, as in [`SessionId::new`].
    pub fn new(at: Timestamp, partition: PartitionId, random: u64) -> PaymentId {
        SessionId::new(at, partition, random).payment()
    }

    /// From its 128 bits; the ordinal is cut off.
    pub const fn from_u128(bits: u128) -> PaymentId {
        SessionId::from_u128(bits).payment()
    }

    /// The 128 bits.
    pub const fn as_u128(self) -> u128 {
        u128::from_be_bytes(self.0)
    }

    /// When it was made, by the gate's clock.
    pub const fn begun(self) -> Timestamp {
        self.session().begun()
    }

    /// The partition that hosts it.
    pub fn partition(self) -> PartitionId {
        self.session().partition()
    }

    /// The session that is paid, unless this is the payment of a top-up.
    #[inline]
    pub const fn session(self) -> SessionId {
        SessionId(self.0)
    }

    /// The payment's operation with this number, counted from 1.
    pub fn operation(self, ordinal: u16) -> OpId {
        OpId((self.as_u128() | u128::from(ordinal)).to_be_bytes())
    }
}

/// One request to a processor, or one order to an account. Made before the first byte is sent, and the same in every
/// repetition.
///
/// ```
/// use wattstile::units::{OpId, PartitionId, PaymentId, Timestamp};
///
/// let payment = PaymentId::new(Timestamp::from_unix_ms(1_796_000_000_000), PartitionId(5), 7);
/// let first = payment.operation(1);
/// assert_ne!(first, payment.operation(2));
/// assert_eq!(first.to_string().parse::<OpId>(), Ok(first));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct OpId(#[serde(with = "bits")] [u8; 16]);

#[cfg(test)]
impl crate::stored::Example for SessionId {
    fn make(_: usize, _: &mut usize) -> SessionId {
        SessionId::new(Timestamp::from_unix_ms(1_790_000_000_000), PartitionId(3), 0x1234_5678_9abc)
    }
}

stored!(struct OpId(bits));

impl OpId {
    /// From its 128 bits, as they come back from a processor.
    pub const fn from_u128(bits: u128) -> OpId {
        OpId(bits.to_be_bytes())
    }

    /// The 128 bits.
    pub const fn as_u128(self) -> u128 {
        u128::from_be_bytes(self.0)
    }

    /// An operation that belongs to no other: the first of a payment without a session.
    pub fn new(at: Timestamp, partition: PartitionId, random: u64) -> OpId {
        PaymentId::new(at, partition, random).operation(1)
    }

    /// The payment that it belongs to.
    pub const fn payment(self) -> PaymentId {
        PaymentId::from_u128(self.as_u128())
    }

    /// The operation's number in its payment, counted from 1.
    pub fn ordinal(self) -> u16 {
        u16::from_be_bytes([self.0[14], self.0[15]])
    }
}

/// Funds reserved for one payment, identified by the operation that requested them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct HoldId(pub OpId);

stored!(struct HoldId(value));

impl HoldId {
    /// The payment that it belongs to.
    pub const fn payment(self) -> PaymentId {
        self.0.payment()
    }
}

macro_rules! numeric_id_text {
    ($name:ident, $what:literal, $prefix:literal, $bits:expr, $make:expr) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let bits: fn(&$name) -> u128 = $bits;
                f.pad(&format!(concat!($prefix, "{:032x}"), bits(self)))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<$name, IdError> {
                let wrong = IdError::Digits { what: $what, prefix: $prefix };
                let digits = text.strip_prefix($prefix).unwrap_or(text);
                if digits.len() != 32 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
                    return Err(wrong);
                }
                let make: fn(u128) -> $name = $make;
                u128::from_str_radix(digits, 16).map(make).map_err(|_| wrong)
            }
        }
    };
}

numeric_id_text!(SessionId, "session id", "ses_", |id| id.as_u128(), SessionId::from_u128);
numeric_id_text!(PaymentId, "payment id", "ses_", |id| id.as_u128(), PaymentId::from_u128);
numeric_id_text!(OpId, "operation id", "op_", |id| id.as_u128(), OpId::from_u128);
numeric_id_text!(HoldId, "hold id", "hold_", |id| id.0.as_u128(), |bits| HoldId(OpId::from_u128(bits)));

/// SHA-256 of a tariff's JSON text: which version of a tariff a session is pinned to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TariffHash(pub [u8; 32]);

stored!(struct TariffHash(value));

impl fmt::Display for TariffHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&hex::encode(self.0))
    }
}

impl fmt::Debug for TariffHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A credential as it may be shown, logged and compared: a keyed hash of its kind and token, cut to 64 bits. Without
/// the key it reveals nothing about the token, and candidate tokens cannot be tested against it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Fingerprint(pub [u8; 8]);

stored!(struct Fingerprint(value));

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("fp_{}", hex::encode(self.0)))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_leads_back_to_its_payment_session_and_partition() {
        let session = SessionId::new(Timestamp::from_unix_ms(1_763_833_500_123), PartitionId(513), u64::MAX);
        let (payment, op) = (session.payment(), session.payment().operation(7));
        assert_eq!((op.payment(), HoldId(op).payment(), op.ordinal()), (payment, payment, 7));
        assert_eq!((payment.session(), payment.begun()), (session, session.begun()));
        assert_eq!((session.partition(), payment.partition()), (PartitionId(513), PartitionId(513)));
        assert_eq!(payment.to_string(), session.to_string());
        assert_eq!(op.to_string().parse::<OpId>().unwrap(), op);
        assert_eq!(session.to_string().parse::<SessionId>().unwrap(), session);
        assert_eq!(payment.to_string().parse::<PaymentId>().unwrap(), payment);
    }

    #[test]
    fn a_payment_is_stored_as_its_session_is() {
        let session = SessionId::new(Timestamp::from_unix_ms(1_763_833_500_123), PartitionId(513), u64::MAX);
        let (mut of_session, mut of_payment) = (Vec::new(), Vec::new());
        session.store(&mut of_session);
        session.payment().store(&mut of_payment);
        assert_eq!(of_payment, of_session);
        assert_eq!(PaymentId::load(&mut &*of_session).unwrap(), session.payment());
        let old = postcard::to_stdvec(&session).unwrap();
        assert_eq!(postcard::from_bytes::<PaymentId>(&old).unwrap(), session.payment());
    }

    #[test]
    fn text_ids_name_what_is_wrong_with_them() {
        assert_eq!(ChargerId::new(""), Err(IdError::Empty { what: "charger id" }));
        assert_eq!(ChargerId::new("a b"), Err(IdError::Character { what: "charger id", found: ' ' }));
        assert_eq!(ProcessorId::new(&"x".repeat(65)), Err(IdError::TooLong { what: "processor id", len: 65, max: 64 }));
        assert_eq!(ChargerId::new("NL*WST*E0007").unwrap().to_string(), "NL*WST*E0007");
    }

    #[test]
    fn an_id_is_no_card_number_except_where_it_is_stored_already() {
        let refused = ChargerId::new("NL*4111-1111-1111-1111").unwrap_err();
        assert_eq!(refused, IdError::CardNumber { what: "charger id" });
        assert!(!refused.to_string().contains("4111"));
        assert!(AccountId::new("4111111111111111").is_err() && ProcessorId::new("p:5555555555554444").is_err());
        assert!(serde_json::from_str::<AccountId>("\"4111111111111111\"").is_err());
        let in_version_4 = postcard::to_stdvec("4111111111111111").unwrap();
        assert_eq!(postcard::from_bytes::<AccountId>(&in_version_4).unwrap().as_str(), "4111111111111111");
        let stored = crate::stored::to_bytes(&Box::<str>::from("4111111111111111"));
        assert_eq!(crate::stored::from_bytes::<AccountId>(&stored).unwrap().as_str(), "4111111111111111");
    }

    #[test]
    fn partitions_never_move() {
        assert_eq!(PartitionId::of("NL*WST*E0007", 64), PartitionId(crc32_mod("NL*WST*E0007", 64)));
        assert_eq!(PartitionId::of("123456789", 10_000), PartitionId(u16::try_from(0xcbf4_3926_u32 % 10_000).unwrap()));
    }

    fn crc32_mod(text: &str, count: u32) -> u16 {
        u16::try_from(crc32fast::hash(text.as_bytes()) % count).unwrap()
    }
}
