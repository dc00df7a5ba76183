//! Talks to the control plane of a running host.

use std::error::Error;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::Context as _;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, HOST};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::{TcpStream, lookup_host};
use wrt::Hint;
use wrt::config::ListenAddress;

use super::state::{Host, running};
use crate::exit::AtFault;
use crate::settings::ClientSettings;

/// Longest time for an answer. A swap is answered when its component is compiled, and a host gives
/// that five minutes unless it is told otherwise.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// Longest time to connect, which on the same machine takes no time at all.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A running host.
#[derive(Debug)]
pub(super) struct Client(Host);

/// There is no host to talk to.
#[derive(Debug)]
pub(crate) struct NoHost {
    message: String,
    hint: String,
    /// As text: a connection that broke must not pass for a reader of stdout that has seen enough.
    source: Option<Broken>,
}

/// Why a host did not answer.
#[derive(Debug)]
struct Broken(String);

impl Client {
    /// Finds the host that `settings` mean.
    ///
    /// # Errors
    ///
    /// [`NoHost`] when none runs, or it is not clear which one is meant.
    pub(super) async fn find(settings: &ClientSettings) -> Result<Self, NoHost> {
        let hosts = settings.state_dir.as_deref().map(running).unwrap_or_default();
        let wanted = settings.admin.as_ref().unwrap_or(&settings.usual);
        let at: Vec<_> =
            lookup_host(wanted.as_str()).await.map(Iterator::collect).unwrap_or_default();
        choose(hosts, wanted, &at, settings.admin.is_some()).map(Self)
    }

    /// Asks for `path` with `method`, and `body`.
    ///
    /// # Errors
    ///
    /// [`NoHost`] when the host does not answer; [`AtFault`] when it refuses.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: impl Into<Bytes>,
    ) -> anyhow::Result<Value> {
        let exchange = self.exchange(method, path, body.into());
        let answered = tokio::time::timeout(ANSWER_TIMEOUT, exchange).await;
        let (status, text) = answered
            .unwrap_or_else(|_| Err(anyhow::anyhow!("no answer within {ANSWER_TIMEOUT:?}")))
            .map_err(|source| self.unreachable(&source))?;
        let json: Value = serde_json::from_slice(&text)
            .with_context(|| format!("expected JSON from the host, found status {status}"))?;
        match status {
            200..300 => Ok(json),
            401 => Err(anyhow::anyhow!("the host at `{}` refused its own token", self.0.address)),
            _ => Err(refused(&json).into()),
        }
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> anyhow::Result<(u16, Bytes)> {
        let address = reachable(self.0.address);
        let stream = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(address))
            .await
            .with_context(|| format!("no connection within {CONNECT_TIMEOUT:?}"))??;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // How it ends is seen by the request that it breaks.
        let connection = tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, address.to_string())
            .header(AUTHORIZATION, format!("Bearer {}", self.0.token))
            .body(Full::new(body))?;
        let response = sender.send_request(request).await?;
        let status = response.status().as_u16();
        let text = response.into_body().collect().await?.to_bytes();
        connection.abort();
        Ok((status, text))
    }

    fn unreachable(&self, source: &anyhow::Error) -> NoHost {
        NoHost {
            message: format!("failed to reach the host at `{}`", self.0.address),
            hint: START.to_owned(),
            source: Some(Broken(format!("{source:#}"))),
        }
    }
}

/// How to have a host.
const START: &str = "start one with `wrt dev` or `wrt serve`";

/// The host among `hosts` that is meant by `wanted`, which leads to the addresses `at`.
fn choose(
    mut hosts: Vec<Host>,
    wanted: &ListenAddress,
    at: &[SocketAddr],
    is_asked_for: bool,
) -> Result<Host, NoHost> {
    let no_host = |message: String, hint: String| Err(NoHost { message, hint, source: None });
    if let Some(i) = hosts.iter().position(|host| at.iter().any(|at| answers(host.address, *at))) {
        return Ok(hosts.swap_remove(i));
    }
    let addresses: Vec<_> = hosts.iter().map(|host| format!("`{}`", host.address)).collect();
    match hosts.len() {
        0 if is_asked_for => {
            no_host(format!("no host of yours runs at `{wanted}`"), START.to_owned())
        }
        0 => no_host("no host of yours is running".to_owned(), START.to_owned()),
        1 if !is_asked_for => Ok(hosts.remove(0)),
        _ => {
            let message = match is_asked_for {
                true => format!("no host of yours runs at `{wanted}`"),
                false => "more than one host of yours is running".to_owned(),
            };
            no_host(message, format!("pass `--admin` with one of {}", addresses.join(", ")))
        }
    }
}

/// Whether a host that listens at `bound` answers at `at`.
fn answers(bound: SocketAddr, at: SocketAddr) -> bool {
    bound == at || bound.ip().is_unspecified() && bound.port() == at.port() && at.ip().is_loopback()
}

/// Where to reach what listens at `bound`: every address includes the loopback one.
fn reachable(bound: SocketAddr) -> SocketAddr {
    let ip = match bound.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, bound.port())
}

/// A problem document as an error of the user's input.
fn refused(problem: &Value) -> AtFault {
    let text = |name: &str| problem[name].as_str().map(str::to_owned);
    let message = text("detail").or_else(|| text("title"));
    let mut fault = AtFault::new(message.unwrap_or_else(|| "the host refused".to_owned()));
    if let Some(serving) = problem.get("serving") {
        fault = fault.note(match serving["generation"].as_u64() {
            Some(generation) => format!("generation {generation} keeps serving"),
            None => "nothing is serving yet; requests wait".to_owned(),
        });
    }
    let hints = problem["hints"].as_array().into_iter().flatten().filter_map(Value::as_str);
    hints.fold(fault, AtFault::hint)
}

impl fmt::Display for NoHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for NoHost {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|source| source as &(dyn Error + 'static))
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Broken {}

impl Hint for NoHost {
    fn hints(&self) -> Vec<String> {
        vec![self.hint.clone()]
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::diagnostics::render;
    use crate::exit::ExitStatus;
    use crate::output::style::Style;

    fn host(address: &str) -> Host {
        Host { address: address.parse().unwrap(), token: "t".to_owned(), pid: 1 }
    }

    #[test]
    fn connection_that_breaks_is_a_failure() {
        let broken = std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        let error: anyhow::Error =
            Client(host("127.0.0.1:3001")).unreachable(&broken.into()).into();
        assert_eq!(ExitStatus::of(&error), ExitStatus::Unexpected);
        assert_eq!(
            render(&error, Style::PLAIN),
            "error: failed to reach the host at `127.0.0.1:3001`\n  caused by: broken pipe\n\
             hint: start one with `wrt dev` or `wrt serve`\n"
        );
    }

    #[test]
    fn host_is_the_one_asked_for_or_the_usual_or_the_only_one() {
        let usual = ListenAddress::loopback(3001);
        let choose = |hosts: &[&str], at: &str, is_asked_for| {
            let hosts = hosts.iter().map(|address| host(address)).collect();
            let chosen = choose(hosts, &usual, &[at.parse().unwrap()], is_asked_for);
            chosen.map(|host| host.address.to_string()).map_err(|error| error.to_string())
        };
        let (first, second) = ("127.0.0.1:3001", "127.0.0.1:9");
        assert_eq!(choose(&[second, first], first, false).unwrap(), first);
        assert_eq!(choose(&[second], first, false).unwrap(), second);
        assert!(choose(&[second], first, true).is_err());
        assert!(
            choose(&[second, "127.0.0.1:8"], first, false).unwrap_err().starts_with("more than")
        );
        assert!(choose(&[], first, false).unwrap_err().starts_with("no host of yours is running"));
        assert_eq!(choose(&["0.0.0.0:3001"], first, true).unwrap(), "0.0.0.0:3001");
        assert!(choose(&["0.0.0.0:3001"], "10.0.0.1:3001", true).is_err());
        assert_eq!(reachable("[::]:5".parse().unwrap()).to_string(), "[::1]:5");
    }

    #[test]
    fn problem_says_what_serves_where_it_is_about_one() {
        let about = |serving: Value| {
            refused(&json!({ "detail": "no", "serving": serving, "hints": ["a"] })).notes().to_vec()
        };
        assert_eq!(about(json!({ "generation": 3 })), ["generation 3 keeps serving"]);
        assert_eq!(about(Value::Null), ["nothing is serving yet; requests wait"]);
        assert!(refused(&json!({ "title": "x" })).notes().is_empty());
    }
}
