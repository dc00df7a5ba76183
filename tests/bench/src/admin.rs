//! Asks the control plane of a running host, over one kept-alive connection.

use std::fmt;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use wrt_test_support::process::{ServerProcess, WAIT_LIMIT};

use crate::http1;
use crate::site::{STATE_HOME, Site};
use crate::work;

/// The control plane of one host.
#[derive(Debug)]
pub(crate) struct Admin {
    host: String,
    token: String,
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// What became of a swap, in the words of the host.
#[derive(Debug)]
pub(crate) struct Answer {
    /// When it was asked for.
    pub(crate) asked_at: Instant,
    /// When the answer was there.
    pub(crate) answered_at: Instant,
    json: Value,
}

impl Answer {
    /// `swapped`, `unchanged` or `superseded`; for a problem the last word of its type.
    pub(crate) fn outcome(&self) -> &str {
        let problem = || self.json["type"].as_str()?.rsplit(':').next();
        self.json["outcome"].as_str().or_else(problem).unwrap_or("unknown")
    }

    /// The whole answer, as JSON.
    pub(crate) fn json(&self) -> &Value {
        &self.json
    }
}

impl fmt::Display for Answer {
    /// The outcome, and the stage of a refusal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.outcome())?;
        self.json["stage"].as_str().map_or(Ok(()), |stage| write!(f, " at {stage}"))
    }
}

impl Admin {
    /// That of `server`, which serves `site` and has said where its control plane is.
    pub(crate) fn of(site: &Site, server: &ServerProcess) -> Result<Self> {
        // The file with the token is there when this is said.
        server.wait_for_stderr("control plane on ")?;
        let directory = site.path(STATE_HOME).join("wrt/hosts");
        let files = fs::read_dir(&directory)
            .with_context(|| format!("failed to list `{}`", directory.display()))?;
        for file in files {
            let path = file.context("failed to list the files of hosts")?.path();
            let json: Value = serde_json::from_slice(&work::read(&path)?)
                .with_context(|| format!("failed to read `{}`", path.display()))?;
            if json["pid"] == server.id() {
                let text = |name: &str| {
                    let text = json[name].as_str().map(str::to_owned);
                    text.with_context(|| format!("expected `{name}` in a host's file"))
                };
                return Self::connect(text("address")?, text("token")?);
            }
        }
        anyhow::bail!("expected the file of process {} in `{}`", server.id(), directory.display())
    }

    fn connect(host: String, token: String) -> Result<Self> {
        let address: SocketAddr = host.parse().context("expected the address of a host")?;
        let stream = TcpStream::connect(address).context("failed to connect")?;
        stream.set_nodelay(true).context("failed to set `TCP_NODELAY`")?;
        stream.set_read_timeout(Some(WAIT_LIMIT)).context("failed to set a timeout")?;
        Ok(Self { host, token, stream, buffer: vec![] })
    }

    /// Asks for a swap of `handler` to `component`, which may be anything. A refusal is an answer.
    pub(crate) fn swap(&mut self, handler: &str, component: &[u8]) -> Result<Answer> {
        let path = format!("/v1/handlers/{handler}/swap");
        let asked_at = Instant::now();
        let request = http1::post(&path, &self.host, &self.authorization(), component);
        let (_, body) = self.exchange(&request)?;
        let answered_at = Instant::now();
        let json = serde_json::from_slice(&body).context("expected JSON from the host")?;
        Ok(Answer { asked_at, answered_at, json })
    }

    /// The metric `name`, which has no labels.
    pub(crate) fn metric(&mut self, name: &str) -> Result<f64> {
        let authorization = self.authorization();
        let host = &self.host;
        let request = format!("GET /metrics HTTP/1.1\r\nhost: {host}\r\n{authorization}\r\n");
        let (status, body) = self.exchange(request.as_bytes())?;
        ensure!(status == 200, "expected status 200 of `/metrics`, found {status}");
        metric(&String::from_utf8_lossy(&body), name)
    }

    fn authorization(&self) -> String {
        format!("authorization: Bearer {}\r\n", self.token)
    }

    fn exchange(&mut self, request: &[u8]) -> Result<(u16, Vec<u8>)> {
        self.stream.write_all(request).context("failed to ask the control plane")?;
        self.buffer.clear();
        let mut piece = [0; 16 * 1024];
        loop {
            let n_read = self.stream.read(&mut piece).context("failed to read an answer")?;
            ensure!(n_read > 0, "the control plane closed the connection");
            self.buffer.extend_from_slice(&piece[..n_read]);
            if let Some(found) = http1::find_response(&self.buffer)? {
                return Ok((found.status, http1::body(&self.buffer[..found.len])?));
            }
        }
    }
}

/// The value of `name` in the text form of Prometheus.
fn metric(page: &str, name: &str) -> Result<f64> {
    let value = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let value = value.with_context(|| format!("expected the metric `{name}`, found none"))?;
    value.parse().with_context(|| format!("expected `{name}` to be a number, found `{value}`"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn metric_is_the_one_of_the_whole_name() {
        let page = "# TYPE wrt_live gauge\nwrt_live_stores 3\nwrt_live 7\nwrt_x{a=\"b\"} 1\n";
        assert_eq!(metric(page, "wrt_live").unwrap(), 7.0);
        assert_eq!(metric(page, "wrt_live_stores").unwrap(), 3.0);
        assert!(metric(page, "wrt_x").is_err() && metric(page, "wrt").is_err());
    }

    #[test]
    fn outcome_is_told_by_both_kinds_of_answers() {
        let text = |json| {
            let at = Instant::now();
            Answer { asked_at: at, answered_at: at, json }.to_string()
        };
        assert_eq!(text(json!({ "outcome": "swapped" })), "swapped");
        let rejected = json!({ "type": "urn:wrt:problem:rejected", "stage": "init" });
        assert_eq!(text(rejected), "rejected at init");
        assert_eq!(text(json!({ "type": "urn:wrt:problem:too-large" })), "too-large");
        assert_eq!(text(json!({})), "unknown");
    }
}
