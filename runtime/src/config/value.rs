//! A configuration value that knows whether it may be shown.

use std::fmt;

/// One value that a guest reads by key; a secret one shows itself to the guest alone.
#[derive(Clone, PartialEq, Eq)]
pub struct ConfigValue {
    text: String,
    secret: bool,
}

impl ConfigValue {
    /// A value that may appear in output.
    #[must_use]
    pub fn plain(text: impl Into<String>) -> Self {
        Self { text: text.into(), secret: false }
    }

    /// A value that never appears in output.
    #[must_use]
    pub fn secret(text: impl Into<String>) -> Self {
        Self { text: text.into(), secret: true }
    }

    /// The text, for the guest it is meant for.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// Whether it was made with [`ConfigValue::secret`].
    #[must_use]
    pub fn is_secret(&self) -> bool {
        self.secret
    }
}

impl fmt::Debug for ConfigValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.secret { f.write_str("<secret>") } else { fmt::Debug::fmt(&self.text, f) }
    }
}

impl From<&str> for ConfigValue {
    fn from(text: &str) -> Self {
        Self::plain(text)
    }
}
