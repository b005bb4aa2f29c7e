//! The Open Charge Metering Format, version 1: `OCMF|payload|signature`, two JSON objects. The signature is over the bytes of
//! the payload as they stand between the bars.

use super::Verification;
use super::key::{Curve, MeterKey};
use crate::units::Energy;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, UnparsedPublicKey, VerificationAlgorithm,
};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use serde_json::{Map, Value};

/// A text in the Open Charge Metering Format.
#[derive(Clone, Debug, PartialEq)]
pub struct Ocmf<'a> {
    /// The bytes that are signed.
    payload: &'a str,
    algorithm: Box<str>,
    signature: Vec<u8>,
    /// The number of the text on its meter, such as `T12345`.
    pub pagination: Option<Box<str>>,
    /// What the meter read, in its order.
    pub readings: Vec<OcmfReading>,
}

/// One reading of a signed text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OcmfReading {
    /// Why it was taken: `B` at the beginning, `C` in between, `E` and others at the end.
    pub reason: Option<char>,
    /// When, as the meter wrote it.
    pub time: Box<str>,
    /// The register, where it is energy.
    pub register: Option<Energy>,
}

/// Why a text is not in the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OcmfError {
    /// It does not have three parts.
    #[error("wanted OCMF|payload|signature")]
    Parts,
    /// A part is no JSON object.
    #[error("the {0} is no JSON object")]
    Json(&'static str),
    /// The signature is missing, or its digits are none.
    #[error("the signature has no digits that can be read")]
    Digits,
    /// Longer than such a text is.
    #[error("longer than {MAX} bytes")]
    TooLong,
}

/// The longest text that is read, in bytes.
const MAX: usize = 16 * 1_024;

/// The algorithm of a signature that names none.
const DEFAULT_ALGORITHM: &str = "ECDSA-secp256r1-SHA256";

impl Ocmf<'_> {
    /// Reads a text.
    ///
    /// # Errors
    /// [`OcmfError`]: what it lacks.
    pub fn read(text: &str) -> Result<Ocmf<'_>, OcmfError> {
        if text.len() > MAX {
            return Err(OcmfError::TooLong);
        }
        let parts = text.trim().strip_prefix("OCMF|").ok_or(OcmfError::Parts)?;
        // A text of the payload may have a bar, the signature has none.
        let (payload, signature) = parts.rsplit_once('|').ok_or(OcmfError::Parts)?;
        let read = object(payload).ok_or(OcmfError::Json("payload"))?;
        let signed = object(signature).ok_or(OcmfError::Json("signature"))?;
        let member = |name: &str| signed.get(name).and_then(Value::as_str);
        let digits = member("SD").ok_or(OcmfError::Digits)?;
        let signature = match member("SE") {
            None | Some("hex") => hex::decode(digits).map_err(|_| OcmfError::Digits)?,
            Some("base64") => BASE64.decode(digits).map_err(|_| OcmfError::Digits)?,
            Some(_) => return Err(OcmfError::Digits),
        };
        Ok(Ocmf {
            payload,
            algorithm: member("SA").unwrap_or(DEFAULT_ALGORITHM).into(),
            signature,
            pagination: read.get("PG").and_then(Value::as_str).map(Box::from),
            readings: readings(&read),
        })
    }

    /// Verifies the signature.
    pub fn verify(&self, key: &MeterKey) -> Verification {
        let algorithm: &'static dyn VerificationAlgorithm = match (&*self.algorithm, key.curve()) {
            ("ECDSA-secp256r1-SHA256", Curve::P256) => &ECDSA_P256_SHA256_ASN1,
            ("ECDSA-secp384r1-SHA384", Curve::P384) => &ECDSA_P384_SHA384_ASN1,
            ("ECDSA-secp384r1-SHA256", Curve::P384) => &ECDSA_P384_SHA256_ASN1,
            (_, Curve::P256 | Curve::P384 | Curve::Other) => return Verification::Algorithm,
        };
        match UnparsedPublicKey::new(algorithm, key.point()).verify(self.payload.as_bytes(), &self.signature) {
            Ok(()) => Verification::Verified,
            Err(ring::error::Unspecified) => Verification::Forged,
        }
    }

    /// The register at the beginning of the session, where the text has it.
    pub fn begin(&self) -> Option<Energy> {
        self.readings.iter().find(|reading| reading.reason == Some('B')).and_then(|reading| reading.register)
    }

    /// The register at the end of the session, where the text has it.
    pub fn end(&self) -> Option<Energy> {
        let is_end = |reading: &&OcmfReading| reading.reason.is_some_and(|reason| "ELRAP".contains(reason));
        self.readings.iter().rev().find(is_end).and_then(|reading| reading.register)
    }
}

fn object(text: &str) -> Option<Map<String, Value>> {
    match serde_json::from_str(text) {
        Ok(Value::Object(members)) => Some(members),
        Ok(_) | Err(_) => None,
    }
}

/// The readings; a member that is left out is that of the reading before.
fn readings(payload: &Map<String, Value>) -> Vec<OcmfReading> {
    let mut readings = Vec::new();
    let (mut time, mut unit, mut reason) = (String::new(), String::new(), None);
    for reading in payload.get("RD").and_then(Value::as_array).into_iter().flatten() {
        let member = |name: &str| reading.get(name).and_then(Value::as_str);
        if let Some(stated) = member("TM") {
            stated.clone_into(&mut time);
        }
        if let Some(stated) = member("RU") {
            stated.clone_into(&mut unit);
        }
        reason = member("TX").and_then(|text| text.chars().next()).or(reason);
        let register = reading.get("RV").and_then(|value| register(value, &unit));
        readings.push(OcmfReading { reason, time: time.as_str().into(), register });
    }
    readings
}

/// A register of energy; what is finer than a microwatt hour is cut.
fn register(value: &Value, unit: &str) -> Option<Energy> {
    let figure: Decimal = match value {
        Value::Number(number) => number.to_string().parse().ok()?,
        Value::String(text) => text.parse().ok()?,
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
    };
    let microwatt_hours = match unit {
        "kWh" => 1_000_000_000,
        "Wh" => 1_000_000,
        _ => return None,
    };
    let microwatt_hours = figure.checked_mul(Decimal::from(microwatt_hours))?.trunc().to_i64()?;
    Some(Energy::from_microwatt_hours(microwatt_hours))
}

#[cfg(test)]
pub(in crate::billing) mod tests {
    use super::*;
    use ring::rand::SystemRandom;
    use ring::signature::{
        ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, KeyPair,
    };

    pub const PAYLOAD: &str = r#"{"FV":"1.0","GI":"G","GS":"7","PG":"T12345","MS":"M-7","IS":true,"IT":"ISO14443","ID":"0|1",
        "RD":[{"TM":"2026-09-21T12:00:00,000+0200 S","TX":"B","RV":2935.6,"RI":"1-b:1.8.0","RU":"kWh","ST":"G"},
              {"TM":"2026-09-21T13:00:00,000+0200 S","TX":"E","RV":2947.854321}]}"#;

    /// A meter with its key.
    pub struct Meter {
        pair: EcdsaKeyPair,
        name: &'static str,
    }

    impl Meter {
        pub fn p256() -> Meter {
            Meter::of(&ECDSA_P256_SHA256_ASN1_SIGNING, "ECDSA-secp256r1-SHA256")
        }

        pub fn p384() -> Meter {
            Meter::of(&ECDSA_P384_SHA384_ASN1_SIGNING, "ECDSA-secp384r1-SHA384")
        }

        fn of(algorithm: &'static EcdsaSigningAlgorithm, name: &'static str) -> Meter {
            let random = SystemRandom::new();
            let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
            Meter { pair: EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random).unwrap(), name }
        }

        pub fn key(&self) -> MeterKey {
            MeterKey::read(hex::encode(self.pair.public_key().as_ref()).as_bytes()).unwrap()
        }

        pub fn signs(&self, payload: &str) -> String {
            let signature = self.pair.sign(&SystemRandom::new(), payload.as_bytes()).unwrap();
            let digits = hex::encode(signature.as_ref());
            format!(r#"OCMF|{payload}|{{"SA":"{}","SD":"{digits}"}}"#, self.name)
        }
    }

    #[test]
    fn a_text_says_what_the_meter_read() {
        let text = Meter::p256().signs(PAYLOAD);
        let ocmf = Ocmf::read(&text).unwrap();
        assert_eq!(ocmf.pagination.as_deref(), Some("T12345"));
        assert_eq!(ocmf.begin(), Some(Energy::from_microwatt_hours(2_935_600_000_000)));
        assert_eq!(ocmf.end(), Some(Energy::from_microwatt_hours(2_947_854_321_000)), "the unit is that of the first");
        assert_eq!(&*ocmf.readings[1].time, "2026-09-21T13:00:00,000+0200 S");
    }

    #[test]
    fn what_is_not_in_the_format_says_what_it_lacks() {
        let long = format!("OCMF|{}|{{}}", " ".repeat(MAX));
        for (text, error) in [
            ("", OcmfError::Parts),
            ("OCMF|{}", OcmfError::Parts),
            ("EDL|{}|{}", OcmfError::Parts),
            ("OCMF|7|{}", OcmfError::Json("payload")),
            ("OCMF|{}|7", OcmfError::Json("signature")),
            ("OCMF|{}|{}", OcmfError::Digits),
            (r#"OCMF|{}|{"SD":"xyz"}"#, OcmfError::Digits),
            (r#"OCMF|{}|{"SD":"00","SE":"base32"}"#, OcmfError::Digits),
            (long.as_str(), OcmfError::TooLong),
        ] {
            assert_eq!(Ocmf::read(text), Err(error), "{}", text.chars().take(40).collect::<String>());
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_is_too_odd(text in ".{0,200}", payload in "\\{\"RD\":(7|\\[7\\]|\\[\\{\"RV\":(1e99|-5|\"x\"|null)\\}\\])\\}") {
            let _ = Ocmf::read(&text);
            let text = format!(r#"OCMF|{payload}|{{"SD":"00"}}"#);
            let read = Ocmf::read(&text).unwrap();
            proptest::prop_assert!(read.begin().is_none() && read.end().is_none());
        }
    }
}
