//! Events as a stream that a client can resume where it lost it (`text/event-stream`).
//!
//! Each has its number as `id`, its name as `event`, and as `data` the JSON that `--json` prints.
//! Where events are missing, because they are no longer kept or came too fast, an event `gap` says
//! so: `{"event":"gap","time":…,"after":SEEN,"next":NUMBER}`.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event as Message, KeepAlive, Sse};
use futures_util::stream::{self, Stream};
use serde::{Deserialize, Serialize};

use super::Shared;
use super::backlog::{Feed, Unseen};
use crate::events::{Numbered, rfc3339};

/// Pause after which a comment is sent, so that neither side takes a quiet stream for a dead one.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Events taken from the backlog at once: few enough that a client that does not read holds little.
const BATCH: usize = 64;

/// The header that a client resumes with.
const LAST_EVENT_ID: &str = "last-event-id";

pub(super) async fn stream(
    State(shared): State<Shared>,
    headers: HeaderMap,
) -> Sse<impl Stream<Item = Result<Message, Infallible>>> {
    let resumed = headers.get(LAST_EVENT_ID).and_then(|value| value.to_str().ok()?.parse().ok());
    let seen = resumed.unwrap_or_else(|| shared.feed.backlog.now());
    let reader = Reader { feed: Arc::clone(&shared.feed), seen, messages: VecDeque::new() };
    // Only the feed is held, so that a client does not keep the runtime.
    let messages = stream::unfold(reader, |mut reader| async move {
        let message = reader.next().await?;
        Some((Ok(message), reader))
    });
    Sse::new(messages).keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
}

/// One client.
struct Reader {
    feed: Arc<Feed>,
    /// Number of the last event that it has, or stands for.
    seen: u64,
    messages: VecDeque<Message>,
}

impl Reader {
    /// The next message; `None` when there will be none.
    async fn next(&mut self) -> Option<Message> {
        loop {
            if let Some(message) = self.messages.pop_front() {
                return Some(message);
            }
            let backlog = &self.feed.backlog;
            // Registered before the look, so that an event in between is not missed.
            let mut changed = pin!(backlog.changed());
            changed.as_mut().enable();
            match backlog.after(self.seen, BATCH) {
                Unseen::Events(events) => {
                    self.messages = messages(self.seen, &events);
                    self.seen = events.last().map_or(self.seen, |(number, _)| *number);
                }
                Unseen::Nothing => changed.await,
                Unseen::End => return None,
            }
        }
    }
}

/// `events` for a client that has seen number `seen`, gaps included.
fn messages(mut seen: u64, events: &[Numbered]) -> VecDeque<Message> {
    let mut messages = VecDeque::with_capacity(events.len());
    for (number, event) in events {
        if *number != seen.wrapping_add(1) {
            messages.extend(message(*number - 1, &Gap::new(seen, *number)));
        }
        messages.extend(message(*number, &**event));
        seen = *number;
    }
    messages
}

/// Tells a client that it does not see everything.
#[derive(Serialize)]
struct Gap {
    event: &'static str,
    #[serde(serialize_with = "rfc3339")]
    time: SystemTime,
    /// The last number that it has seen.
    after: u64,
    /// The number of the event that follows.
    next: u64,
}

impl Gap {
    fn new(after: u64, next: u64) -> Self {
        Self { event: "gap", time: SystemTime::now(), after, next }
    }
}

/// The message of something that says its own name under `event`.
fn message(number: u64, event: &impl Serialize) -> Option<Message> {
    #[derive(Deserialize)]
    struct Named<'a> {
        #[serde(borrow)]
        event: Cow<'a, str>,
    }
    // An event that cannot be written, which is a defect, is left out, as by `--json`.
    let data = serde_json::to_string(event).ok()?;
    let name = serde_json::from_str::<Named<'_>>(&data).ok()?.event.into_owned();
    Some(Message::default().id(number.to_string()).event(name).data(data))
}
