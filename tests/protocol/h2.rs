//! HTTP/2: how each row of the table is sent, and what the server's frames say.

mod codec;
mod rows;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::wire::Wire;
use super::{Verdicts, expect_service, server};
use codec::{ACK, END_STREAM, Frame, PREFACE, kind, ping, settings};

/// The stream of the request after which a connection is seen to be in order.
const NEXT: u32 = 0x7fff_fff1;

/// What is sent with the ping that is answered when all that was sent before it is done with.
const MARK: [u8; 8] = *b"all-done";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_stream_of_http_2_is_answered_as_the_rfcs_ask_for() {
    let server = server().await;
    let mut verdicts = Verdicts::default();
    for row in rows::rows() {
        let found = outcome(server.address, &row).await;
        verdicts.judge(rows::EXCEPTIONS, (row.name, row.section, row.expected), &found);
        expect_service(server.address, row.name).await;
    }
    verdicts.check(rows::EXCEPTIONS, 150);
}

/// Frames of a client.
struct Row {
    name: &'static str,
    section: &'static str,
    /// What is sent after the preface and the client's settings; or all that is sent, when `is_raw`.
    bytes: Vec<u8>,
    is_raw: bool,
    /// `STREAM:STATUS` or `STREAM:rst CODE` in the order of the streams, and `goaway CODE` or `closed`. A
    /// connection without one of these is open for another request.
    expected: &'static str,
}

/// What the server said.
#[derive(Default)]
struct Said {
    /// By stream: what ended it, when that has come.
    streams: BTreeMap<u32, Stream>,
    goaway: Option<u32>,
    is_marked: bool,
}

#[derive(Default)]
struct Stream {
    status: Option<u16>,
    /// Bytes of content.
    n_bytes: usize,
    /// `end`, or `rst CODE`.
    end: Option<String>,
}

impl Said {
    /// Reads one frame of the server's; returns what the client has to answer.
    fn read(&mut self, frame: &Frame) -> Vec<u8> {
        let stream = || u32::from_be_bytes(frame.payload[..4].try_into().unwrap());
        match frame.kind {
            kind::SETTINGS if frame.flags & ACK == 0 => return settings(ACK, &[]),
            kind::PING if frame.flags & ACK == 0 => return ping(ACK, &frame.payload),
            kind::PING => self.is_marked |= frame.payload == MARK,
            kind::GOAWAY => {
                let code = u32::from_be_bytes(frame.payload[4..8].try_into().unwrap());
                self.goaway = Some(code);
            }
            kind::RST_STREAM => {
                let code = codec::code_name(stream());
                self.streams.entry(frame.stream).or_default().end = Some(format!("rst {code}"));
            }
            kind::HEADERS => {
                let said = self.streams.entry(frame.stream).or_default();
                // Trailers have no status.
                if said.status.is_none_or(|status| status < 200) {
                    said.status = Some(codec::status(&frame.payload));
                }
                said.end_with(frame);
            }
            kind::DATA => {
                let said = self.streams.entry(frame.stream).or_default();
                said.n_bytes += frame.payload.len();
                said.end_with(frame);
            }
            _ => {}
        }
        Vec::new()
    }

    fn shown(&self, closed: bool) -> String {
        let shown = |(stream, said): (&u32, &Stream)| match (said.status, said.end.as_deref()) {
            (Some(status), Some("end")) => format!("{stream}:{status}"),
            (Some(status), Some(end)) => format!("{stream}:{status}, {end}"),
            (Some(status), None) => format!("{stream}:{status} unended"),
            (None, end) => format!("{stream}:{}", end.unwrap_or("nothing")),
        };
        let mut shown: Vec<_> =
            self.streams.iter().filter(|(stream, _)| **stream != NEXT).map(shown).collect();
        match self.goaway {
            Some(code) => shown.push(format!("goaway {}", codec::code_name(code))),
            None if closed => shown.push("closed".to_owned()),
            None => {}
        }
        shown.join(" ")
    }

    /// Whether each of `streams` has come to an end.
    fn have_ended(&self, streams: &[u32]) -> bool {
        streams.iter().all(|it| self.streams.get(it).is_some_and(|said| said.end.is_some()))
    }
}

impl Stream {
    fn end_with(&mut self, frame: &Frame) {
        if frame.flags & END_STREAM != 0 {
            self.end = Some("end".to_owned());
        }
    }
}

/// What came back, as [`Row::expected`] has it.
async fn outcome(address: SocketAddr, row: &Row) -> String {
    let mut wire = Wire::connect(address).await;
    if !row.is_raw {
        // Without a dynamic table, a status is a number or a text.
        wire.send(&[PREFACE, &settings(0, &[(1, 0)])].concat()).await;
    }
    wire.send(&row.bytes).await;
    wire.send(&ping(0, &MARK)).await;
    let awaited = awaited(row.expected);
    let mut said = Said::default();
    let mut is_next_sent = false;
    loop {
        while let Some((frame, n)) = Frame::read(wire.bytes()) {
            wire.drop_first(n);
            let answer = said.read(&frame);
            wire.send(&answer).await;
        }
        if wire.is_closed() {
            return said.shown(true);
        }
        if is_next_sent && said.have_ended(&[NEXT]) {
            let next = &said.streams[&NEXT];
            let shown = said.shown(false);
            return match (next.status, next.end.as_deref()) {
                (Some(200), Some("end")) => shown,
                _ => format!("{shown}, and the next request is not answered"),
            };
        }
        // After a connection error, what follows is not answered: neither the ping nor the next request.
        let is_complete =
            awaited.is_empty() || awaited.iter().any(|streams| said.have_ended(streams));
        if said.is_marked && is_complete && !is_next_sent {
            is_next_sent = true;
            wire.send(&rows::get(NEXT, "/next")).await;
        } else if !wire.more().await {
            return format!("{} and nothing more", said.shown(false));
        }
    }
}

/// The streams that `expected` names, by alternative; those that end the connection are left out.
fn awaited(expected: &str) -> Vec<Vec<u32>> {
    let stays = |it: &&str| !it.contains("goaway") && !it.contains("closed");
    let streams = |alternative: &str| {
        let words = alternative.split([' ', ',']);
        words.filter_map(|word| word.split_once(':')?.0.parse().ok()).collect()
    };
    expected.split(" | ").filter(stays).map(streams).collect()
}
