//! An address to listen on, as people write it.

use std::fmt;
use std::str::FromStr;

/// `HOST:PORT`, such as `127.0.0.1:3000`, `localhost:3000` or `[::1]:3000`.
///
/// Port 0 lets the system choose. Without a host, as in `:0`, it is the loopback address, so that
/// nothing is open to the network unless somebody wrote so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenAddress(String);

/// A string that is not a [`ListenAddress`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected an address such as `127.0.0.1:3000` or `:0`, found `{}`", .found.escape_debug())]
pub struct InvalidListenAddress {
    found: String,
}

impl ListenAddress {
    /// Reads an address; a host name is not resolved yet.
    ///
    /// # Errors
    ///
    /// [`InvalidListenAddress`] when there is no port, or the host could not be one.
    pub fn parse(text: &str) -> Result<Self, InvalidListenAddress> {
        let refuse = || InvalidListenAddress { found: text.to_owned() };
        let (host, port) = text.rsplit_once(':').ok_or_else(refuse)?;
        // `u16` also reads `+80`, which no system takes as a port.
        if !port.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(refuse());
        }
        let port: u16 = port.parse().map_err(|_| refuse())?;
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let fine = match bracketed {
            Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
            None => host.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-'),
        };
        let host = if host.is_empty() { "127.0.0.1" } else { host };
        if fine { Ok(Self(format!("{host}:{port}"))) } else { Err(refuse()) }
    }

    /// The loopback address with `port`.
    #[must_use]
    pub fn loopback(port: u16) -> Self {
        Self(format!("127.0.0.1:{port}"))
    }

    /// The address as text, in the form that [`std::net::ToSocketAddrs`] reads.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for ListenAddress {
    /// `127.0.0.1:3000`: loopback, and the port that people try first on a developer's machine.
    fn default() -> Self {
        Self::loopback(3000)
    }
}

impl FromStr for ListenAddress {
    type Err = InvalidListenAddress;

    fn from_str(text: &str) -> Result<Self, InvalidListenAddress> {
        Self::parse(text)
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
