//! A small HTTP/1.1 client whose connection stays open, so that a test can tell whether it did.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use wrt_test_support::history::ServedBy;
use wrt_test_support::process::WAIT_LIMIT;

/// One connection.
pub(crate) struct Client {
    stream: BufReader<TcpStream>,
}

/// A whole response.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

impl Answer {
    /// The generation that the response names.
    pub(crate) fn served_by(&self) -> Option<ServedBy> {
        self.headers.get("wrt-generation").map(|value| value.parse().unwrap())
    }

    /// The number of the generation that the response names.
    pub(crate) fn generation(&self) -> u64 {
        self.served_by().unwrap().generation
    }
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(WAIT_LIMIT)).unwrap();
        Self { stream: BufReader::new(stream) }
    }

    pub(crate) fn get(&mut self, path: &str) -> Answer {
        self.send("GET", path, "", "");
        self.answer()
    }

    pub(crate) fn post(&mut self, path: &str, headers: &str, body: &str) -> Answer {
        self.send("POST", path, headers, body);
        self.answer()
    }

    /// Sends a request; `headers` are whole lines.
    pub(crate) fn send(&mut self, method: &str, path: &str, headers: &str, body: &str) {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: test\r\ncontent-length: {}\r\n{headers}\r\n{body}",
            body.len()
        );
        self.stream.get_mut().write_all(request.as_bytes()).unwrap();
    }

    /// Reads the response to the request sent last.
    pub(crate) fn answer(&mut self) -> Answer {
        let (status, headers) = self.head();
        let body = match headers.get("content-length") {
            Some(length) => self.take(length.parse().unwrap()),
            None => {
                let chunks = std::iter::from_fn(|| self.chunk());
                chunks.flatten().collect()
            }
        };
        Answer { status, headers, body: String::from_utf8(body).unwrap() }
    }

    /// Reads a response's head.
    pub(crate) fn head(&mut self) -> (u16, BTreeMap<String, String>) {
        let line = self.line();
        let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.unwrap_or_else(|| panic!("expected a status line, found {line:?}"));
        let mut headers = BTreeMap::new();
        loop {
            let line = self.line();
            let Some((name, value)) = line.split_once(": ") else { break };
            headers.insert(name.to_ascii_lowercase(), value.to_owned());
        }
        (status, headers)
    }

    /// Reads a chunk of a chunked body; `None` for the last, empty one.
    pub(crate) fn chunk(&mut self) -> Option<Vec<u8>> {
        let line = self.line();
        let length = usize::from_str_radix(&line, 16);
        let length = length.unwrap_or_else(|_| panic!("expected a chunk's size, found {line:?}"));
        let chunk = self.take(length);
        assert_eq!(self.line(), "");
        (length > 0).then_some(chunk)
    }

    /// Whether the connection ends before the response does.
    pub(crate) fn is_broken_off(&mut self) -> bool {
        let mut rest = Vec::new();
        // A reset tells it as well.
        let ended = self.stream.read_to_end(&mut rest);
        ended.is_err() || !rest.ends_with(b"0\r\n\r\n")
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        assert!(line.ends_with("\r\n"), "the connection ended after {line:?}");
        line.trim_end().to_owned()
    }

    fn take(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes).unwrap();
        bytes
    }
}
