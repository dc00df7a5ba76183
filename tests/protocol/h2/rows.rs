//! The rows of HTTP/2, by RFC 9113 and RFC 7541.

mod exceptions;
mod frames;

use super::Row;
use super::codec::{
    ACK, END_HEADERS, END_STREAM, PADDED, PREFACE, PRIORITY, frame, frame_head, kind, literal,
    literals, ping, settings,
};
pub(super) use exceptions::EXCEPTIONS;
use frames::{blocks, compression, frames, prefaces, settings_frames, streams, windows};

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
            "body of 60 KB",
            "9113 6.9",
            [post(1, &[]), data(0, 1, vec![b'x'; 10_000]).repeat(6), data(END_STREAM, 1, "")],
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
