//! Encryption of tokens at rest: a token is sealed when it arrives and opened when it is sent, and is never clear in
//! between, neither in the log nor in a snapshot nor in the archive.
//!
//! ```text
//!   key file: KEK 1, KEK 2, … ──HKDF-SHA-256, payment──▶ a fresh key for each payment ──AES-256-GCM──▶ sealed token
//! ```
//!
//! A sealed token replaces the clear one:
//!
//! ```text
//!   0      1     2           6                                22                      34
//!   +------+-----+-----------+--------------------------------+-----------------------+------------+---------+
//!   | 0xF5 | ver | KEK's id  | payment                        | nonce                 | ciphertext | tag     |
//!   +------+-----+-----------+--------------------------------+-----------------------+------------+---------+
//!     1 B    1 B   4 B         16 B                             12 B                    as the token  16 B
//! ```
//!
//! Numbers are big-endian. Everything in front of the nonce, and the credential's kind, is associated data: a sealed
//! token of another payment or another kind does not open. No text begins with 0xF5, and no token from outside may.

use super::{Credential, CredentialKind};
use crate::units::PaymentId;
use arc_swap::ArcSwap;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Prk, Salt};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use zeroize::Zeroizing;

const MARK: u8 = 0xf5;
const VERSION: u8 = 1;
const HEAD: usize = 22;
const TAG: usize = 16;
/// Bytes that sealing adds to a token.
pub const SEAL_BYTES: usize = HEAD + NONCE_LEN + TAG;

/// The keys under which tokens are sealed.
///
/// ```
/// use wattstile::payment::vault::{Vault, is_sealed};
/// use wattstile::payment::{Credential, CredentialKind};
/// use wattstile::units::{PartitionId, PaymentId, Timestamp};
///
/// let vault = Vault::new(1, &[7; 32]);
/// let payment = PaymentId::new(Timestamp::from_unix_ms(1_796_000_000_000), PartitionId(3), 7);
/// let credential = Credential { kind: CredentialKind::CardToken, token: b"tok_1".as_slice().into() };
/// let sealed = vault.seal(payment, credential.clone(), [9; 12]);
/// assert!(is_sealed(&sealed.token));
/// assert_eq!(*vault.open_for(payment, &sealed)?, credential);
///
/// let other = PaymentId::new(Timestamp::from_unix_ms(1_796_000_000_000), PartitionId(3), 8);
/// assert!(vault.open_for(other, &sealed).is_err(), "a sealed token opens for its payment only");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Vault {
    keys: BTreeMap<u32, Prk>,
    newest: u32,
}

/// Why keys cannot be used, or a sealed token cannot be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VaultError {
    /// The text is no list of keys.
    #[error("line {line}: wanted a number and 64 hexadecimal digits")]
    Line {
        /// Counted from 1.
        line: usize,
    },
    /// A number that stands twice.
    #[error("line {line}: there are two keys with the number {id}")]
    Twice {
        /// Counted from 1.
        line: usize,
        /// The number.
        id: u32,
    },
    /// There is no key at all.
    #[error("there is no key")]
    Empty,
    /// Sealed under a key that is not there (any more).
    #[error("the token is sealed under key {0}, which is not among the keys")]
    NoKey(u32),
    /// Sealed for another payment, changed, or not sealed by this program.
    #[error("the sealed token does not open")]
    Broken,
}

impl Vault {
    /// A vault with one key.
    pub fn new(id: u32, secret: &[u8; 32]) -> Vault {
        Vault { keys: BTreeMap::from([(id, extract(secret))]), newest: id }
    }

    /// Reads keys: on each line a number and 64 hexadecimal digits; empty lines and those that begin with `#` are
    /// ignored. The highest number seals, all of them open.
    ///
    /// # Errors
    /// [`VaultError::Line`], [`VaultError::Twice`], [`VaultError::Empty`].
    pub fn parse(text: &str) -> Result<Vault, VaultError> {
        let mut keys = BTreeMap::new();
        for (index, line) in text.lines().enumerate() {
            let line_number = index + 1;
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = VaultError::Line { line: line_number };
            let (id, digits) = line.split_once(char::is_whitespace).ok_or_else(|| wrong.clone())?;
            let id: u32 = id.parse().map_err(|_| wrong.clone())?;
            let mut secret = Zeroizing::new([0; 32]);
            hex::decode_to_slice(digits.trim(), &mut *secret).map_err(|_| wrong)?;
            if keys.insert(id, extract(&secret)).is_some() {
                return Err(VaultError::Twice { line: line_number, id });
            }
        }
        let newest = *keys.keys().last().ok_or(VaultError::Empty)?;
        Ok(Vault { keys, newest })
    }

    /// The numbers of its keys, in their order; the last one seals.
    pub fn ids(&self) -> impl Iterator<Item = u32> + '_ {
        self.keys.keys().copied()
    }

    /// Seals the token of a credential for a payment; `nonce` is random from outside. What is sealed stays as it is.
    pub fn seal(&self, payment: PaymentId, credential: Credential, nonce: [u8; NONCE_LEN]) -> Credential {
        if is_sealed(&credential.token) {
            return credential;
        }
        let mut sealed = Vec::with_capacity(SEAL_BYTES + credential.token.len());
        sealed.extend_from_slice(&[MARK, VERSION]);
        sealed.extend_from_slice(&self.newest.to_be_bytes());
        sealed.extend_from_slice(&payment.as_u128().to_be_bytes());
        let bound = bound(&sealed, credential.kind);
        sealed.extend_from_slice(&nonce);
        let mut text = Zeroizing::new(credential.token.to_vec());
        let prk = self.keys.get(&self.newest).expect("the newest key is one of the keys");
        let tag = key_of(prk, payment)
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(bound), &mut text)
            .expect("a token is far shorter than AES-GCM allows");
        sealed.extend_from_slice(&text);
        sealed.extend_from_slice(tag.as_ref());
        Credential { kind: credential.kind, token: sealed.into() }
    }

    /// Opens the token of a credential, for whatever payment it was sealed; what is clear stays as it is.
    ///
    /// # Errors
    /// [`VaultError::NoKey`]; [`VaultError::Broken`] for a token that was changed or truncated.
    pub fn open<'c>(&self, credential: &'c Credential) -> Result<Cow<'c, Credential>, VaultError> {
        let token = &credential.token;
        if !is_sealed(token) {
            return Ok(Cow::Borrowed(credential));
        }
        let (head, rest) = token.split_at_checked(HEAD).ok_or(VaultError::Broken)?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>().ok_or(VaultError::Broken)?;
        let id = u32::from_be_bytes(*head[2..].first_chunk().ok_or(VaultError::Broken)?);
        let payment = u128::from_be_bytes(*head[6..].first_chunk().ok_or(VaultError::Broken)?);
        if head[1] != VERSION {
            return Err(VaultError::Broken);
        }
        let prk = self.keys.get(&id).ok_or(VaultError::NoKey(id))?;
        let mut text = Zeroizing::new(sealed.to_vec());
        let opened = key_of(prk, PaymentId::from_u128(payment))
            .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(bound(head, credential.kind)), &mut text)
            .map_err(|_| VaultError::Broken)?;
        Ok(Cow::Owned(Credential { kind: credential.kind, token: (&*opened).into() }))
    }

    /// The same, only if it was sealed for this payment.
    ///
    /// # Errors
    /// Those of [`Vault::open`], and [`VaultError::Broken`] for a token of another payment.
    pub fn open_for<'c>(
        &self,
        payment: PaymentId,
        credential: &'c Credential,
    ) -> Result<Cow<'c, Credential>, VaultError> {
        let sealed_for = credential.token.get(6..HEAD).filter(|_| is_sealed(&credential.token));
        match sealed_for {
            Some(id) if id != payment.as_u128().to_be_bytes() => Err(VaultError::Broken),
            _ => self.open(credential),
        }
    }
}

/// Shows which keys there are, never a key.
impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Vault{:?}", self.keys.keys())
    }
}

/// Whether a token is sealed.
pub fn is_sealed(token: &[u8]) -> bool {
    token.first() == Some(&MARK)
}

/// A line for the file of keys.
pub fn key_line(id: u32, secret: &[u8; 32]) -> Zeroizing<String> {
    Zeroizing::new(format!("{id} {}\n", hex::encode(secret)))
}

/// The vault that is in force, exchanged while the gate runs.
///
/// ```
/// use wattstile::payment::vault::{Keyring, Vault};
///
/// let keyring = Keyring::new(|| Vault::parse(&format!("2 {}", "07".repeat(32))).map_err(|error| error.to_string()))?;
/// assert_eq!(keyring.reload()?.ids().collect::<Vec<_>>(), [2]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Keyring {
    current: ArcSwap<Vault>,
    source: Box<dyn Fn() -> Result<Vault, String> + Send + Sync>,
}

impl Keyring {
    /// Loads the keys from `source`, now and at each reload.
    ///
    /// # Errors
    /// The error of `source`.
    pub fn new(source: impl Fn() -> Result<Vault, String> + Send + Sync + 'static) -> Result<Keyring, String> {
        Ok(Keyring { current: ArcSwap::from_pointee(source()?), source: Box::new(source) })
    }

    /// One key for the lifetime of the process: for tests, and where nothing is stored.
    pub fn fixed(secret: [u8; 32]) -> Keyring {
        let source = move || Ok(Vault::new(1, &secret));
        Keyring { current: ArcSwap::from_pointee(Vault::new(1, &secret)), source: Box::new(source) }
    }

    /// The keys as they are.
    pub fn vault(&self) -> Arc<Vault> {
        self.current.load_full()
    }

    /// Loads the keys again; when that fails, the old ones stay in force.
    ///
    /// # Errors
    /// The error of the keys' source.
    pub fn reload(&self) -> Result<Arc<Vault>, String> {
        self.current.store(Arc::new((self.source)()?));
        Ok(self.vault())
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keyring({:?})", self.current.load())
    }
}

fn extract(secret: &[u8; 32]) -> Prk {
    Salt::new(HKDF_SHA256, b"wattstile tokens 1").extract(secret)
}

/// A payment's own key.
fn key_of(prk: &Prk, payment: PaymentId) -> LessSafeKey {
    let payment = payment.as_u128().to_be_bytes();
    let info = [payment.as_slice()];
    let okm = prk.expand(&info, &AES_256_GCM).expect("a key of 32 bytes is shorter than HKDF allows");
    LessSafeKey::new(UnboundKey::from(okm))
}

/// What a sealed token is bound to.
fn bound(head: &[u8], kind: CredentialKind) -> [u8; HEAD + 1] {
    let mut bound = [0; HEAD + 1];
    bound[..HEAD].copy_from_slice(&head[..HEAD]);
    bound[HEAD] = kind as u8;
    bound
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::{PartitionId, Timestamp};

    fn payment(random: u64) -> PaymentId {
        PaymentId::new(Timestamp::from_unix_ms(1_763_800_000_000), PartitionId(3), random)
    }

    fn card(token: &str) -> Credential {
        Credential { kind: CredentialKind::CardToken, token: token.as_bytes().into() }
    }

    #[test]
    fn a_token_opens_for_its_payment_and_nowhere_else() {
        let vault = Vault::new(1, &[7; 32]);
        let sealed = vault.seal(payment(1), card("tok_visa"), [1; 12]);
        assert_eq!(sealed.token.len(), 8 + SEAL_BYTES);
        assert!(!sealed.token.windows(8).any(|window| window == b"tok_visa"));
        assert_eq!(vault.open_for(payment(1), &sealed).unwrap().into_owned(), card("tok_visa"));
        assert_eq!(vault.open_for(payment(2), &sealed), Err(VaultError::Broken));
        assert_eq!(vault.seal(payment(1), sealed.clone(), [2; 12]), sealed, "sealed once");
        let other = Credential { kind: CredentialKind::WalletToken, ..sealed };
        assert_eq!(vault.open(&other), Err(VaultError::Broken));
    }

    #[test]
    fn whatever_is_changed_in_a_sealed_token_is_noticed() {
        let vault = Vault::new(1, &[7; 32]);
        let sealed = vault.seal(payment(1), card("tok_visa"), [1; 12]);
        for byte in 1..sealed.token.len() {
            let mut changed = sealed.clone();
            changed.token[byte] ^= 1;
            assert!(vault.open(&changed).is_err(), "byte {byte}");
        }
        for length in 1..sealed.token.len() {
            let cut = Credential { kind: sealed.kind, token: sealed.token[..length].into() };
            assert!(vault.open(&cut).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn the_same_token_is_sealed_differently_each_time() {
        let vault = Vault::new(1, &[7; 32]);
        let first = vault.seal(payment(1), card("tok_visa"), [1; 12]);
        assert_ne!(first, vault.seal(payment(2), card("tok_visa"), [1; 12]));
        assert_ne!(first, vault.seal(payment(1), card("tok_visa"), [2; 12]));
    }

    #[test]
    fn after_a_rotation_the_new_key_seals_and_the_old_one_still_opens() {
        let text = format!("# keys\n{}{}", &*key_line(1, &[7; 32]), &*key_line(2, &[9; 32]));
        let (old, new) = (Vault::new(1, &[7; 32]), Vault::parse(&text).unwrap());
        let before = old.seal(payment(1), card("tok_visa"), [1; 12]);
        assert_eq!(new.open(&before).unwrap().into_owned(), card("tok_visa"));
        let after = new.seal(payment(1), card("tok_visa"), [1; 12]);
        assert_eq!(old.open(&after), Err(VaultError::NoKey(2)));
        assert_eq!(new.ids().collect::<Vec<_>>(), [1, 2]);
        assert_eq!(Vault::parse("1 xyz").unwrap_err(), VaultError::Line { line: 1 });
        let twice = format!("{0}{0}", &*key_line(1, &[7; 32]));
        assert_eq!(Vault::parse(&twice).unwrap_err(), VaultError::Twice { line: 2, id: 1 });
        assert_eq!(Vault::parse("\n").unwrap_err(), VaultError::Empty);
    }
}
