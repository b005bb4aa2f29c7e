//! Signed receipts: Ed25519 over the canonical form of the receipt's JSON.
//!
//! A signed receipt is one JSON document:
//!
//! ```text
//! {"receipt": {…}, "signature": {"algorithm": "Ed25519", "key_id": "…", "public_key": "…", "value": "…"}}
//! ```
//!
//! `value` signs the bytes `wattstile receipt 1\n` followed by the [`canonical_json`] of `receipt`. `public_key` and
//! `value` are base64, `key_id` is the first half of the SHA-256 of the public key in hexadecimal. The key in the
//! document proves only that the document is unchanged; the signer is proved by comparing that key with one from
//! elsewhere.

use super::Receipt;
use crate::units::visible_json;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use pem::{EncodeConfig, LineEnding, Pem};
use ring::digest::{SHA256, digest};
use ring::rand::SecureRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Number, Value};
use std::fmt;

/// What precedes the receipt in the bytes that are signed: a signature of something else never fits a receipt.
const CONTEXT: &[u8] = b"wattstile receipt 1\n";

const PEM_LABEL: &str = "PUBLIC KEY";

/// The DER bytes before the 32 bytes of an Ed25519 public key (RFC 8410).
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// The deepest nesting of a receipt that is read.
const DEPTH_MAX: usize = 32;

/// A receipt with its signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedReceipt {
    /// The signed content.
    pub receipt: Receipt,
    /// The signature.
    pub signature: Signature,
}

impl SignedReceipt {
    /// The schema of a signed receipt, where its document names one.
    pub const SCHEMA: &'static str = "wattstile.signed-receipt/1";
}

/// A signature and the key to check it with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signature {
    /// Always `Ed25519`.
    pub algorithm: String,
    /// A short name of the key.
    pub key_id: String,
    /// The public key, base64.
    pub public_key: String,
    /// The signature, base64.
    pub value: String,
}

/// The key that signs receipts.
pub struct SigningKey(Ed25519KeyPair);

/// A key that receipts are checked with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey([u8; 32]);

/// Why a key or a receipt is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// Not a signed receipt at all.
    #[error("not a signed receipt: {0}")]
    Malformed(String),
    /// The signature does not match the receipt: one of them was changed.
    #[error("the signature does not fit: the receipt was changed after it was signed")]
    Broken,
    /// The signature fits, but another key made it.
    #[error("signed by the key {found}, not by the expected {expected}")]
    OtherKey {
        /// The key in the document.
        found: String,
        /// The key that was expected.
        expected: String,
    },
    /// A private key that cannot be read, or not be made.
    #[error("the signing key cannot be used: {0}")]
    SigningKey(&'static str),
    /// A public key that cannot be read.
    #[error("not an Ed25519 public key (PEM, or 32 bytes in hexadecimal or base64)")]
    PublicKey,
}

impl SigningKey {
    /// Makes a key: PKCS#8 in DER, to be kept where only the owner can read it.
    ///
    /// # Errors
    /// [`SignatureError::SigningKey`] without randomness.
    pub fn generate(random: &dyn SecureRandom) -> Result<Vec<u8>, SignatureError> {
        let document = Ed25519KeyPair::generate_pkcs8(random);
        let document = document.map_err(|_| SignatureError::SigningKey("the system gave no randomness"))?;
        Ok(document.as_ref().to_vec())
    }

    /// Reads a key from PKCS#8 in DER, as [`SigningKey::generate`] or openssl made it.
    ///
    /// # Errors
    /// [`SignatureError::SigningKey`] for any other content.
    pub fn from_pkcs8(der: &[u8]) -> Result<SigningKey, SignatureError> {
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der);
        Ok(SigningKey(pair.map_err(|_| SignatureError::SigningKey("not an Ed25519 key in PKCS#8"))?))
    }

    /// The public half.
    pub fn public_key(&self) -> PublicKey {
        let bytes = self.0.public_key().as_ref();
        PublicKey(bytes.try_into().expect("an Ed25519 public key has 32 bytes"))
    }

    /// Signs a receipt.
    pub fn sign(&self, receipt: Receipt) -> SignedReceipt {
        let value = serde_json::to_value(&receipt).expect("a receipt is always JSON");
        let signature = self.0.sign(&signed_bytes(&value));
        let public_key = self.public_key();
        SignedReceipt {
            receipt,
            signature: Signature {
                algorithm: "Ed25519".to_owned(),
                key_id: public_key.key_id(),
                public_key: BASE64.encode(public_key.0),
                value: BASE64.encode(signature.as_ref()),
            },
        }
    }
}

/// The private half never reaches a log.
impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.public_key().key_id())
    }
}

impl PublicKey {
    /// Reads a key: PEM (`BEGIN PUBLIC KEY`), or 32 bytes in hexadecimal or base64.
    ///
    /// # Errors
    /// [`SignatureError::PublicKey`].
    pub fn parse(text: &str) -> Result<PublicKey, SignatureError> {
        let text = text.trim();
        let bytes = if text.starts_with("-----BEGIN") {
            let pem = pem::parse(text).map_err(|_| SignatureError::PublicKey)?;
            let spki = pem.contents().strip_prefix(&SPKI_PREFIX).filter(|_| pem.tag() == PEM_LABEL);
            spki.ok_or(SignatureError::PublicKey)?.to_vec()
        } else {
            hex::decode(text).or_else(|_| BASE64.decode(text)).map_err(|_| SignatureError::PublicKey)?
        };
        bytes.try_into().map(PublicKey).map_err(|_| SignatureError::PublicKey)
    }

    /// PEM, to be published.
    pub fn to_pem(&self) -> String {
        let der: Vec<u8> = SPKI_PREFIX.iter().chain(&self.0).copied().collect();
        pem::encode_config(&Pem::new(PEM_LABEL, der), EncodeConfig::new().set_line_ending(LineEnding::LF))
    }

    /// A short name: half of the SHA-256 of the key.
    pub fn key_id(&self) -> String {
        hex::encode(&digest(&SHA256, &self.0).as_ref()[..16])
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.key_id())
    }
}

impl SignedReceipt {
    /// The document, indented for people.
    pub fn to_json(&self) -> String {
        let document = serde_json::to_string_pretty(self).expect("a receipt is always JSON");
        visible_json(&document).into_owned()
    }
}

/// Checks a signed receipt, without any network: the signature must fit, and be of `expected` where one is given.
///
/// What is checked are the bytes of the document itself, not what this version of the program understands of it; a field
/// that stands in it twice is refused.
///
/// # Errors
/// [`SignatureError::Malformed`], [`SignatureError::PublicKey`], [`SignatureError::Broken`],
/// [`SignatureError::OtherKey`].
pub fn verify_receipt(document: &[u8], expected: Option<&PublicKey>) -> Result<SignedReceipt, SignatureError> {
    let malformed = |error: serde_json::Error| SignatureError::Malformed(error.to_string());
    let mut reader = serde_json::Deserializer::from_slice(document);
    let mut strict = StrictValue { depth: 0 }.deserialize(&mut reader).map_err(malformed)?;
    reader.end().map_err(malformed)?;
    // The name of the whole is not signed: the receipt in it has a schema of its own, which is.
    if let Some(schema) = strict.as_object_mut().and_then(|members| members.remove("schema"))
        && schema != SignedReceipt::SCHEMA
    {
        return Err(SignatureError::Malformed(format!("its schema is {schema}, not {}", SignedReceipt::SCHEMA)));
    }
    let receipt = strict.get("receipt").ok_or_else(|| SignatureError::Malformed("it has no receipt".into()))?;
    let bytes = signed_bytes(receipt);
    let signature = strict.get("signature").ok_or_else(|| SignatureError::Malformed("it has no signature".into()))?;
    let signature: Signature = serde_json::from_value(signature.clone()).map_err(malformed)?;
    if signature.algorithm != "Ed25519" {
        return Err(SignatureError::Malformed(format!("unknown algorithm `{}`", signature.algorithm)));
    }
    let key = PublicKey::parse(&signature.public_key)?;
    let value = BASE64.decode(&signature.value).map_err(|error| SignatureError::Malformed(error.to_string()))?;
    UnparsedPublicKey::new(&ED25519, key.0).verify(&bytes, &value).map_err(|_| SignatureError::Broken)?;
    if signature.key_id != key.key_id() {
        return Err(SignatureError::Broken);
    }
    if let Some(expected) = expected.filter(|expected| **expected != key) {
        return Err(SignatureError::OtherKey { found: key.key_id(), expected: expected.key_id() });
    }
    serde_json::from_value(strict).map_err(malformed)
}

fn signed_bytes(receipt: &Value) -> Vec<u8> {
    let mut bytes = CONTEXT.to_vec();
    bytes.extend_from_slice(canonical_json(receipt).as_bytes());
    bytes
}

/// The canonical text of a JSON value: keys in the order of their bytes, no white space, strings escaped as little as
/// JSON allows, numbers with exactly the digits they came with (an exponent, which no receipt has, always with its
/// sign).
pub fn canonical_json(value: &Value) -> String {
    let mut out = String::new();
    write_canonical(value, &mut out);
    out
}

fn write_canonical(value: &Value, out: &mut String) {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => out.push_str(&value.to_string()),
        Value::Array(values) => {
            out.push('[');
            for (index, value) in values.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_canonical(value, out);
            }
            out.push(']');
        }
        Value::Object(fields) => {
            let mut sorted: Vec<(&String, &Value)> = fields.iter().collect();
            sorted.sort_unstable_by_key(|(key, _)| key.as_bytes());
            out.push('{');
            for (index, (key, value)) in sorted.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                out.push_str(&Value::String(key.clone()).to_string());
                out.push(':');
                write_canonical(value, out);
            }
            out.push('}');
        }
    }
}

/// Reads JSON and refuses repeated keys in an object: readers differ in which of the two they use.
#[derive(Clone, Copy)]
struct StrictValue {
    depth: usize,
}

impl StrictValue {
    fn deeper<E: serde::de::Error>(self) -> Result<StrictValue, E> {
        if self.depth < DEPTH_MAX {
            Ok(StrictValue { depth: self.depth + 1 })
        } else {
            Err(E::custom("nested too deeply"))
        }
    }
}

impl<'de> DeserializeSeed<'de> for StrictValue {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for StrictValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Value, A::Error> {
        let deeper = self.deeper()?;
        let mut out = Vec::new();
        while let Some(value) = values.next_element_seed(deeper)? {
            out.push(value);
        }
        Ok(Value::Array(out))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let deeper = self.deeper()?;
        let mut out = Map::new();
        while let Some(key) = fields.next_key::<String>()? {
            // How serde_json hands over a number with all its digits (its feature `arbitrary_precision`).
            if key == "$serde_json::private::Number" {
                let digits: String = fields.next_value()?;
                return digits.parse::<Number>().map(Value::Number).map_err(serde::de::Error::custom);
            }
            let value = fields.next_value_seed(deeper)?;
            if out.insert(key.clone(), value).is_some() {
                return Err(serde::de::Error::custom(format!("`{key}` stands in it twice")));
            }
        }
        Ok(Value::Object(out))
    }
}
