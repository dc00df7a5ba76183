//! The secret that clients of the control plane show.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::hmac;
use ring::rand::{SecureRandom as _, SystemRandom};

/// Random bytes of a token: beyond any guessing.
const BYTES: usize = 32;

/// What clients show in the header `authorization: Bearer TOKEN`. Cheap to clone; its debug form does
/// not show it.
#[derive(Clone)]
pub struct Token {
    text: String,
    /// Random too. What was shown is compared by its MAC, so that how much of a wrong token is right
    /// does not show in the time that it takes.
    key: hmac::Key,
    mac: hmac::Tag,
}

/// The system has no random bytes to make a token of.
#[derive(Debug, thiserror::Error)]
#[error("failed to get random bytes for a token from the system")]
#[non_exhaustive]
pub struct TokenError;

impl Token {
    /// A new token of 32 random bytes.
    ///
    /// # Errors
    ///
    /// [`TokenError`] when the system has none.
    pub fn generate() -> Result<Self, TokenError> {
        Self::new(BASE64_URL_SAFE_NO_PAD.encode(random()?))
    }

    /// A token of the embedder's own. As it is a secret, it should be as hard to guess as one that
    /// is [generated](Self::generate).
    ///
    /// # Errors
    ///
    /// [`TokenError`] when the system has no random bytes to compare it with.
    pub fn new(text: impl Into<String>) -> Result<Self, TokenError> {
        let (text, key) = (text.into(), hmac::Key::new(hmac::HMAC_SHA256, &random()?));
        let mac = hmac::sign(&key, text.as_bytes());
        Ok(Self { text, key, mac })
    }

    /// The token as clients show it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether `shown` is this token.
    pub(super) fn is(&self, shown: &[u8]) -> bool {
        hmac::verify(&self.key, shown, self.mac.as_ref()).is_ok()
    }
}

fn random() -> Result<[u8; BYTES], TokenError> {
    let mut bytes = [0; BYTES];
    SystemRandom::new().fill(&mut bytes).map_err(|_| TokenError)?;
    Ok(bytes)
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_token_passes() {
        let token = Token::generate().unwrap();
        let text = token.as_str().to_owned();
        assert_eq!(text.len(), 43, "32 bytes in base64 without padding");
        assert!(token.is(text.as_bytes()) && token.clone().is(text.as_bytes()));
        let longer = format!("{text}x");
        for other in ["", &text[1..], &text[..42], &longer, Token::generate().unwrap().as_str()] {
            assert!(!token.is(other.as_bytes()), "{other:?}");
        }
        assert!(Token::new("mine").unwrap().is(b"mine"));
        assert!(!format!("{token:?}").contains(&text));
    }
}
