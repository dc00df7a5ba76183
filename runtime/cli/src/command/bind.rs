//! Binds the sockets of both planes, and says what to do when an address is taken.

use std::error::Error;
use std::fmt;
use std::io;

use tokio::net::TcpListener;
use wrt::Hint;
use wrt::config::ListenAddress;

/// The address cannot be listened on.
#[derive(Debug)]
pub(crate) struct BindError {
    address: ListenAddress,
    flag: &'static str,
    source: io::Error,
}

/// Listens at `address`, which `flag` chooses.
pub(super) async fn bind(
    address: &ListenAddress,
    flag: &'static str,
) -> Result<TcpListener, BindError> {
    let bound = TcpListener::bind(address.as_str()).await;
    bound.map_err(|source| BindError { address: address.clone(), flag, source })
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "failed to listen on `{}`", self.address)
    }
}

impl Error for BindError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}

impl Hint for BindError {
    fn hints(&self) -> Vec<String> {
        match self.source.kind() {
            io::ErrorKind::AddrInUse => {
                vec![format!("pass `{} :0` to let the system choose a free port", self.flag)]
            }
            _ => Vec::new(),
        }
    }
}
