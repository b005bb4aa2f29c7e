//! Checks and printable forms of credentials.

use super::{Credential, CredentialKind};
use crate::stored::{Stored, StoredError, load_text, store_text};
use crate::units::Fingerprint;
pub use crate::units::screen::looks_like_card_number;
use ring::hmac;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

impl Credential {
    /// Whether the token is a card's number, or has one in it. An RFID card's UID is 8, 14 or 20 hexadecimal digits, of
    /// which a few happen to be decimal: 14 digits are let through, other lengths are not a UID.
    pub fn has_card_number(&self) -> bool {
        let digits = || self.token.iter().filter(|symbol| symbol.is_ascii_digit()).count();
        let uid = self.kind == CredentialKind::Rfid && self.token.len() == 14 && digits() == 14;
        !uid && looks_like_card_number(&self.token)
    }
}

/// Printable form of a credential: `card:0011223344556677`, its kind and its fingerprint. In memory and compared it
/// is these nine bytes; a text of any other form is kept as it is.
///
/// ```
/// use wattstile::payment::{CredentialKind, Shown};
/// use wattstile::units::Fingerprint;
///
/// let shown = Shown::new(CredentialKind::CardToken, Fingerprint([0, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77]));
/// assert_eq!(shown.to_string(), "card:0011223344556677");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Shown(Form);

#[derive(Clone, PartialEq, Eq)]
enum Form {
    Marked(CredentialKind, Fingerprint),
    Text(Box<Box<str>>),
}

/// `account:` and sixteen digits.
const SHOWN_BYTES: usize = 24;

impl Shown {
    /// A credential of this kind with this fingerprint.
    pub fn new(kind: CredentialKind, mark: Fingerprint) -> Shown {
        Shown(Form::Marked(kind, mark))
    }

    /// The fingerprint, where the text has the form of one.
    pub fn mark(&self) -> Option<Fingerprint> {
        match &self.0 {
            Form::Marked(_, mark) => Some(*mark),
            Form::Text(_) => None,
        }
    }

    /// The text, for which there is room in `place`: a snapshot writes it a million times.
    fn text<'a>(&'a self, place: &'a mut [u8; SHOWN_BYTES]) -> &'a str {
        let (kind, mark) = match &self.0 {
            Form::Marked(kind, mark) => (word_of(*kind), mark),
            Form::Text(text) => return text,
        };
        let (word, rest) = place.split_at_mut(kind.len());
        word.copy_from_slice(kind.as_bytes());
        rest[0] = b':';
        hex::encode_to_slice(mark.0, &mut rest[1..17]).expect("sixteen digits for eight bytes");
        let end = kind.len() + 17;
        std::str::from_utf8(&place[..end]).expect("a word and digits")
    }
}

impl From<&str> for Shown {
    fn from(text: &str) -> Shown {
        use CredentialKind::{CardToken, EvAccount, Rfid, WalletToken};
        let marked = text.split_once(':').and_then(|(word, digits)| {
            let kind = [CardToken, WalletToken, EvAccount, Rfid].into_iter().find(|kind| word_of(*kind) == word)?;
            let mut bytes = [0; 8];
            hex::decode_to_slice(digits, &mut bytes).ok()?;
            Some(Shown::new(kind, Fingerprint(bytes)))
        });
        // Digits may be written in capitals, which is another text.
        marked.filter(|marked| *marked == *text).unwrap_or_else(|| Shown(Form::Text(Box::new(text.into()))))
    }
}

impl PartialEq<str> for Shown {
    fn eq(&self, text: &str) -> bool {
        self.text(&mut [0; SHOWN_BYTES]) == text
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text(&mut [0; SHOWN_BYTES]))
    }
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Shown {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.text(&mut [0; SHOWN_BYTES]))
    }
}

impl<'de> Deserialize<'de> for Shown {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Shown, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Ok(Shown::from(&*text))
    }
}

impl Stored for Shown {
    fn store(&self, out: &mut Vec<u8>) {
        store_text(self.text(&mut [0; SHOWN_BYTES]), out);
    }

    fn load(from: &mut &[u8]) -> Result<Shown, StoredError> {
        load_text(from).map(Shown::from)
    }
}

#[cfg(test)]
impl crate::stored::Example for Shown {
    fn make(index: usize, most: &mut usize) -> Shown {
        *most = 2.max(*most);
        Shown::from(["card:0011223344556677", "something else"][index % 2])
    }
}

const fn word_of(kind: CredentialKind) -> &'static str {
    match kind {
        CredentialKind::CardToken => "card",
        CredentialKind::WalletToken => "wallet",
        CredentialKind::EvAccount => "account",
        CredentialKind::Rfid => "rfid",
    }
}

/// The key of fingerprints: secret, and the same for as long as fingerprints are to be compared.
pub struct FingerprintKey(hmac::Key);

impl FingerprintKey {
    /// From secret bytes; 32 random ones are right.
    pub fn new(secret: &[u8]) -> FingerprintKey {
        FingerprintKey(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// The fingerprint of a credential: HMAC-SHA-256 over its kind's number and its token, cut to 64 bits.
    pub fn fingerprint(&self, credential: &Credential) -> Fingerprint {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(&[credential.kind as u8]);
        context.update(&credential.token);
        let tag = context.sign();
        let mut first = [0; 8];
        first.copy_from_slice(&tag.as_ref()[..8]);
        Fingerprint(first)
    }
}

/// Never shows its secret.
impl fmt::Debug for FingerprintKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FingerprintKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stored;

    #[test]
    fn how_a_credential_is_shown_takes_little_and_reads_back_as_it_was() {
        use super::super::CredentialKind;
        let mark = Fingerprint([0, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0xab]);
        let shown = Shown::new(CredentialKind::CardToken, mark);
        assert_eq!((&*shown.to_string(), size_of::<Shown>()), ("card:00112233445566ab", 16));
        assert_eq!(shown, *"card:00112233445566ab");
        for text in ["card:00112233445566ab", "rfid:00112233445566ab", "card:00112233445566AB", "card:x", "fp_00", ""] {
            let bytes = postcard::to_stdvec(&Shown::from(text)).unwrap();
            assert_eq!(bytes, postcard::to_stdvec(text).unwrap());
            assert_eq!(postcard::from_bytes::<Shown>(&bytes).unwrap().to_string(), text);
            let bytes = stored::to_bytes(&Shown::from(text));
            assert_eq!(bytes, stored::to_bytes(&Box::<str>::from(text)));
            assert_eq!(stored::from_bytes::<Shown>(&bytes).unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_fingerprint_tells_credentials_apart_only_under_one_key() {
        use super::super::CredentialKind::{CardToken, Rfid};
        let credential = |kind, token: &str| Credential { kind, token: token.as_bytes().into() };
        let key = FingerprintKey::new(b"a key of thirty-two secret bytes");
        let same = key.fingerprint(&credential(CardToken, "tok_1"));
        assert_eq!(key.fingerprint(&credential(CardToken, "tok_1")), same);
        assert_ne!(key.fingerprint(&credential(CardToken, "tok_2")), same);
        assert_ne!(key.fingerprint(&credential(Rfid, "tok_1")), same);
        assert_ne!(FingerprintKey::new(b"another key").fingerprint(&credential(CardToken, "tok_1")), same);
        assert_eq!(same.to_string().len(), 19);
        assert_eq!(format!("{key:?}"), "FingerprintKey(…)");
    }

    #[test]
    fn card_numbers_are_told_from_tokens() {
        let looks = |kind, token: &str| Credential { kind, token: token.as_bytes().into() }.has_card_number();
        // Test numbers that card schemes publish.
        for number in ["4111111111111111", "4111 1111 1111 1111", "3782-822463-10005", "6011000990139424"] {
            assert!(looks(CredentialKind::CardToken, number), "{number}");
        }
        assert!(looks(CredentialKind::WalletToken, "tok_4111111111111111"), "also when it is wrapped");
        for token in ["4111111111111112", "tok_4111111111111112", "12345678", "04A2B3C4D5E6F7", ""] {
            assert!(!looks(CredentialKind::CardToken, token), "{token}");
        }
        assert!(looks(CredentialKind::Rfid, "4111111111111111"), "no UID has 16 digits");
        assert!(!looks(CredentialKind::Rfid, "30569309025904"), "a UID of seven bytes");
    }

    #[test]
    fn tokens_are_not_card_numbers() {
        let tokens =
            ["tok_1NirD82eZvKYlo2C", "4111111111111112", "DE-8AA-C00000001-5", "04A2B3C4D5E680", "12345678901", ""];
        for token in tokens {
            assert!(!looks_like_card_number(token.as_bytes()), "{token}");
        }
        assert!(!looks_like_card_number("4111111111111111000000".as_bytes()), "22 digits are no card number");
        assert!(!looks_like_card_number(b"0000000000000000"), "no card begins with 0");
    }
}
