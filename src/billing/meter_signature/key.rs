//! The public key of a charger's meter, as manufacturers hand it over: PEM, DER, hexadecimal or base64 digits.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::agreement::{self, Algorithm, ECDH_P256, ECDH_P384, EphemeralPrivateKey, UnparsedPublicKey};
use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;

/// The public key of a meter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeterKey {
    /// A SubjectPublicKeyInfo in DER (RFC 5280, 4.1.2.7).
    der: Box<[u8]>,
    curve: Curve,
    /// The point in DER begins here.
    point: usize,
}

/// The curve of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Curve {
    P256,
    P384,
    /// A curve that is not verified here.
    Other,
}

/// Why a text is no key of a meter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MeterKeyError {
    /// Neither PEM nor DER nor digits.
    #[error("wanted a public key: PEM, DER, or its hexadecimal or base64 digits")]
    NoKey,
    /// Something else than a public key.
    #[error("these bytes are no public key (SubjectPublicKeyInfo)")]
    NoPublicKey,
    /// A key of another kind.
    #[error("wanted a key of an elliptic curve; this one is of another algorithm")]
    NoCurve,
    /// Its point is on no curve: a digit is wrong.
    #[error("the point of this key is not on its curve: a part of it was changed or mistyped")]
    OffCurve,
    /// Longer than a key is.
    #[error("a public key has at most {MAX} bytes, and this has {0}")]
    TooLong(usize),
}

/// The longest key that is read, in bytes.
const MAX: usize = 1_024;

/// The object identifier of keys of elliptic curves, 1.2.840.10045.2.1 (RFC 5480).
const EC_PUBLIC_KEY: [u8; 7] = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];

/// Tags of DER.
const SEQUENCE: u8 = 0x30;
const OBJECT: u8 = 0x06;
const BITS: u8 = 0x03;

/// What precedes the point of a key of P-256 in DER.
const P256_PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// The same of P-384.
const P384_PREFIX: [u8; 23] = [
    0x30, 0x76, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00,
    0x22, 0x03, 0x62, 0x00,
];
/// Bytes of an uncompressed point, with the 4 before it.
const P256_POINT: usize = 65;
const P384_POINT: usize = 97;

impl MeterKey {
    /// Reads a key from the content of a file. A bare point of P-256 or P-384 is a key too.
    ///
    /// # Errors
    /// [`MeterKeyError`]: what it is instead.
    pub fn read(content: &[u8]) -> Result<MeterKey, MeterKeyError> {
        if content.len() > 8 * MAX {
            return Err(MeterKeyError::TooLong(content.len()));
        }
        let Ok(text) = std::str::from_utf8(content).map(str::trim) else { return MeterKey::of(content) };
        if text.starts_with("-----BEGIN") {
            let pem = pem::parse(text).map_err(|_| MeterKeyError::NoKey)?;
            return MeterKey::of(pem.contents());
        }
        let digits: String = text.chars().filter(|c| !c.is_ascii_whitespace() && *c != ':').collect();
        match hex::decode(&digits).or_else(|_| BASE64.decode(&digits)) {
            Ok(bytes) if !bytes.is_empty() => MeterKey::of(&bytes),
            Ok(_) | Err(_) if content.first() == Some(&0x30) => MeterKey::of(content),
            Ok(_) | Err(_) => Err(MeterKeyError::NoKey),
        }
    }

    fn of(bytes: &[u8]) -> Result<MeterKey, MeterKeyError> {
        match (bytes.len(), bytes.first()) {
            (P256_POINT, Some(4)) => MeterKey::of_der(&[&P256_PREFIX, bytes].concat()),
            (P384_POINT, Some(4)) => MeterKey::of_der(&[&P384_PREFIX, bytes].concat()),
            _ => MeterKey::of_der(bytes),
        }
    }

    fn of_der(der: &[u8]) -> Result<MeterKey, MeterKeyError> {
        if der.len() > MAX {
            return Err(MeterKeyError::TooLong(der.len()));
        }
        let parts = || {
            let (key, rest) = element(der, SEQUENCE).filter(|(_, rest)| rest.is_empty())?;
            let (algorithm, bits) = element(key, SEQUENCE)?;
            let (object, _) = element(algorithm, OBJECT)?;
            let (bits, rest_of_key) = element(bits, BITS)?;
            (rest.is_empty() && rest_of_key.is_empty() && bits.first() == Some(&0)).then_some(object)
        };
        let object = parts().ok_or(MeterKeyError::NoPublicKey)?;
        if object != EC_PUBLIC_KEY {
            return Err(MeterKeyError::NoCurve);
        }
        let is_of = |prefix: &[u8], point: usize| {
            der.starts_with(prefix) && der.len() == prefix.len() + point && der.get(prefix.len()) == Some(&4)
        };
        let (curve, point) = match der {
            _ if is_of(&P256_PREFIX, P256_POINT) => (Curve::P256, P256_PREFIX.len()),
            _ if is_of(&P384_PREFIX, P384_POINT) => (Curve::P384, P384_PREFIX.len()),
            _ => (Curve::Other, der.len()),
        };
        let key = MeterKey { der: der.into(), curve, point };
        let is_on_curve = match curve {
            Curve::P256 => is_point(&ECDH_P256, key.point()),
            Curve::P384 => is_point(&ECDH_P384, key.point()),
            Curve::Other => true,
        };
        if is_on_curve { Ok(key) } else { Err(MeterKeyError::OffCurve) }
    }

    /// The key in DER.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// A short name: the first half of the SHA-256 of the key, in hexadecimal.
    pub fn id(&self) -> String {
        hex::encode(digest(&SHA256, &self.der).as_ref().get(..16).unwrap_or_default())
    }

    /// Whether signatures of its curve are verified here.
    pub fn is_verifiable(&self) -> bool {
        self.curve != Curve::Other
    }

    pub(super) fn curve(&self) -> Curve {
        self.curve
    }

    pub(super) fn point(&self) -> &[u8] {
        self.der.get(self.point..).unwrap_or_default()
    }
}

/// Whether a point is on its curve. An agreement with a key that is used once checks it; its secret is random and decides nothing.
fn is_point(curve: &'static Algorithm, point: &[u8]) -> bool {
    let once = EphemeralPrivateKey::generate(curve, &SystemRandom::new());
    once.and_then(|once| agreement::agree_ephemeral(once, &UnparsedPublicKey::new(curve, point), |_| ())).is_ok()
}

/// The content of the element of this tag at the front, and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (first, rest) = der.split_first()?;
    let (length, rest) = rest.split_first()?;
    let (length, rest) = match length {
        0..=0x7f => (usize::from(*length), rest),
        0x81 => rest.split_first().map(|(length, rest)| (usize::from(*length), rest))?,
        0x82 => rest.split_first_chunk().map(|(length, rest)| (usize::from(u16::from_be_bytes(*length)), rest))?,
        _ => return None,
    };
    (*first == tag).then_some(rest)?.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::super::ocmf::tests::Meter;
    use super::*;

    #[test]
    fn a_key_with_a_wrong_digit_is_refused() {
        for meter in [Meter::p256(), Meter::p384()] {
            let mut der = meter.key().der().to_vec();
            *der.last_mut().unwrap() ^= 1;
            assert_eq!(MeterKey::read(&der), Err(MeterKeyError::OffCurve));
        }
    }

    #[test]
    fn a_key_is_read_however_it_is_handed_over() {
        for meter in [Meter::p256(), Meter::p384()] {
            let key = meter.key();
            let digits = hex::encode(key.der());
            let pem = pem::encode(&pem::Pem::new("PUBLIC KEY", key.der()));
            let spaced: Vec<&str> =
                digits.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap()).collect();
            for content in [digits.clone(), digits.to_uppercase(), spaced.join(":"), BASE64.encode(key.der()), pem] {
                assert_eq!(MeterKey::read(content.as_bytes()).as_ref(), Ok(&key), "{content}");
            }
            assert_eq!(MeterKey::read(key.der()).as_ref(), Ok(&key), "DER");
            assert_eq!(MeterKey::read(hex::encode(key.point()).as_bytes()).as_ref(), Ok(&key), "a bare point");
            assert_eq!(key.id().len(), 32);
        }
    }

    #[test]
    fn what_is_no_key_of_a_meter_says_what_it_is() {
        assert_eq!(MeterKey::read(b"not a key"), Err(MeterKeyError::NoKey));
        assert_eq!(MeterKey::read(b""), Err(MeterKeyError::NoKey));
        assert!(matches!(MeterKey::read(b"00112233"), Err(MeterKeyError::NoPublicKey)));
        let mut more = Meter::p256().key().der().to_vec();
        more.push(0);
        assert!(matches!(MeterKey::read(hex::encode(more).as_bytes()), Err(MeterKeyError::NoPublicKey)));
        // An Ed25519 key (RFC 8410).
        let ed25519 =
            [&[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00][..], &[7; 32]].concat();
        assert!(matches!(MeterKey::read(&ed25519), Err(MeterKeyError::NoCurve)));
    }
}
