//! Secrets of webhooks, and signatures with them.

use super::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::fmt;
use zeroize::Zeroizing;

/// What a secret begins with.
const PREFIX: &str = "whsec_";
/// Its length in bytes, by the convention.
const LENGTH: std::ops::RangeInclusive<usize> = 24..=64;

/// A text that is no secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a secret is `{PREFIX}` and the base64 of {} to {} random bytes", LENGTH.start(), LENGTH.end())]
pub struct SecretFault;

/// The secret of a webhook.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookSecret(Zeroizing<Vec<u8>>);

/// It is never shown.
impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookSecret(…)")
    }
}

impl WebhookSecret {
    /// Reads `whsec_` and base64.
    ///
    /// # Errors
    /// [`SecretFault`]: another text, or too few or too many bytes.
    pub fn read(text: &str) -> Result<WebhookSecret, SecretFault> {
        let bytes = text.trim().strip_prefix(PREFIX).and_then(|text| STANDARD.decode(text).ok()).ok_or(SecretFault)?;
        if LENGTH.contains(&bytes.len()) { Ok(WebhookSecret(Zeroizing::new(bytes))) } else { Err(SecretFault) }
    }

    /// As it is kept.
    pub(super) fn text(&self) -> String {
        format!("{PREFIX}{}", STANDARD.encode(&*self.0))
    }

    /// The signature of a message.
    pub(super) fn sign(&self, id: &str, seconds: &str, body: &str) -> String {
        format!("v1,{}", STANDARD.encode(hmac(&self.0, &[id, ".", seconds, ".", body])))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the convention's reference libraries.
    #[test]
    fn a_signature_is_that_of_the_convention() {
        let secret = WebhookSecret::read("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").unwrap();
        let signed = secret.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", r#"{"test": 2432232314}"#);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert_eq!(WebhookSecret::read(&secret.text()), Ok(secret));
    }

    #[test]
    fn what_is_no_secret_is_refused() {
        let short = format!("{PREFIX}{}", STANDARD.encode([1; 23]));
        let long = format!("{PREFIX}{}", STANDARD.encode([1; 65]));
        for text in ["", "whsec_", "whsec_###", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", &short, &long] {
            assert_eq!(WebhookSecret::read(text), Err(SecretFault), "{text}");
        }
    }
}
