//! Frames, streams, settings, windows, header blocks and prefaces.

use super::*;

pub(super) fn streams() -> Vec<Row> {
    let (s, ids) = ("9113 5.1", "9113 5.1.1");
    let protocol = "goaway PROTOCOL_ERROR";
    // Answered without an end, so that the server's half of the stream stays open.
    let open = || get(1, "/ticks?ms=600000");
    let half_closed = "1:200, rst STREAM_CLOSED | 1:rst STREAM_CLOSED | 1:200 unended goaway STREAM_CLOSED | goaway STREAM_CLOSED";
    let cancel = |stream| frame(kind::RST_STREAM, 0, stream, 8_u32.to_be_bytes());
    vec![
        row("request on stream 0", ids, [get(0, "/")], protocol),
        row("request on an even stream", ids, [get(2, "/")], protocol),
        row("request on an earlier stream", ids, [post(5, &[]), get(3, "/")], protocol),
        row("reserved bit of a stream", "9113 4.1", [get(0x8000_0001, "/")], "1:200"),
        row("data on stream 0", "9113 6.1", [data(0, 0, "x")], protocol),
        row("data on an idle stream", s, [data(0, 1, "x")], protocol),
        row("reset of an idle stream", s, [cancel(1)], protocol),
        row(
            "window of an idle stream",
            s,
            [frame(kind::WINDOW_UPDATE, 0, 1, 1_u32.to_be_bytes())],
            protocol,
        ),
        row(
            "continuation of nothing",
            "9113 6.10",
            [frame(kind::CONTINUATION, END_HEADERS, 1, "")],
            protocol,
        ),
        row(
            "priority of an idle stream",
            "9113 5.3.2",
            [frame(kind::PRIORITY, 0, 3, [0, 0, 0, 0, 9]), get(1, "/")],
            "1:200",
        ),
        row("data after the end", s, [open(), data(0, 1, "x")], half_closed),
        row(
            "trailers after the end",
            s,
            [open(), frame(kind::HEADERS, ALL, 1, literals(&[("x-sum", "1")]))],
            half_closed,
        ),
        row(
            "request that is cancelled",
            "9113 8.1",
            [post(1, &[]), cancel(1), get(3, "/")],
            "3:200",
        ),
        row(
            "data after a cancellation",
            s,
            [post(1, &[]), cancel(1), data(END_STREAM, 1, "x"), get(3, "/")],
            "3:200 | 1:rst STREAM_CLOSED 3:200 | goaway STREAM_CLOSED",
        ),
        row(
            "window after a cancellation",
            s,
            [
                post(1, &[]),
                cancel(1),
                frame(kind::WINDOW_UPDATE, 0, 1, 1_u32.to_be_bytes()),
                get(3, "/"),
            ],
            "3:200",
        ),
        row("a second cancellation", s, [post(1, &[]), cancel(1), cancel(1), get(3, "/")], "3:200"),
        row(
            "cancellation with a code that is not known",
            "9113 7",
            [post(1, &[]), frame(kind::RST_STREAM, 0, 1, 0xffff_u32.to_be_bytes()), get(3, "/")],
            "3:200",
        ),
        row(
            "promise of a client",
            "9113 6.6",
            [
                get(1, "/ticks?ms=600000"),
                frame(
                    kind::PUSH_PROMISE,
                    END_HEADERS,
                    1,
                    [&[0, 0, 0, 2][..], &literals(&pseudo("GET", "/"))].concat(),
                ),
            ],
            "1:200 unended goaway PROTOCOL_ERROR | goaway PROTOCOL_ERROR",
        ),
    ]
}

pub(super) fn frames() -> Vec<Row> {
    let (size, unknown) = ("9113 4.2", "9113 4.1");
    let wrong_size = "goaway FRAME_SIZE_ERROR";
    let protocol = "goaway PROTOCOL_ERROR";
    vec![
        row("frame that is not known", unknown, [frame(0xfa, 0, 0, "abc"), get(1, "/")], "1:200"),
        row(
            "frame that is not known, on a stream",
            unknown,
            [post(1, &[]), frame(0xfa, 0xff, 1, "abc"), data(END_STREAM, 1, "x")],
            "1:200",
        ),
        row(
            "frame that is not known, too large",
            size,
            [frame(0xfa, 0, 0, vec![0; MAX_FRAME + 1])],
            wrong_size,
        ),
        row("flags that are not known", unknown, [head(ALL | 0x52, 1, "GET", "/", &[])], "1:200"),
        row("frame ALTSVC of a client", "7838 4", [frame(0xa, 0, 0, "abc"), get(1, "/")], "1:200"),
        row(
            "frame PRIORITY_UPDATE",
            "9218 7.1",
            [frame(0x10, 0, 0, [0, 0, 0, 1, b'u', b'=', b'1']), get(1, "/")],
            "1:200",
        ),
        row(
            "data that is too large",
            size,
            [post(1, &[]), data(END_STREAM, 1, vec![0; MAX_FRAME + 1])],
            "1:rst FRAME_SIZE_ERROR | goaway FRAME_SIZE_ERROR",
        ),
        row(
            "head that is too large",
            size,
            [head(ALL, 1, "GET", "/", &[("x", &"a".repeat(MAX_FRAME))])],
            wrong_size,
        ),
        row("length of 16 MiB", size, [frame_head(0x00ff_ffff, kind::DATA, 0, 1)], wrong_size),
        row("ping", "9113 6.7", [ping(0, b"12345678"), get(1, "/")], "1:200"),
        row(
            "answer to a ping that was not sent",
            "9113 6.7",
            [ping(ACK, b"12345678"), get(1, "/")],
            "1:200",
        ),
        row("short ping", "9113 6.7", [ping(0, b"1234567")], wrong_size),
        row("long ping", "9113 6.7", [ping(0, b"123456789")], wrong_size),
        row("ping on a stream", "9113 6.7", [frame(kind::PING, 0, 1, "12345678")], protocol),
        row(
            "priority",
            "9113 6.3",
            [frame(kind::PRIORITY, 0, 1, [0, 0, 0, 0, 9]), get(1, "/")],
            "1:200",
        ),
        row(
            "priority on stream 0",
            "9113 6.3",
            [frame(kind::PRIORITY, 0, 0, [0, 0, 0, 3, 9])],
            protocol,
        ),
        row(
            "short priority",
            "9113 6.3",
            [post(1, &[]), frame(kind::PRIORITY, 0, 1, [0, 0, 0, 3])],
            "1:rst FRAME_SIZE_ERROR | goaway FRAME_SIZE_ERROR",
        ),
        row(
            "short reset",
            "9113 6.4",
            [post(1, &[]), frame(kind::RST_STREAM, 0, 1, [0, 0, 8])],
            wrong_size,
        ),
        row(
            "reset of stream 0",
            "9113 6.4",
            [frame(kind::RST_STREAM, 0, 0, 8_u32.to_be_bytes())],
            protocol,
        ),
        row("goaway on a stream", "9113 6.8", [frame(kind::GOAWAY, 0, 1, [0; 8])], protocol),
        row("short goaway", "9113 6.8", [frame(kind::GOAWAY, 0, 0, [0; 7])], wrong_size),
    ]
}

pub(super) fn settings_frames() -> Vec<Row> {
    let s = "9113 6.5";
    let wrong_size = "goaway FRAME_SIZE_ERROR";
    let protocol = "goaway PROTOCOL_ERROR";
    let value = |name, value| [settings(0, &[(name, value)]), get(1, "/")];
    vec![
        row("empty settings", s, [settings(0, &[]), get(1, "/")], "1:200"),
        row("setting that is not known", "9113 6.5.2", value(0xabcd, 7), "1:200"),
        row("setting of grease", "8701 3", value(0x0a0a, 0xffff_ffff), "1:200"),
        row(
            "the same setting twice",
            s,
            [settings(0, &[(4, 1), (4, 100_000)]), get(1, "/")],
            "1:200",
        ),
        row("20 frames of settings", s, [settings(0, &[]).repeat(20), get(1, "/")], "1:200"),
        row("settings that are cut", s, [frame(kind::SETTINGS, 0, 0, [0; 5])], wrong_size),
        row("settings on a stream", s, [frame(kind::SETTINGS, 0, 1, "")], protocol),
        row(
            "answer to settings with content",
            s,
            [frame(kind::SETTINGS, ACK, 0, [0; 6])],
            wrong_size,
        ),
        row("push on", "9113 6.5.2", value(2, 1), "1:200"),
        row("push of 2", "9113 6.5.2", value(2, 2), protocol),
        row("window of 2^31", "9113 6.5.2", value(4, 1 << 31), "goaway FLOW_CONTROL_ERROR"),
        row("window of 2^31 - 1", "9113 6.5.2", value(4, (1 << 31) - 1), "1:200"),
        row("frames of 16,383 bytes at most", "9113 6.5.2", value(5, 16_383), protocol),
        row("frames of 2^24 bytes at most", "9113 6.5.2", value(5, 1 << 24), protocol),
        row("frames of 2^24 - 1 bytes at most", "9113 6.5.2", value(5, (1 << 24) - 1), "1:200"),
        row("fields of no size", "9113 6.5.2", value(6, 0), "1:200"),
        row("connect protocol of 2", "8441 3", value(8, 2), "1:200 | goaway PROTOCOL_ERROR"),
    ]
}

pub(super) fn windows() -> Vec<Row> {
    let s = "9113 6.9";
    let window = |stream, n: u32| frame(kind::WINDOW_UPDATE, 0, stream, n.to_be_bytes());
    let most = (1 << 31) - 1;
    vec![
        row(
            "more window",
            s,
            [window(0, 1000), post(1, &[]), window(1, 1000), data(END_STREAM, 1, "x")],
            "1:200",
        ),
        row("no more window of the connection", s, [window(0, 0)], "goaway PROTOCOL_ERROR"),
        row(
            "no more window of a stream",
            s,
            [post(1, &[]), window(1, 0), get(3, "/")],
            "1:rst PROTOCOL_ERROR 3:200 | goaway PROTOCOL_ERROR",
        ),
        row(
            "too much window of the connection",
            "9113 6.9.1",
            [window(0, most)],
            "goaway FLOW_CONTROL_ERROR",
        ),
        row(
            "too much window of a stream",
            "9113 6.9.1",
            [post(1, &[]), window(1, most), get(3, "/")],
            "1:rst FLOW_CONTROL_ERROR 3:200 | goaway FLOW_CONTROL_ERROR",
        ),
        row(
            "too much window by settings",
            "9113 6.9.2",
            [post(1, &[]), window(1, most - 65_535), settings(0, &[(4, 65_536)])],
            "goaway FLOW_CONTROL_ERROR",
        ),
        row(
            "short window",
            s,
            [frame(kind::WINDOW_UPDATE, 0, 0, [0, 0, 1])],
            "goaway FRAME_SIZE_ERROR",
        ),
        row("reserved bit of a window", s, [window(0, 0x8000_0001), get(1, "/")], "1:200"),
        row(
            "more data than the window has",
            "9113 6.9.1",
            [
                head(END_HEADERS, 1, "POST", "/ticks?ms=600000", &[]),
                data(0, 1, vec![0; MAX_FRAME]).repeat(200),
            ],
            "1:200, rst FLOW_CONTROL_ERROR | 1:rst FLOW_CONTROL_ERROR | 1:200 unended goaway FLOW_CONTROL_ERROR | goaway FLOW_CONTROL_ERROR | 1:rst FLOW_CONTROL_ERROR goaway FLOW_CONTROL_ERROR",
        ),
    ]
}

pub(super) fn blocks() -> Vec<Row> {
    let s = "9113 6.10";
    let protocol = "goaway PROTOCOL_ERROR";
    let block = literals(&pseudo("GET", "/"));
    let (first, rest) = block.split_at(10);
    let begun = || frame(kind::HEADERS, END_STREAM, 1, first);
    let goes_on = |flags, stream| frame(kind::CONTINUATION, flags, stream, rest);
    let pieces = block.iter().enumerate().map(|(i, byte)| {
        let end = if i + 1 == block.len() { END_HEADERS } else { 0 };
        match i {
            0 => frame(kind::HEADERS, END_STREAM | end, 1, [*byte]),
            _ => frame(kind::CONTINUATION, end, 1, [*byte]),
        }
    });
    let padded = |pad: u8, n: usize| {
        let payload = [&[pad][..], &block, &vec![0; n]].concat();
        frame(kind::HEADERS, ALL | PADDED, 1, payload)
    };
    let weighted = |on: u32| {
        let payload = [&on.to_be_bytes()[..], &[15], &block].concat();
        frame(kind::HEADERS, ALL | PRIORITY, 1, payload)
    };
    vec![
        row("head in two frames", s, [begun(), goes_on(END_HEADERS, 1)], "1:200"),
        row("head in frames of a byte", s, pieces, "1:200 | goaway ENHANCE_YOUR_CALM"),
        row(
            "empty continuation",
            s,
            [begun(), frame(kind::CONTINUATION, 0, 1, ""), goes_on(END_HEADERS, 1)],
            "1:200",
        ),
        row("continuation of another stream", s, [begun(), goes_on(END_HEADERS, 3)], protocol),
        row("data before the continuation", s, [begun(), data(0, 1, "x")], protocol),
        row("another head before the continuation", s, [begun(), get(3, "/")], protocol),
        row("ping before the continuation", s, [begun(), ping(0, b"12345678")], protocol),
        row("unknown frame before the continuation", s, [begun(), frame(0xfa, 0, 0, "")], protocol),
        row("continuation of a whole head", s, [post(1, &[]), goes_on(END_HEADERS, 1)], protocol),
        row("padded head", "9113 6.2", [padded(9, 9)], "1:200"),
        row("more padding of a head than there is", "9113 6.2", [padded(255, 0)], protocol),
        row("head with a priority", "9113 6.2", [weighted(0)], "1:200"),
        row("head with an exclusive priority", "9113 6.2", [weighted(0x8000_0000)], "1:200"),
        row(
            "head that depends on itself",
            "9113 5.3.2",
            [weighted(1)],
            "1:200 | 1:rst PROTOCOL_ERROR",
        ),
    ]
}

pub(super) fn compression() -> Vec<Row> {
    let s = "7541 6";
    let broken = "goaway COMPRESSION_ERROR";
    let block = |bytes: &[u8]| frame(kind::HEADERS, ALL, 1, bytes);
    // GET, http and / of the static table, and an authority.
    let indexed = [&[0x82, 0x86, 0x84][..], &literal(":authority", "a")].concat();
    let after = |more: &[u8]| block(&[&indexed[..], more].concat());
    let before = |first: &[u8]| block(&[first, &indexed[..]].concat());
    // `x: a` that is put into the dynamic table, and that entry.
    let remembered = [&[0x82, 0x86, 0x84, 0x41, 1, b'a'][..], &[0x40, 1, b'x', 1, b'a']].concat();
    let recalled = [0x82, 0x86, 0x84, 0xbf, 0xbe];
    vec![
        row("fields of the static table", "7541 6.1", [block(&indexed)], "1:200"),
        row(
            "fields of the dynamic table",
            "7541 6.1",
            [block(&remembered), frame(kind::HEADERS, ALL, 3, recalled)],
            "1:200 3:200",
        ),
        row(
            "field that is never indexed",
            "7541 6.2.3",
            [after(&[0x10, 1, b'x', 1, b'a'])],
            "1:200",
        ),
        row(
            "Huffman coding",
            "7541 5.2",
            [block(&[
                0x82, 0x86, 0x84, 0x41, 0x8c, 0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab,
                0x90, 0xf4, 0xff,
            ])],
            "1:200",
        ),
        row("index 0", "7541 6.1", [after(&[0x80])], broken),
        row("index beyond the tables", "7541 6.1", [after(&[0xff, 0x7f])], broken),
        row(
            "index of a name beyond the tables",
            "7541 6.2",
            [after(&[0x7f, 0x7f, 1, b'a'])],
            broken,
        ),
        row(
            "number without an end",
            "7541 5.1",
            [after(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff])],
            broken,
        ),
        row("number that is cut", "7541 5.1", [after(&[0xff])], broken),
        row("text that is cut", "7541 5.2", [after(&[0, 1, b'x', 9, b'a'])], broken),
        row("name that is cut", "7541 5.2", [after(&[0, 9, b'x'])], broken),
        row(
            "Huffman coding that ends with zeros",
            "7541 5.2",
            [after(&[0, 1, b'x', 0x81, 0x00])],
            broken,
        ),
        row(
            "Huffman coding with the end of a text",
            "7541 5.2",
            [after(&[0, 1, b'x', 0x84, 0xff, 0xff, 0xff, 0xff])],
            broken,
        ),
        row(
            "padding of Huffman coding that is too long",
            "7541 5.2",
            [after(&[0, 1, b'x', 0x82, 0x1f, 0xff])],
            broken,
        ),
        row(
            "size of the table within its limit",
            "7541 6.3",
            [before(&[0x3f, 0xe1, 0x1f])],
            "1:200",
        ),
        row(
            "size of the table beyond its limit",
            "7541 6.3",
            [before(&[0x3f, 0xe2, 0x1f])],
            broken,
        ),
        row("size of the table after a field", "7541 4.2", [after(&[0x20])], broken),
        row(
            "bad block of a stream that is refused",
            s,
            [frame(kind::HEADERS, ALL, 1, [0x80])],
            broken,
        ),
    ]
}

pub(super) fn prefaces() -> Vec<Row> {
    let s = "9113 3.4";
    let begun = || PREFACE.to_vec();
    vec![
        raw("preface and settings", s, [begun(), settings(0, &[(1, 0)]), get(1, "/")], "1:200"),
        raw("request in place of settings", s, [begun(), get(1, "/")], "goaway PROTOCOL_ERROR"),
        raw(
            "ping in place of settings",
            s,
            [begun(), ping(0, b"12345678")],
            "goaway PROTOCOL_ERROR",
        ),
        raw(
            "answer in place of settings",
            s,
            [begun(), settings(ACK, &[])],
            "goaway PROTOCOL_ERROR",
        ),
        raw(
            "frame that is not known in place of settings",
            s,
            [begun(), frame(0xfa, 0, 0, "")],
            "goaway PROTOCOL_ERROR",
        ),
        raw(
            "HTTP/1.1 after the preface",
            s,
            [begun(), b"GET / HTTP/1.1\r\nhost: a\r\n\r\n".to_vec()],
            "goaway PROTOCOL_ERROR | goaway FRAME_SIZE_ERROR",
        ),
        raw(
            "two prefaces",
            s,
            [begun(), begun(), settings(0, &[(1, 0)])],
            "goaway PROTOCOL_ERROR | goaway FRAME_SIZE_ERROR",
        ),
    ]
}
