//! Values that a charger's meter has signed: kept as they came, and verified against the key that the operator registered.
//!
//! OCMF (Open Charge Metering Format) is verified, with ECDSA over the curves P-256 and P-384. Anything else is kept and shown as
//! unverified, with the reason. A key that comes with a value proves nothing and is not used.

mod key;
mod ocmf;

pub use key::{MeterKey, MeterKeyError};
pub use ocmf::{Ocmf, OcmfError, OcmfReading};

use crate::stored::stored;
use serde::{Deserialize, Serialize};

/// A value as the meter signed it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedValue {
    /// When in the session it was signed.
    pub moment: ReadingContext,
    /// The format, as the charger names it; `OCMF` where it names none and the text is that.
    pub encoding: Box<str>,
    /// The text, byte for byte.
    pub data: Box<str>,
}

stored!(struct SignedValue { 0: moment, 1: encoding, 2: data });

/// When in its session a value was signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReadingContext {
    /// At the beginning.
    Begin,
    /// At the end, alone or together with the value at the beginning.
    End,
}

stored!(enum ReadingContext { 0: Begin, 1: End });

/// A signed value of a session, and whether its signature held when it came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judged {
    /// The value.
    pub value: SignedValue,
    /// Whether its signature held.
    pub verification: Verification,
}

stored!(struct Judged { 0: value, 1: verification });

impl Judged {
    /// Whether its signature held.
    pub fn is_verified(&self) -> bool {
        self.verification == Verification::Verified
    }
}

/// Whether a signature holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verification {
    /// It is that of the registered key.
    Verified,
    /// No key is registered for the charger.
    NoKey,
    /// The format is not one that is verified here.
    Format,
    /// The text cannot be read as what it claims to be.
    Unreadable,
    /// The algorithm or the curve is not one that is verified here, or not that of the registered key.
    Algorithm,
    /// The text or its signature was changed, or another key has signed it.
    Forged,
}

stored!(enum Verification { 0: Verified, 1: NoKey, 2: Format, 3: Unreadable, 4: Algorithm, 5: Forged });

impl Verification {
    /// In words, for people.
    pub const fn meaning(self) -> &'static str {
        match self {
            Verification::Verified => "verified against the registered key",
            Verification::NoKey => "no key of the charger's meter is registered",
            Verification::Format => "the format is not one that is verified here",
            Verification::Unreadable => "the signed text cannot be read",
            Verification::Algorithm => {
                "the algorithm is not one that is verified here, or not that of the registered key"
            }
            Verification::Forged => "the signature is not that of the registered key",
        }
    }

    /// The name in documents.
    pub const fn name(self) -> &'static str {
        match self {
            Verification::Verified => "verified",
            Verification::NoKey => "no_key",
            Verification::Format => "unknown_format",
            Verification::Unreadable => "unreadable",
            Verification::Algorithm => "unknown_algorithm",
            Verification::Forged => "forged",
        }
    }
}

impl SignedValue {
    /// Verifies its signature against the registered key.
    pub fn verify(&self, key: Option<&MeterKey>) -> Verification {
        if !self.encoding.eq_ignore_ascii_case("OCMF") {
            return Verification::Format;
        }
        let Ok(ocmf) = Ocmf::read(&self.data) else { return Verification::Unreadable };
        let Some(key) = key else { return Verification::NoKey };
        ocmf.verify(key)
    }
}

#[cfg(test)]
mod tests {
    use super::ocmf::tests::{Meter, PAYLOAD};
    use super::*;

    fn value(data: &str) -> SignedValue {
        SignedValue { moment: ReadingContext::End, encoding: "OCMF".into(), data: data.into() }
    }

    #[test]
    fn a_value_is_verified_by_the_registered_key_alone() {
        let (meter, other) = (Meter::p256(), Meter::p256());
        let good = value(&meter.signs(PAYLOAD));
        assert_eq!(good.verify(Some(&meter.key())), Verification::Verified);
        assert_eq!(good.verify(Some(&other.key())), Verification::Forged);
        assert_eq!(good.verify(None), Verification::NoKey);
        assert_eq!(good.verify(Some(&Meter::p384().key())), Verification::Algorithm);
        // One digit more on the meter.
        let changed = value(&good.data.replacen("2935.6", "2936.6", 1));
        assert_eq!(changed.verify(Some(&meter.key())), Verification::Forged);
        assert_eq!(value("OCMF|{}").verify(Some(&meter.key())), Verification::Unreadable);
        let edl = SignedValue { encoding: "EDL".into(), ..good };
        assert_eq!(edl.verify(Some(&meter.key())), Verification::Format);
    }

    #[test]
    fn the_curve_p_384_is_verified_too_and_others_are_named() {
        let meter = Meter::p384();
        let good = value(&meter.signs(PAYLOAD));
        assert_eq!(good.verify(Some(&meter.key())), Verification::Verified);
        let other = value(&good.data.replace("secp384r1-SHA384", "brainpool384r1-SHA256"));
        assert_eq!(other.verify(Some(&meter.key())), Verification::Algorithm);
    }
}
