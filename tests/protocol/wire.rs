//! A connection of raw bytes, with the time that anything on it may take.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Longest wait for bytes of the server. It only bounds rows that fail: the server closes at once where it
/// has to close.
const PATIENCE: Duration = Duration::from_secs(20);

/// A connection, and what was read of it.
pub(super) struct Wire {
    stream: TcpStream,
    read: Vec<u8>,
    is_closed: bool,
}

impl Wire {
    pub(super) async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, read: Vec::new(), is_closed: false }
    }

    /// Sends `bytes`, as far as the server takes them. Bytes that it sends meanwhile are read, since it may
    /// wait for that.
    pub(super) async fn send(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && !self.is_closed {
            let (mut reader, mut writer) = self.stream.split();
            let mut buffer = [0; 16 * 1024];
            tokio::select! {
                sent = writer.write(bytes) => match sent {
                    Ok(n) => bytes = &bytes[n..],
                    // The server has closed; what it said before is still to be read.
                    Err(_) => return,
                },
                read = reader.read(&mut buffer) => self.take(read, &buffer),
            }
        }
    }

    /// Says that no more bytes come.
    pub(super) async fn end(&mut self) {
        // A server that has closed does not mind.
        let _ = self.stream.shutdown().await;
    }

    /// What was read so far, and is not [taken](Self::drop_first).
    pub(super) fn bytes(&self) -> &[u8] {
        &self.read
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Forgets the first `n` bytes.
    pub(super) fn drop_first(&mut self, n: usize) {
        self.read.drain(..n);
    }

    /// Reads more; returns `false` when nothing came for too long.
    pub(super) async fn more(&mut self) -> bool {
        let mut buffer = [0; 16 * 1024];
        match tokio::time::timeout(PATIENCE, self.stream.read(&mut buffer)).await {
            Ok(read) => {
                self.take(read, &buffer);
                true
            }
            Err(_) => false,
        }
    }

    fn take(&mut self, read: io::Result<usize>, buffer: &[u8]) {
        match read {
            // A reset is an end, too.
            Ok(0) | Err(_) => self.is_closed = true,
            Ok(n) => self.read.extend_from_slice(&buffer[..n]),
        }
    }
}
