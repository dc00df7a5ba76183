//! The rows of HTTP/2, by RFC 9113 and RFC 7541.

use super::Row;
use super::codec::{
    ACK, END_HEADERS, END_STREAM, PADDED, PREFACE, PRIORITY, frame, frame_head, kind, literal,
    literals, ping, settings,
};
use crate::protocol::Exception;

/// Where h2 does otherwise.
pub(super) const EXCEPTIONS: &[Exception] = &[];

/// The largest frame that a server takes which has not said otherwise.
const MAX_FRAME: usize = 16_384;

const ALL: u8 = END_STREAM | END_HEADERS;

pub(super) fn rows() -> Vec<Row> {
    let tables = [
        requests(),
        pseudo_fields(),
        paths(),
        fields(),
        bodies(),
        answers(),
        streams(),
        frames(),
        settings_frames(),
        windows(),
        blocks(),
        compression(),
        prefaces(),
    ];
    tables.into_iter().flatten().collect()
}

fn row(
    name: &'static str,
    section: &'static str,
    frames: impl IntoIterator<Item = Vec<u8>>,
    expected: &'static str,
) -> Row {
    let bytes = frames.into_iter().flatten().collect();
    Row { name, section, bytes, is_raw: false, expected }
}

/// A row that sends the connection's beginning by itself.
fn raw(
    name: &'static str,
    section: &'static str,
    parts: impl IntoIterator<Item = Vec<u8>>,
    expected: &'static str,
) -> Row {
    Row { is_raw: true, ..row(name, section, parts, expected) }
}

fn pseudo<'a>(method: &'a str, path: &'a str) -> [(&'a str, &'a str); 4] {
    [(":method", method), (":scheme", "http"), (":authority", "a"), (":path", path)]
}

/// The head of a request.
fn head(flags: u8, stream: u32, method: &str, path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let block = [literals(&pseudo(method, path)), literals(more)].concat();
    frame(kind::HEADERS, flags, stream, block)
}

/// A whole request.
pub(super) fn get(stream: u32, path: &str) -> Vec<u8> {
    head(ALL, stream, "GET", path, &[])
}

/// A whole request with these fields, and no others.
fn only(fields: &[(&str, &str)]) -> Vec<u8> {
    frame(kind::HEADERS, ALL, 1, literals(fields))
}

/// A whole `GET` with these fields more.
fn with(more: &[(&str, &str)]) -> Vec<u8> {
    head(ALL, 1, "GET", "/", more)
}

/// A whole `GET` with one field more, in bytes.
fn with_bytes(name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Vec<u8> {
    let block = [literals(&pseudo("GET", "/")), literal(name, value)].concat();
    frame(kind::HEADERS, ALL, 1, block)
}

/// The head of a request whose body follows.
fn post(stream: u32, more: &[(&str, &str)]) -> Vec<u8> {
    head(END_HEADERS, stream, "POST", "/", more)
}

fn data(flags: u8, stream: u32, bytes: impl AsRef<[u8]>) -> Vec<u8> {
    frame(kind::DATA, flags, stream, bytes)
}

const MALFORMED: &str = "1:rst PROTOCOL_ERROR | 1:400";

fn requests() -> Vec<Row> {
    let s = "9113 8.1";
    vec![
        row("plain request", s, [get(1, "/")], "1:200"),
        row("two requests", "9113 5", [get(1, "/"), get(3, "/")], "1:200 3:200"),
        row(
            "ten requests",
            "9113 5",
            (0..10).map(|i| get(1 + 2 * i, "/")),
            "1:200 3:200 5:200 7:200 9:200 11:200 13:200 15:200 17:200 19:200",
        ),
        row("streams may be left out", "9113 5.1.1", [get(1, "/"), get(101, "/")], "1:200 101:200"),
        row(
            "method in lower case is another method",
            "9110 9.1",
            [head(ALL, 1, "get", "/", &[])],
            "1:200",
        ),
        row("unknown method", "9110 9.1", [head(ALL, 1, "BREW", "/", &[])], "1:200"),
        row("method with a space", "9110 5.6.2", [head(ALL, 1, "GE T", "/", &[])], MALFORMED),
        row("method with a NUL", "9110 5.6.2", [head(ALL, 1, "GE\0T", "/", &[])], MALFORMED),
        row("empty method", "9113 8.3.1", [head(ALL, 1, "", "/", &[])], MALFORMED),
        row("OPTIONS of a path", "9110 9.3.7", [head(ALL, 1, "OPTIONS", "/", &[])], "1:200"),
        row(
            "asterisk for the whole server",
            "9113 8.3.1",
            [head(ALL, 1, "OPTIONS", "*", &[])],
            "1:200",
        ),
        row(
            "connect",
            "9113 8.5",
            [only(&[(":method", "CONNECT"), (":authority", "a:80")])],
            "1:501",
        ),
        row(
            "connect without an authority",
            "9113 8.5",
            [only(&[(":method", "CONNECT")])],
            MALFORMED,
        ),
        row("connect with a path", "9113 8.5", [only(&pseudo("CONNECT", "/"))], MALFORMED),
        row(
            "connect to a protocol",
            "8441 4",
            [only(&[&pseudo("CONNECT", "/")[..], &[(":protocol", "websocket")]].concat())],
            MALFORMED,
        ),
        row(
            "expectation of 100",
            "9110 10.1.1",
            [post(1, &[("expect", "100-continue")]), data(END_STREAM, 1, "12")],
            "1:200",
        ),
    ]
}

fn pseudo_fields() -> Vec<Row> {
    let s = "9113 8.3.1";
    let all = pseudo("GET", "/");
    let [method, scheme, authority, path] = all;
    let twice = |field| only(&[&all[..], &[field]].concat());
    let another = |name: &'static str, value: &'static str| {
        let fields: Vec<_> =
            all.iter().map(|field| if field.0 == name { (name, value) } else { *field }).collect();
        only(&fields)
    };
    vec![
        row("no method", s, [only(&[scheme, authority, path])], MALFORMED),
        row("no scheme", s, [only(&[method, authority, path])], MALFORMED),
        row("no path", s, [only(&[method, scheme, authority])], MALFORMED),
        row("no authority", s, [only(&[method, scheme, path])], MALFORMED),
        row("no field at all", s, [only(&[])], MALFORMED),
        row(
            "host in place of an authority",
            s,
            [only(&[method, scheme, path, ("host", "a")])],
            "1:200",
        ),
        row("host and authority", s, [with(&[("host", "a")])], "1:200"),
        row("host that is not the authority", s, [with(&[("host", "b")])], MALFORMED),
        row(
            "two hosts",
            "9110 7.2",
            [only(&[method, scheme, path, ("host", "a"), ("host", "b")])],
            MALFORMED,
        ),
        row(
            "pseudo fields in another order",
            "9113 8.3",
            [only(&[path, authority, scheme, method])],
            "1:200",
        ),
        row("two methods", s, [twice(method)], MALFORMED),
        row("two schemes", s, [twice(scheme)], MALFORMED),
        row("two authorities", s, [twice(authority)], MALFORMED),
        row("two paths", s, [twice(path)], MALFORMED),
        row("pseudo field that is not known", "9113 8.3", [twice((":x", "a"))], MALFORMED),
        row("pseudo field of an answer", "9113 8.3", [twice((":status", "200"))], MALFORMED),
        row("pseudo field of another method", "8441 4", [twice((":protocol", "a"))], MALFORMED),
        row(
            "pseudo field in upper case",
            "9113 8.2.1",
            [only(&[method, scheme, authority, (":PATH", "/")])],
            MALFORMED,
        ),
        row("pseudo field without a name", "9113 8.2.1", [twice((":", "a"))], MALFORMED),
        row(
            "pseudo field after another field",
            "9113 8.3",
            [only(&[method, scheme, authority, ("x", "a"), path])],
            MALFORMED,
        ),
        row("scheme https", s, [another(":scheme", "https")], "1:200"),
        row("empty scheme", s, [another(":scheme", "")], MALFORMED),
        row("scheme with a space", "3986 3.1", [another(":scheme", "ht tp")], MALFORMED),
        row("scheme with a colon", "3986 3.1", [another(":scheme", "http://")], MALFORMED),
        row("authority and port", s, [another(":authority", "a.example:8080")], "1:200"),
        row("authority that is an IPv6 address", s, [another(":authority", "[::1]:80")], "1:200"),
        row("authority with a user", s, [another(":authority", "u@a")], MALFORMED),
        row("authority with a path", s, [another(":authority", "a/b")], MALFORMED),
        row("authority with a space", s, [another(":authority", "a b")], MALFORMED),
        row("authority with letters as port", s, [another(":authority", "a:b")], MALFORMED),
        row("authority beyond ASCII", s, [another(":authority", "é")], MALFORMED),
        row("empty authority", s, [another(":authority", "")], MALFORMED),
    ]
}

fn paths() -> Vec<Row> {
    let s = "9113 8.3.1";
    vec![
        row("path and query", s, [get(1, "/a/b?c=d")], "1:200"),
        row("path of two slashes", s, [get(1, "//a")], "1:200"),
        row("empty path", s, [get(1, "")], MALFORMED),
        row("relative path", s, [get(1, "a")], MALFORMED),
        row("query without a path", s, [get(1, "?a")], MALFORMED),
        row("asterisk with another method", s, [get(1, "*")], MALFORMED),
        row("absolute target as path", s, [get(1, "http://a/")], MALFORMED),
        row("fragment", s, [get(1, "/a#b")], MALFORMED),
        row("space in a path", s, [get(1, "/a b")], MALFORMED),
        row("NUL in a path", s, [get(1, "/a\0b")], MALFORMED),
        row("line feed in a path", s, [get(1, "/a\nb")], MALFORMED),
        row("bytes beyond ASCII in a path", s, [get(1, "/é")], MALFORMED),
        row("path of 8 KiB", s, [get(1, &format!("/{}", "a".repeat(8000)))], "1:200"),
    ]
}

fn fields() -> Vec<Row> {
    let (s, own) = ("9113 8.2.1", "9113 8.2.2");
    let many: Vec<_> = (0..80).map(|_| ("x", "a")).collect();
    vec![
        row("empty value", s, [with(&[("x", "")])], "1:200"),
        row("bytes beyond ASCII in a value", s, [with_bytes("x", b"\xff\x80")], "1:200"),
        row("the same name twice", "9110 5.3", [with(&[("x", "a"), ("x", "b")])], "1:200"),
        row(
            "cookies in pieces",
            "9113 8.2.3",
            [with(&[("cookie", "a=b"), ("cookie", "c=d")])],
            "1:200",
        ),
        row("80 fields", "9110 5.4", [with(&many)], "1:200"),
        row("name in upper case", s, [with(&[("X", "a")])], MALFORMED),
        row("name with a space", s, [with(&[("x y", "a")])], MALFORMED),
        row("name with a colon", s, [with(&[("x:y", "a")])], MALFORMED),
        row("name with a NUL", s, [with(&[("x\0y", "a")])], MALFORMED),
        row("name with a line feed", s, [with(&[("x\ny", "a")])], MALFORMED),
        row("name beyond ASCII", s, [with_bytes(b"x\xe9", "a")], MALFORMED),
        row("empty name", s, [with(&[("", "a")])], MALFORMED),
        row("NUL in a value", s, [with(&[("x", "a\0b")])], MALFORMED),
        row("carriage return in a value", s, [with(&[("x", "a\rb")])], MALFORMED),
        row("line feed in a value", s, [with(&[("x", "a\nb")])], MALFORMED),
        row(
            "request in a value",
            s,
            [with(&[("x", "a\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n")])],
            MALFORMED,
        ),
        row("space before a value", s, [with(&[("x", " a")])], MALFORMED),
        row("tab after a value", s, [with(&[("x", "a\t")])], MALFORMED),
        row("connection field", own, [with(&[("connection", "close")])], MALFORMED),
        row("field keep-alive", own, [with(&[("keep-alive", "timeout=5")])], MALFORMED),
        row("field proxy-connection", own, [with(&[("proxy-connection", "close")])], MALFORMED),
        row("field transfer-encoding", own, [with(&[("transfer-encoding", "chunked")])], MALFORMED),
        row("field upgrade", own, [with(&[("upgrade", "websocket")])], MALFORMED),
        row("te of trailers", own, [with(&[("te", "trailers")])], "1:200"),
        row("te of gzip", own, [with(&[("te", "gzip")])], MALFORMED),
        row("te of trailers and gzip", own, [with(&[("te", "trailers, gzip")])], MALFORMED),
        row(
            "fields of 100 KiB",
            "6585 5",
            [head_in_pieces(1, &[("x", &"a".repeat(100 << 10))])],
            "1:431 | 1:rst PROTOCOL_ERROR | 1:rst REFUSED_STREAM",
        ),
        row(
            "2,000 fields",
            "6585 5",
            [head_in_pieces(1, &[("x", "a"); 2000])],
            "1:431 | 1:rst PROTOCOL_ERROR | 1:rst REFUSED_STREAM",
        ),
    ]
}

/// A whole `GET` with these fields more, in as many frames as it needs.
fn head_in_pieces(stream: u32, more: &[(&str, &str)]) -> Vec<u8> {
    let block = [literals(&pseudo("GET", "/")), literals(more)].concat();
    let pieces: Vec<_> = block.chunks(MAX_FRAME).collect();
    let last = pieces.len() - 1;
    let frames = pieces.iter().enumerate().map(|(i, piece)| {
        let end = if i == last { END_HEADERS } else { 0 };
        match i {
            0 => frame(kind::HEADERS, END_STREAM | end, stream, piece),
            _ => frame(kind::CONTINUATION, end, stream, piece),
        }
    });
    frames.flatten().collect()
}

fn bodies() -> Vec<Row> {
    let s = "9113 8.1.1";
    let length = |value| [post(1, &[("content-length", value)]), data(END_STREAM, 1, "12345")];
    let trailers = |flags, fields: &[(&str, &str)]| {
        [post(1, &[]), data(0, 1, "12345"), frame(kind::HEADERS, flags, 1, literals(fields))]
    };
    let padded = |flags, pad: u8, n: usize| {
        frame(kind::DATA, flags | PADDED, 1, [&[pad][..], b"12345", &vec![0; n]].concat())
    };
    vec![
        row(
            "body of no stated length",
            "9113 8.1",
            [post(1, &[]), data(END_STREAM, 1, "12345")],
            "1:200",
        ),
        row(
            "body in two frames",
            "9113 8.1",
            [post(1, &[]), data(0, 1, "12"), data(END_STREAM, 1, "345")],
            "1:200",
        ),
        row("body of a stated length", s, length("5"), "1:200"),
        row("body longer than its length", s, length("4"), MALFORMED),
        row("body shorter than its length", s, length("6"), MALFORMED),
        row(
            "no body although a length is stated",
            s,
            [head(ALL, 1, "POST", "/", &[("content-length", "5")])],
            MALFORMED,
        ),
        row("negative length", "9110 8.6", length("-5"), MALFORMED),
        row("length with a plus", "9110 8.6", length("+5"), MALFORMED),
        row("length with letters", "9110 8.6", length("5a"), MALFORMED),
        row("length of 2^64", "9110 8.6", length("18446744073709551616"), MALFORMED),
        row(
            "two lengths",
            "9110 8.6",
            [
                post(1, &[("content-length", "5"), ("content-length", "6")]),
                data(END_STREAM, 1, "12345"),
            ],
            MALFORMED,
        ),
        row(
            "empty frame at the end of a body",
            "9113 6.1",
            [post(1, &[]), data(0, 1, "12345"), data(END_STREAM, 1, "")],
            "1:200",
        ),
        row(
            "ten empty frames",
            "9113 10.5",
            [post(1, &[]), data(0, 1, "").repeat(10), data(END_STREAM, 1, "12345")],
            "1:200",
        ),
        row(
            "largest frame",
            "9113 4.2",
            [post(1, &[]), data(END_STREAM, 1, vec![b'x'; MAX_FRAME])],
            "1:200",
        ),
        row(
            "body of 200 KB",
            "9113 6.9",
            [post(1, &[]), data(0, 1, vec![b'x'; 10_000]).repeat(20), data(END_STREAM, 1, "")],
            "1:200",
        ),
        row("padded frame", "9113 6.1", [post(1, &[]), padded(END_STREAM, 9, 9)], "1:200"),
        row(
            "padding of all that is left",
            "9113 6.1",
            [post(1, &[]), padded(END_STREAM, 5, 0)],
            "1:200",
        ),
        row(
            "more padding than there is",
            "9113 6.1",
            [post(1, &[]), padded(END_STREAM, 6, 0)],
            "goaway PROTOCOL_ERROR",
        ),
        row(
            "padded frame without its length",
            "9113 6.1",
            [post(1, &[]), data(END_STREAM | PADDED, 1, "")],
            "goaway PROTOCOL_ERROR | goaway FRAME_SIZE_ERROR",
        ),
        row("trailers", "9113 8.1", trailers(ALL, &[("x-sum", "1")]), "1:200"),
        row("empty trailers", "9113 8.1", trailers(ALL, &[]), "1:200"),
        row(
            "trailers that do not end the stream",
            "9113 8.1",
            trailers(END_HEADERS, &[("x-sum", "1")]),
            MALFORMED,
        ),
        row("pseudo field in trailers", "9113 8.1", trailers(ALL, &[(":path", "/")]), MALFORMED),
        row(
            "connection field in trailers",
            "9113 8.2.2",
            trailers(ALL, &[("connection", "close")]),
            MALFORMED,
        ),
        row(
            "name in upper case in trailers",
            "9113 8.2.1",
            trailers(ALL, &[("X", "1")]),
            MALFORMED,
        ),
        row(
            "body that nobody reads",
            "9113 8.1",
            [head(END_HEADERS, 1, "POST", "/unread", &[]), data(END_STREAM, 1, "12345")],
            "1:200",
        ),
    ]
}

fn answers() -> Vec<Row> {
    let s = "9110 9.3.2";
    let head_of = |path| head(ALL, 1, "HEAD", path, &[]);
    vec![
        row("HEAD", s, [head_of("/")], "1:200"),
        row("HEAD of a page that streams", s, [head_of("/page?bytes=100000")], "1:200"),
        row("HEAD of a stream without an end", s, [head_of("/ticks")], "1:200"),
        row(
            "status 204 with content",
            "9110 15.3.5",
            [get(1, "/page?bytes=5&status=204")],
            "1:204",
        ),
        row(
            "status 205 with content",
            "9110 15.3.6",
            [get(1, "/page?bytes=5&status=205")],
            "1:205",
        ),
        row(
            "status 304 with content",
            "9110 15.4.5",
            [get(1, "/page?bytes=5&status=304")],
            "1:304",
        ),
        row(
            "status 304 with a length",
            "9110 15.4.5",
            [get(1, "/page?bytes=5&status=304&length=5")],
            "1:304",
        ),
        row(
            "status 404 with content",
            "9110 15.5.5",
            [get(1, "/page?bytes=5&status=404")],
            "1:404",
        ),
        row("status that has no name", "9110 15", [get(1, "/page?status=299")], "1:299"),
        row(
            "page of a stated length",
            "9113 8.1.1",
            [get(1, "/page?bytes=30000&length=30000")],
            "1:200",
        ),
        row(
            "page larger than the window, then more window",
            "9113 6.9",
            [
                get(1, "/page?bytes=100000"),
                frame(kind::WINDOW_UPDATE, 0, 1, 100_000_u32.to_be_bytes()),
                frame(kind::WINDOW_UPDATE, 0, 0, 100_000_u32.to_be_bytes()),
            ],
            "1:200",
        ),
        row("trailers of an answer", "9113 8.1", [get(1, "/?trailers=x-sum")], "1:200"),
    ]
}

fn streams() -> Vec<Row> {
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

fn frames() -> Vec<Row> {
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

fn settings_frames() -> Vec<Row> {
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

fn windows() -> Vec<Row> {
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
            "1:200, rst FLOW_CONTROL_ERROR | 1:rst FLOW_CONTROL_ERROR | 1:200 unended goaway FLOW_CONTROL_ERROR | goaway FLOW_CONTROL_ERROR",
        ),
    ]
}

fn blocks() -> Vec<Row> {
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

fn compression() -> Vec<Row> {
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

fn prefaces() -> Vec<Row> {
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
