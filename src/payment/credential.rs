//! What a credential may not be, and what may be shown of it.

use super::Credential;
use crate::units::Fingerprint;
use ring::hmac;
use std::fmt;

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

/// Whether text or bytes contain what looks like a payment card's number: 12 to 19 digits, as a whole run (single
/// spaces or dashes between digits are skipped), that do not begin with 0 and pass the Luhn check of ISO/IEC 7812-1.
///
/// One in ten runs of random digits passes as well: tokens that an issuer makes of digits alone have to avoid these
/// lengths or fail the check, as card networks' own tokenisation rules ask.
pub fn looks_like_card_number(bytes: &[u8]) -> bool {
    let mut digits: Vec<u8> = Vec::new();
    let mut separator = false;
    for byte in bytes {
        match byte {
            b'0'..=b'9' => {
                digits.push(byte - b'0');
                separator = false;
            }
            b' ' | b'-' if !digits.is_empty() && !separator => separator = true,
            _ => {
                if is_card_number(&digits) {
                    return true;
                }
                digits.clear();
                separator = false;
            }
        }
    }
    is_card_number(&digits)
}

fn is_card_number(digits: &[u8]) -> bool {
    let doubled = |digit: u8| if digit > 4 { digit * 2 - 9 } else { digit * 2 };
    let sum = digits.iter().rev().enumerate().map(|(place, digit)| match place % 2 {
        0 => u32::from(*digit),
        _ => u32::from(doubled(*digit)),
    });
    (12..=19).contains(&digits.len()) && digits[0] != 0 && sum.sum::<u32>() % 10 == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The networks' published test numbers.
    #[test]
    fn card_numbers_are_seen_in_every_disguise() {
        let numbers = [
            "4111111111111111",
            "5555 5555 5555 4444",
            "3782-822463-10005",
            "tok:6011111111111117",
            "(30569309025904)",
        ];
        for number in numbers {
            assert!(looks_like_card_number(number.as_bytes()), "{number}");
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
