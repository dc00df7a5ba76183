//! Where a guest's outgoing HTTP requests may go: scheme, host and port.

use std::fmt;
use std::str::FromStr;

use http::Uri;

/// An HTTP origin, `https://api.example.com` or `http://127.0.0.1:8080`, without a path.
///
/// Two spellings of one origin are equal: the host's case and a default port do not count.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HttpOrigin {
    https: bool,
    host: String,
    port: u16,
}

/// A string that is not an [`HttpOrigin`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected an origin such as `https://api.example.com`, found `{}`: {problem}", .found.escape_debug())]
pub struct InvalidOrigin {
    found: String,
    problem: &'static str,
}

impl HttpOrigin {
    /// Reads an origin.
    ///
    /// # Errors
    ///
    /// [`InvalidOrigin`] when the scheme is not `http` or `https`, or when there is a user name, a
    /// path, a query or a `*`.
    pub fn parse(text: &str) -> Result<Self, InvalidOrigin> {
        let refuse = |problem| Err(InvalidOrigin { found: text.to_owned(), problem });
        let Ok(uri) = text.parse::<Uri>() else {
            return refuse("it is not a URL");
        };
        let Some(origin) = Self::of(&uri) else {
            return refuse("it needs `http://` or `https://` and a host");
        };
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return refuse("a user name is not part of an origin");
        }
        // `http` writes an absent path as `/`, so only what follows a single slash is a path.
        if uri.path() != "/" || uri.query().is_some() {
            return refuse("a path or query is not part of an origin");
        }
        if origin.host.contains('*') {
            return refuse("each host is named in full, without `*`");
        }
        Ok(origin)
    }

    /// Whether a request to `uri` stays within this origin.
    #[must_use]
    pub fn allows(&self, uri: &Uri) -> bool {
        Self::of(uri).as_ref() == Some(self)
    }

    /// The origin of an absolute URI; `None` for other schemes and for relative ones.
    fn of(uri: &Uri) -> Option<Self> {
        let https = match uri.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let authority = uri.authority()?;
        // A port that is written but is no number is an error, not the default port.
        let port = match authority.port() {
            Some(port) => port.as_u16(),
            None if authority.as_str().ends_with(':') => return None,
            None => default_port(https),
        };
        let host = authority.host().to_ascii_lowercase();
        (!host.is_empty()).then_some(Self { https, host, port })
    }
}

fn default_port(https: bool) -> u16 {
    if https { 443 } else { 80 }
}

impl FromStr for HttpOrigin {
    type Err = InvalidOrigin;

    fn from_str(text: &str) -> Result<Self, InvalidOrigin> {
        Self::parse(text)
    }
}

impl fmt::Display for HttpOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.https { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.host)?;
        if self.port == default_port(self.https) { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}
