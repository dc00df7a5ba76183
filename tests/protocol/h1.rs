//! HTTP/1.1: how each row of the table is sent, and what is read of its answers.

mod rows;

use std::net::SocketAddr;

use super::wire::Wire;
use super::{Verdicts, expect_service, server};

/// The request after which a connection is seen to be in order.
const NEXT: &[u8] = b"GET /next HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";

/// What [`NEXT`] is answered with.
const NEXT_BODY: &[u8] = b"GET /next 0";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_request_of_http_1_is_answered_as_the_rfcs_ask_for() {
    let server = server().await;
    let mut verdicts = Verdicts::default();
    for row in rows::rows() {
        let found = outcome(server.address, &row).await;
        verdicts.judge(rows::EXCEPTIONS, (row.name, row.section, row.expected), &found);
        expect_service(server.address, row.name).await;
    }
    verdicts.check(rows::EXCEPTIONS, 150);
}

/// One request, or several.
struct Row {
    name: &'static str,
    section: &'static str,
    bytes: Vec<u8>,
    /// Statuses in their order. `!` at the end: the connection is closed then. Otherwise it is open for
    /// another request. `eof` at the beginning: the client says that no more bytes come.
    expected: &'static str,
    /// Whether the client says that no more bytes come.
    ends: bool,
}

/// What came back, as [`Row::expected`] has it.
async fn outcome(address: SocketAddr, row: &Row) -> String {
    let mut wire = Wire::connect(address).await;
    wire.send(&row.bytes).await;
    if row.ends {
        wire.end().await;
    }
    // Sent as soon as the answers are there that the row expects at least. A connection that is closed does
    // not answer it.
    let mut is_next_sent = false;
    let mut statuses = Vec::new();
    let n_expected = row.expected.split(" | ").map(|it| it.split(' ').count()).min().unwrap_or(0);
    let mut is_head = row.bytes.starts_with(b"HEAD ");
    loop {
        while let Some((status, body)) = answer(&mut wire, is_head) {
            is_head = false;
            if is_next_sent && body == NEXT_BODY {
                return statuses.join(" ");
            }
            statuses.push(status.to_string());
        }
        if wire.is_closed() {
            let rest = wire.bytes();
            let rest = if rest.is_empty() { String::new() } else { format!(" +{}", rest.len()) };
            return format!("{}!{rest}", statuses.join(" "));
        }
        if !is_next_sent && !row.ends && statuses.len() >= n_expected {
            is_next_sent = true;
            wire.send(NEXT).await;
        } else if !wire.more().await {
            return format!("{} and nothing more", statuses.join(" "));
        }
    }
}

/// Takes the next whole answer off `wire`: its status and body.
fn answer(wire: &mut Wire, is_head: bool) -> Option<(u16, Vec<u8>)> {
    let bytes = wire.bytes();
    let head_end = bytes.windows(4).position(|it| it == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&bytes[..head_end]).expect("a head is ASCII");
    let mut lines = head.split("\r\n");
    let status_line = lines.next().unwrap();
    assert!(status_line.starts_with("HTTP/1."), "`{status_line}` is no status line");
    let status: u16 = status_line[9..12].parse().expect("a status has three digits");
    let header = |wanted: &str| {
        let mut values = head.split("\r\n").skip(1).filter_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case(wanted).then(|| value.trim().to_owned())
        });
        let value = values.next();
        assert!(values.next().is_none(), "two headers `{wanted}`: {head}");
        value
    };
    let has_none = is_head || matches!(status, 100..=199 | 204 | 304);
    let (length, coding) = (header("content-length"), header("transfer-encoding"));
    let (body, end) = if has_none {
        // RFC 9112, section 6.1 and 6.2.
        assert!(is_head || status == 304 || length.is_none() && coding.is_none(), "{head}");
        (Vec::new(), head_end)
    } else if let Some(length) = length {
        assert!(coding.is_none(), "both a length and a coding: {head}");
        let end = head_end + length.parse::<usize>().expect("a length is a number");
        (bytes.get(head_end..end)?.to_vec(), end)
    } else if coding.is_some() {
        chunked(bytes, head_end)?
    } else if wire.is_closed() {
        (bytes[head_end..].to_vec(), bytes.len())
    } else {
        return None;
    };
    wire.drop_first(end);
    Some((status, body))
}

/// A chunked body that begins at `start`, and where it ends.
fn chunked(bytes: &[u8], start: usize) -> Option<(Vec<u8>, usize)> {
    let line_end = |from: usize| {
        let found = bytes.get(from..)?.windows(2).position(|it| it == b"\r\n")?;
        Some(from + found)
    };
    let (mut body, mut at) = (Vec::new(), start);
    loop {
        let end = line_end(at)?;
        let size = std::str::from_utf8(&bytes[at..end]).expect("a size is ASCII");
        let size = usize::from_str_radix(size, 16).expect("a size is a hexadecimal number");
        at = end + 2;
        if size == 0 {
            // Trailers, then an empty line.
            loop {
                let end = line_end(at)?;
                let is_last = end == at;
                at = end + 2;
                if is_last {
                    return Some((body, at));
                }
            }
        }
        body.extend_from_slice(bytes.get(at..at + size)?);
        at += size + 2;
        bytes.get(..at)?;
    }
}
