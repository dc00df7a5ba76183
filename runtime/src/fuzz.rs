//! Entry points for fuzzing: each takes bytes of a stranger through one reader of the library.
//!
//! The targets of `tests/fuzz` call them, and so do the tests below, with every file of the corpora.
//! An entry point panics when a promise is broken that holds for any bytes at all.

use std::convert::Infallible;
use std::future::poll_fn;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request};
use http_body_util::{BodyExt as _, Full};
use serde_json::Value;
use tower_service::Service as _;

use crate::admin::{self, AdminConfig, Token};
use crate::artifact::{self, Source};
use crate::config::{HandlerConfig, RuntimeConfig};
use crate::contract::whole;
use crate::history::{HandlerHistory, MAX_RECORDS};
use crate::id::{GenerationNumber, HandlerName};
use crate::ingress;
use crate::ingress::cloudevents::Sent;
use crate::manifest::{Manifest, Surroundings};
use crate::runtime::{HandlerHandle, Runtime};

/// One entry point.
pub type Target = fn(&[u8]);

/// Every entry point by its name, which is also the name of its target and of its corpus.
pub const TARGETS: &[(&str, Target)] = &[
    ("answer", answer),
    ("cache", cache),
    ("cloudevents", cloudevents),
    ("component", component),
    ("control_plane", control_plane),
    ("history", history),
    ("manifest", manifest),
];

/// The token that requests of the target `control_plane` have to show.
const TOKEN: &str = "fuzz";

/// A component of more bytes takes long to compile, and shows nothing that a smaller one does not.
const MAX_COMPONENT: usize = 64 * 1024;

/// The answer of a guest by `wrt:plugin/http`: two bytes of status, lines `name: value`, an empty
/// line, the body.
pub fn answer(bytes: &[u8]) {
    let Some((status, rest)) = bytes.split_first_chunk() else { return };
    let status = u16::from_le_bytes(*status);
    let (headers, body) = head_and_body(rest);
    let headers = headers.into_iter().map(|(name, value)| (text(name), value.to_vec())).collect();
    let answer = whole::Answer::new(status, headers, body.to_vec());
    let Ok(response) = answer.into_response(|name| name == http::header::CONNECTION) else {
        return;
    };
    assert_eq!(response.status(), status);
    assert!(!response.headers().contains_key(http::header::CONNECTION));
    if let Some(length) = response.headers().get(http::header::CONTENT_LENGTH) {
        assert_eq!(length.to_str().ok(), Some(body.len().to_string().as_str()));
    }
}

/// The file of a cache entry, and what is in one once its MAC was right.
pub fn cache(bytes: &[u8]) {
    artifact::fuzz::entry(bytes);
    artifact::fuzz::payloads(bytes);
}

/// A request to an event handler: lines `name: value`, an empty line, the body.
pub fn cloudevents(bytes: &[u8]) {
    let (headers, body) = head_and_body(bytes);
    let Some(request) = request(Method::POST, "/", &headers, ()) else { return };
    let (parts, ()) = request.into_parts();
    let Ok(sent) = ingress::cloudevents::decode(&parts, Bytes::copy_from_slice(body)) else {
        return;
    };
    let events = match sent {
        Sent::Event(event) => vec![*event],
        Sent::Batch(events) => events,
    };
    for event in &events {
        assert!(event.validate().is_ok(), "an event was accepted that is not valid");
        assert!(ingress::cloudevents::json::structured(event).is_ok());
        let Ok(encoded) = ingress::cloudevents::encode(event) else { continue };
        let (answer, body) = encoded.into_parts();
        let mut again = Request::new(()).into_parts().0;
        again.headers = answer.headers;
        let again = ingress::cloudevents::decode(&again, body).expect("an event that was written");
        // HTTP does not tell an empty body from none.
        let mut event = event.clone();
        event.data = event.data.filter(|data| !data.is_empty());
        assert_eq!(again, Sent::Event(Box::new(event)), "an event came back as another");
    }
    assert!(ingress::cloudevents::json::batch(&events).is_ok());
}

/// A component: what is looked at before it is compiled, and then staging it.
pub fn component(bytes: &[u8]) {
    let _ = crate::dev::shape(bytes);
    artifact::fuzz::inspect(bytes);
    if bytes.len() <= MAX_COMPONENT {
        let host = Host::get();
        let source = Source::bytes(bytes.to_vec());
        let swapped = host.tokio.block_on(host.handler.swap(source, "fuzz"));
        if let Err(rejected) = swapped {
            assert!(!crate::error::chain(&rejected).ends_with(": "), "an error says nothing");
        }
    }
}

/// A request to the control plane: a line `METHOD path`, lines `name: value`, an empty line, the
/// body.
pub fn control_plane(bytes: &[u8]) {
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let (first, rest) = bytes.split_at(end);
    let (headers, body) = head_and_body(rest.get(1..).unwrap_or_default());
    let first = text(first);
    let Some((method, path)) = first.split_once(' ') else { return };
    let Ok(method) = method.parse() else { return };
    let body = Full::new(Bytes::copy_from_slice(&body[..body.len().min(MAX_COMPONENT)]));
    let Some(request) = request(method, path, &headers, body) else { return };
    // The scheme is the same in either case.
    let shown = request.headers().get("authorization").map(HeaderValue::as_bytes);
    let has_token = shown.is_some_and(|shown| shown.eq_ignore_ascii_case(BEARER));
    let is_open = ["/healthz", "/readyz"].contains(&request.uri().path());
    let host = Host::get();
    host.tokio.block_on(async {
        let mut router = host.router.clone();
        let ready = poll_fn(|cx| {
            tower_service::Service::<Request<Full<Bytes>>>::poll_ready(&mut router, cx)
        });
        let Ok(()): Result<(), Infallible> = ready.await;
        let Ok(response): Result<_, Infallible> = router.call(request).await;
        assert!(has_token || is_open || !response.status().is_success(), "served without a token");
        let content = response.headers().get(http::header::CONTENT_TYPE).cloned();
        let has_end = content.as_ref().is_none_or(|it| *it != "text/event-stream");
        if has_end {
            let body = response.into_body().collect().await.expect("a body of the host's own");
            if content.is_some_and(|it| it.as_bytes().ends_with(b"json")) {
                let document = serde_json::from_slice::<Value>(&body.to_bytes());
                document.expect("what says that it is JSON is JSON");
            }
        }
    });
}

/// What clients of [`TOKEN`] show.
const BEARER: &[u8] = b"bearer fuzz";

/// The file of a handler's history.
pub fn history(bytes: &[u8]) {
    let Ok(mut history) = serde_json::from_slice::<HandlerHistory>(bytes) else { return };
    let _ = history.confirmed();
    let _ = history.last_number().map(GenerationNumber::next);
    if let Some(record) = history.records().first().cloned() {
        let _ = history.is_refused(|it| it.digest == record.digest);
        history.add(record);
    }
    assert!(history.records().len() <= MAX_RECORDS);
    // Times are written to the millisecond, so that the first form need not be the file's.
    let written = serde_json::to_value(&history).expect("a history can be written");
    let text = written.to_string();
    let again: HandlerHistory = serde_json::from_str(&text).expect("it can be read again");
    let again = serde_json::to_value(&again).expect("it can be written again");
    assert!(is_same(&written, &again), "{written} is {again} when it is read again");
}

/// Whether two documents say the same. Numbers may differ in their last digits, as readers round them.
fn is_same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => match (one.as_f64(), other.as_f64()) {
            (Some(one), Some(other)) => (one - other).abs() <= one.abs() * f64::EPSILON * 4.0,
            _ => one == other,
        },
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len()
                && one.iter().zip(other).all(|(one, other)| is_same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one
                    .iter()
                    .all(|(key, value)| other.get(key).is_some_and(|other| is_same(value, other)))
        }
        _ => one == other,
    }
}

/// The text of a manifest.
pub fn manifest(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let around = Surroundings {
        root: Path::new("/project"),
        env: &|name| (name == "SET").then(|| "value".to_owned()),
        read_file: &|_| Ok("secret".to_owned()),
    };
    match Manifest::parse(text, &around) {
        Ok(manifest) => {
            for handler in &manifest.handlers {
                assert!(handler.config.check().is_ok(), "a handler was accepted that cannot work");
            }
        }
        Err(problems) => {
            assert!(!problems.is_empty(), "refused without a word");
            let lines = text.lines().count().max(1);
            for problem in problems {
                let line = problem.position.line;
                assert!((1..=lines + 1).contains(&line), "line {line} of {lines}");
            }
        }
    }
}

/// A name and its value.
type Header<'a> = (&'a [u8], &'a [u8]);

/// Lines `name: value` up to an empty one, and what follows it. A line without a colon is left out.
fn head_and_body(bytes: &[u8]) -> (Vec<Header<'_>>, &[u8]) {
    let (mut headers, mut rest) = (Vec::new(), bytes);
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
        let line = &rest[..end];
        rest = rest.get(end + 1..).unwrap_or_default();
        if line.is_empty() {
            break;
        }
        if let Some(colon) = line.iter().position(|byte| *byte == b':') {
            headers.push((&line[..colon], line[colon + 1..].trim_ascii_start()));
        }
    }
    (headers, rest)
}

/// `None` for what no connection would deliver as a request.
fn request<B>(
    method: Method,
    path: &str,
    headers: &[(&[u8], &[u8])],
    body: B,
) -> Option<Request<B>> {
    let mut request = Request::builder().method(method).uri(path);
    // hyper reads a hundred at most.
    for (name, value) in headers.iter().take(100) {
        request = request.header(*name, *value);
    }
    request.body(body).ok()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A runtime with one handler, for targets that need it; made once.
struct Host {
    tokio: tokio::runtime::Runtime,
    handler: HandlerHandle,
    router: admin::Router,
}

impl Host {
    fn get() -> &'static Self {
        static HOST: OnceLock<Host> = OnceLock::new();
        HOST.get_or_init(|| {
            let tokio = tokio::runtime::Runtime::new().expect("threads are to be had");
            let inside = tokio.enter();
            let runtime = Runtime::new(RuntimeConfig::default()).expect("the defaults work");
            let name = HandlerName::new("fuzz").expect("it is a name");
            // A guest that computes for ever is ended soon.
            let config = HandlerConfig::new(name).with_timeout(Duration::from_millis(100));
            let handler = runtime.add_handler(config).expect("the name is free");
            let token = Token::new(TOKEN).expect("random bytes are to be had");
            let router = admin::router(runtime, AdminConfig::new(token));
            drop(inside);
            Self { tokio, handler, router }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;

    fn folder(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz").join(name)
    }

    /// Names below `folder`, sorted.
    fn names(folder: PathBuf) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let mut names: Vec<_> =
            entries.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn every_entry_point_has_its_target_and_its_seeds() {
        let wanted: Vec<_> = TARGETS.iter().map(|(name, _)| *name).collect();
        assert_eq!(names(folder("fuzz_targets")), wanted);
        assert_eq!(names(folder("seeds")), wanted);
    }

    #[test]
    fn no_seed_and_no_input_that_was_found_breaks_a_promise() {
        for (name, target) in TARGETS {
            let folder = folder("seeds").join(name);
            let seeds = names(folder.clone());
            assert!(!seeds.is_empty(), "no seeds for `{name}`");
            for seed in seeds {
                let bytes = fs::read(folder.join(&seed)).unwrap();
                let run = std::panic::catch_unwind(|| target(&bytes));
                assert!(run.is_ok(), "seed `{seed}` of `{name}`");
            }
        }
    }
}
