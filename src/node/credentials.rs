//! The credentials of drivers: how they are kept, recognised and shown, and which accounts they pay from.

use super::credential_links::CredentialLinks;
use crate::message::Code;
use crate::payment::vault::{Keyring, Vault, is_sealed};
use crate::payment::{Credential, CredentialKind, Operation, Request, Shown};
use crate::units::{Fingerprint, PaymentId};
use ring::hmac;
use std::borrow::Cow;
use std::sync::Arc;

/// What the gate does with credentials.
pub struct Credentials {
    /// The key under which credentials are recognised and shown.
    fingerprint_key: hmac::Key,
    /// The keys under which tokens are kept.
    keys: Keyring,
    links: Box<dyn CredentialLinks>,
}

/// The token of a hold that an operator orders at an account: no driver can present it.
const BY_ORDER: &[u8] = b"\0by order";

impl Credentials {
    /// What stands in place of a credential where an operator orders a hold at an account.
    pub fn by_order() -> Credential {
        Credential { kind: CredentialKind::Rfid, token: BY_ORDER.into() }
    }

    /// Whether a hold was ordered by an operator.
    pub fn is_by_order(credential: &Credential) -> bool {
        *credential.token == *BY_ORDER
    }

    /// With these keys and links.
    pub fn new(fingerprint_key: &[u8], keys: Keyring, links: Box<dyn CredentialLinks>) -> Credentials {
        Credentials { fingerprint_key: hmac::Key::new(hmac::HMAC_SHA256, fingerprint_key), keys, links }
    }

    /// The keys under which tokens are kept.
    pub fn keys(&self) -> &Keyring {
        &self.keys
    }

    /// Which account a credential pays from.
    pub fn links(&self) -> &dyn CredentialLinks {
        &*self.links
    }

    /// The tokens' vault with the keys as they are now.
    pub fn vault(&self) -> Arc<Vault> {
        self.keys.vault()
    }

    /// The refusal of a credential that must not enter: a possible card number, or one that looks like a sealed
    /// token.
    pub fn refuses(&self, credential: &Credential) -> Option<Code> {
        if is_sealed(&credential.token) || credential.token.starts_with(BY_ORDER) {
            return Some(Code::CredentialDeclined);
        }
        credential.has_card_number().then_some(Code::CardNumber)
    }

    /// The credential, sealed for a payment, as it is stored.
    pub fn seal(&self, payment: PaymentId, credential: Credential, random: impl Fn() -> u64) -> Credential {
        let mut nonce = [0; 12];
        nonce[..8].copy_from_slice(&random().to_be_bytes());
        nonce[8..].copy_from_slice(&random().to_be_bytes()[4..]);
        self.vault().seal(payment, credential, nonce)
    }

    /// The operation as it leaves: with the clear token, if it has one. Nothing when that cannot be opened.
    pub fn unseal(&self, mut operation: Operation) -> Option<Operation> {
        let payment = operation.id.payment();
        if let Request::Authorize { credential, .. } = &mut operation.request {
            match self.vault().open_for(payment, credential) {
                Ok(Cow::Borrowed(_)) => {}
                Ok(Cow::Owned(clear)) => *credential = clear,
                Err(error) => {
                    tracing::error!(operation = %operation.id, %error, "an authorization cannot be sent");
                    return None;
                }
            }
        }
        Some(operation)
    }

    /// By what a credential is recognised. RFID UIDs and contracts are the same whatever their letters and separators.
    pub fn mark(&self, credential: &Credential) -> Fingerprint {
        let clear = self.vault();
        let clear = clear.open(credential).unwrap_or(Cow::Borrowed(credential));
        let tag = match clear.kind {
            CredentialKind::CardToken | CredentialKind::WalletToken => hmac::sign(&self.fingerprint_key, &clear.token),
            CredentialKind::EvAccount | CredentialKind::Rfid => {
                let digits = clear.token.iter().filter(|byte| !b" :-*".contains(byte));
                let plain: Vec<u8> = digits.map(u8::to_ascii_uppercase).collect();
                hmac::sign(&self.fingerprint_key, &plain)
            }
        };
        Fingerprint(*tag.as_ref().first_chunk().expect("HMAC-SHA-256 has 32 bytes"))
    }

    /// The printable form of a credential: its kind, and a keyed fingerprint that does not reveal the token.
    pub fn fingerprint(&self, credential: &Credential) -> Box<str> {
        Shown::new(credential.kind, self.mark(credential)).to_string().into()
    }
}
