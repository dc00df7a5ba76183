//! The rows of HTTP/1.1, by RFC 9110 and RFC 9112.

mod connections;
mod content;

use super::Row;
use crate::protocol::Exception;
use connections::{connections, methods, other_protocols};
use content::{chunks, codings, lengths};

/// Where hyper does otherwise.
pub(super) const EXCEPTIONS: &[Exception] = &[
    ("version 1.2", "400!", "hyper knows 1.0 and 1.1 alone, and cannot read any other version"),
    ("version 2.0", "400!", "hyper knows 1.0 and 1.1 alone, and cannot read any other version"),
    ("version 0.9", "400!", "hyper knows 1.0 and 1.1 alone, and cannot read any other version"),
    ("version 3.0", "400!", "hyper knows 1.0 and 1.1 alone, and cannot read any other version"),
    ("fragment", "200", "the `http` crate leaves a fragment out of a target"),
    ("bytes beyond ASCII in the target", "200", "the `http` crate takes UTF-8 in a target"),
];

pub(super) fn rows() -> Vec<Row> {
    let tables = [
        request_lines(),
        targets(),
        fields(),
        hosts(),
        lengths(),
        codings(),
        chunks(),
        connections(),
        methods(),
        other_protocols(),
    ];
    tables.into_iter().flatten().collect()
}

fn row(
    name: &'static str,
    section: &'static str,
    bytes: impl Into<Vec<u8>>,
    expected: &'static str,
) -> Row {
    Row { name, section, bytes: bytes.into(), expected, ends: false }
}

/// A row whose client says that no more bytes come.
fn ended(
    name: &'static str,
    section: &'static str,
    bytes: impl Into<Vec<u8>>,
    expected: &'static str,
) -> Row {
    Row { ends: true, ..row(name, section, bytes, expected) }
}

/// A request with this line.
fn line(line: &str) -> Vec<u8> {
    format!("{line}\r\nhost: a\r\n\r\n").into_bytes()
}

/// A `GET` with these lines after its host.
fn with(lines: impl AsRef<[u8]>) -> Vec<u8> {
    [&b"GET / HTTP/1.1\r\nhost: a\r\n"[..], lines.as_ref(), b"\r\n\r\n"].concat()
}

/// A `GET` with these lines in place of a host.
fn without_host(lines: impl AsRef<[u8]>) -> Vec<u8> {
    [&b"GET / HTTP/1.1\r\n"[..], lines.as_ref(), b"\r\n\r\n"].concat()
}

/// A `POST` with these lines, and what follows its head.
fn post(lines: &str, rest: impl AsRef<[u8]>) -> Vec<u8> {
    let head = format!("POST / HTTP/1.1\r\nhost: a\r\n{lines}\r\n\r\n");
    [head.as_bytes(), rest.as_ref()].concat()
}

/// A `POST` with a chunked body.
fn chunked(body: impl AsRef<[u8]>) -> Vec<u8> {
    post("transfer-encoding: chunked", body)
}

fn request_lines() -> Vec<Row> {
    let s = "9112 3";
    vec![
        row("plain request", s, line("GET / HTTP/1.1"), "200"),
        row("method in lower case is another method", "9110 9.1", line("get / HTTP/1.1"), "200"),
        row("unknown method", "9110 9.1", line("BREW / HTTP/1.1"), "200"),
        row(
            "method of all token characters",
            "9110 5.6.2",
            line("!#$%&'*+-.^_`|~9 / HTTP/1.1"),
            "200",
        ),
        row("no method", s, line(" / HTTP/1.1"), "400!"),
        row("method with a parenthesis", s, line("GE(T / HTTP/1.1"), "400!"),
        row("method with a colon", s, line("GE:T / HTTP/1.1"), "400!"),
        row("method with a NUL", s, line("GE\0T / HTTP/1.1"), "400!"),
        row("method beyond ASCII", s, line("GÉT / HTTP/1.1"), "400!"),
        row(
            "long method",
            "9110 9.1",
            line(&format!("{} / HTTP/1.1", "M".repeat(500))),
            "200 | 501*",
        ),
        row("two spaces before the target", s, line("GET  / HTTP/1.1"), "400!"),
        row("two spaces before the version", s, line("GET /  HTTP/1.1"), "400!"),
        row("tab before the target", s, line("GET\t/ HTTP/1.1"), "400!"),
        row("tab before the version", s, line("GET /\tHTTP/1.1"), "400!"),
        row("space after the version", s, line("GET / HTTP/1.1 "), "400!"),
        row("space before the method", s, line("  GET / HTTP/1.1"), "400!"),
        row("no version", s, line("GET /"), "400!"),
        row("no version and no target", s, line("GET"), "400!"),
        row("version 1.2", "9110 2.5", line("GET / HTTP/1.2"), "200"),
        row("version 2.0", "9110 15.6.6", line("GET / HTTP/2.0"), "505!"),
        row("version 0.9", "9110 15.6.6", line("GET / HTTP/0.9"), "505!"),
        row("version 3.0", "9110 15.6.6", line("GET / HTTP/3.0"), "505!"),
        row("version without a minor", "9112 2.3", line("GET / HTTP/1"), "400!"),
        row("version of two digits", "9112 2.3", line("GET / HTTP/1.10"), "400!"),
        row("version with a leading zero", "9112 2.3", line("GET / HTTP/01.1"), "400!"),
        row("version in lower case", "9112 2.3", line("GET / http/1.1"), "400!"),
        row("version of another protocol", "9112 2.3", line("GET / HTTPS/1.1"), "400!"),
        row("letters after the version", "9112 2.3", line("GET / HTTP/1.1x"), "400!"),
        row("comma in the version", "9112 2.3", line("GET / HTTP/1,1"), "400!"),
        row("version 1.0 without a host", "9112 3.2", "GET / HTTP/1.0\r\n\r\n", "200!"),
        row("version 1.0 with a host", "9112 3.2", line("GET / HTTP/1.0"), "200!"),
        row("line feeds alone end lines", "9112 2.2", "GET / HTTP/1.1\nhost: a\n\n", "200"),
        row(
            "carriage return alone ends no line",
            "9112 2.2",
            "GET / HTTP/1.1\rhost: a\r\r",
            "400!",
        ),
        row("carriage return in the line", "9112 2.2", line("GET /\r HTTP/1.1"), "400!"),
        row("empty line before the request", "9112 2.2", line("\r\nGET / HTTP/1.1"), "200"),
        row(
            "empty lines before the request",
            "9112 2.2",
            line("\r\n\r\n\r\nGET / HTTP/1.1"),
            "200",
        ),
        row("line feed before the request", "9112 2.2", line("\nGET / HTTP/1.1"), "200"),
        ended("half a request line", "9112 8", "GET / HT", "!"),
        ended("half a head", "9112 8", "GET / HTTP/1.1\r\nhost:", "! | 400!"),
        ended("head without its last line", "9112 8", "GET / HTTP/1.1\r\nhost: a\r\n", "! | 400!"),
    ]
}

fn targets() -> Vec<Row> {
    let s = "9112 3.2";
    let get = |target: &str| line(&format!("GET {target} HTTP/1.1"));
    vec![
        row("path and query", s, get("/a/b?c=d&e"), "200"),
        row("path of two slashes", s, get("//a"), "200"),
        row("path with dots", s, get("/a/../b/./c"), "200"),
        row("percent-encoded slash", s, get("/a%2fb"), "200"),
        row("percent-encoded NUL", s, get("/a%00b"), "200"),
        row("two question marks", s, get("/a?b?c"), "200"),
        row("long target", "9112 3", get(&format!("/{}", "a".repeat(60_000))), "200"),
        row(
            "target that is too long",
            "9110 15.5.15",
            get(&format!("/{}", "a".repeat(70_000))),
            "414!",
        ),
        row(
            "query that is too long",
            "9110 15.5.15",
            get(&format!("/?{}", "a".repeat(70_000))),
            "414!",
        ),
        row("absolute target", "9112 3.2.2", get("http://a/next"), "200"),
        row("absolute target of another host", "9112 3.2.2", get("http://b:81/next"), "200"),
        row("absolute target without a path", "9112 3.2.2", get("http://a"), "200"),
        row("absolute target with a query only", "9112 3.2.2", get("http://a?b"), "200"),
        row("absolute target in upper case", "9112 3.2.2", get("HTTP://A/next"), "200"),
        row("absolute target of an address", "9112 3.2.2", get("http://[::1]:80/"), "200"),
        row("absolute target without a host", "9110 4.2.1", get("http:///a"), "400*"),
        row("absolute target with a user", "9110 4.2.4", get("http://u:p@a/"), "400*"),
        row("asterisk for the whole server", "9112 3.2.4", line("OPTIONS * HTTP/1.1"), "200"),
        row("asterisk without a host", s, "OPTIONS * HTTP/1.1\r\n\r\n", "400*"),
        row(
            "asterisk with two hosts",
            s,
            "OPTIONS * HTTP/1.1\r\nhost: a\r\nhost: a\r\n\r\n",
            "400*",
        ),
        row("asterisk with a bad host", s, "OPTIONS * HTTP/1.1\r\nhost: a b\r\n\r\n", "400*"),
        row("asterisk with an empty host", s, "OPTIONS * HTTP/1.1\r\nhost:\r\n\r\n", "200"),
        row("asterisk of version 1.0 without a host", s, "OPTIONS * HTTP/1.0\r\n\r\n", "200!"),
        row("asterisk with another method", "9112 3.2.4", get("*"), "400*"),
        row("authority with another method", "9112 3.2.3", get("a:80"), "400*"),
        row("host name as target", s, get("a"), "400*"),
        row("relative path", s, get("a/b"), "400*"),
        row("query without a path", s, get("?a"), "400!"),
        row("fragment", s, get("/a#b"), "400*"),
        row("space in the target", s, get("/a b"), "400!"),
        row("control character in the target", s, get("/a\u{1}b"), "400!"),
        row("DEL in the target", s, get("/a\u{7f}b"), "400!"),
        row("NUL in the target", s, get("/a\0b"), "400!"),
        row("bytes beyond ASCII in the target", s, get("/é"), "400!"),
        row("angle brackets in the target", s, get("/<a>"), "400!"),
        row("backslash in the target", s, get("\\a"), "400!"),
        row("connect", "9110 9.3.6", line("CONNECT a:80 HTTP/1.1"), "501*"),
        row("connect without a host", s, "CONNECT a:80 HTTP/1.1\r\n\r\n", "400*"),
        row("connect without a port", "9110 9.3.6", line("CONNECT a HTTP/1.1"), "400* | 501*"),
        row("connect to a path", "9110 9.3.6", line("CONNECT /a HTTP/1.1"), "400* | 501*"),
    ]
}

fn fields() -> Vec<Row> {
    let (s, syntax) = ("9112 5.1", "9110 5.5");
    let many = |n: usize| (0..n).map(|i| format!("x-{i}: a")).collect::<Vec<_>>().join("\r\n");
    vec![
        row("no space after the colon", s, with("x:a"), "200"),
        row("spaces and tabs around a value", s, with("x: \t a \t "), "200"),
        row("empty value", syntax, with("x:"), "200"),
        row("value of spaces", syntax, with("x:   "), "200"),
        row("name in upper case", "9110 5.1", without_host("HOST: a"), "200"),
        row("the same name twice", "9110 5.3", with("x: a\r\nx: b"), "200"),
        row("bytes beyond ASCII in a value", syntax, with(b"x: \xff\xfe\x80"), "200"),
        row("space before the colon", s, with("x : a"), "400!"),
        row("tab before the colon", s, with("x\t: a"), "400!"),
        row("no name", s, with(": a"), "400!"),
        row("no colon", s, with("x"), "400!"),
        row("space in a name", s, with("x y: a"), "400!"),
        row("parenthesis in a name", "9110 5.6.2", with("x(y): a"), "400!"),
        row("slash in a name", "9110 5.6.2", with("x/y: a"), "400!"),
        row("bytes beyond ASCII in a name", "9110 5.6.2", with(b"x\xe9: a"), "400!"),
        row("NUL in a name", "9110 5.6.2", with("x\0y: a"), "400!"),
        row("NUL in a value", syntax, with("x: a\0b"), "400!"),
        row("control character in a value", syntax, with("x: a\u{1}b"), "400!"),
        row("DEL in a value", syntax, with("x: a\u{7f}b"), "400!"),
        row("carriage return in a value", syntax, with("x: a\rb"), "400!"),
        row("folded line", "9112 5.2", with("x: a\r\n b"), "400!"),
        row("line folded by a tab", "9112 5.2", with("x: a\r\n\tb"), "400!"),
        row("folded host", "9112 5.2", without_host("host:\r\n a"), "400!"),
        row("space before the first field", "9112 2.2", without_host(" host: a"), "400!"),
        row("tab before the first field", "9112 2.2", without_host("\thost: a"), "400!"),
        row("99 fields and a host", "9110 5.4", with(many(99)), "200"),
        row("101 fields", "6585 5", with(many(100)), "431!"),
        row("10,000 fields", "6585 5", with(many(10_000)), "431!"),
        row("field of 64 KiB", "9110 5.4", with(format!("x: {}", "a".repeat(64 << 10))), "200"),
        row("field of 1 MiB", "6585 5", with(format!("x: {}", "a".repeat(1 << 20))), "431!"),
        row(
            "name of 64 KiB",
            "6585 5",
            with(format!("{}: a", "a".repeat(64 << 10))),
            "400! | 431!",
        ),
    ]
}

fn hosts() -> Vec<Row> {
    let (s, syntax) = ("9112 3.2", "9110 7.2");
    let host = |host: &str| without_host(format!("host: {host}"));
    vec![
        row("no host", s, without_host("x: a"), "400*"),
        row("two hosts", s, without_host("host: a\r\nhost: b"), "400*"),
        row("the same host twice", s, without_host("host: a\r\nhost: a"), "400*"),
        row("host and port", syntax, host("a.example:8080"), "200"),
        row("host with an empty port", syntax, host("a:"), "200"),
        row("host that is an address", syntax, host("127.0.0.1:80"), "200"),
        row("host that is an IPv6 address", syntax, host("[::1]:80"), "200"),
        row("host with a space", syntax, host("a b"), "400*"),
        row("host with a tab", syntax, host("a\tb"), "400*"),
        row("host with a slash", syntax, host("a/b"), "400*"),
        row("host with a user", syntax, host("u@a"), "400*"),
        row("host with a query", syntax, host("a?b"), "400*"),
        row("host with a fragment", syntax, host("a#b"), "400*"),
        row("host with letters as port", syntax, host("a:b"), "400*"),
        row("host with two ports", syntax, host("a:1:2"), "400*"),
        row("host with a port beyond 65,535", syntax, host("a:99999"), "200 | 400*"),
        row("host with half an IPv6 address", syntax, host("[::1"), "400*"),
        row("host with brackets around a name", syntax, host("[a]"), "400*"),
        row("host with angle brackets", syntax, host("<a>"), "400*"),
        row("host with a scheme", syntax, host("http://a"), "400*"),
        row("hosts in a list", syntax, host("a, b"), "400*"),
        row("host beyond ASCII", syntax, without_host(b"host: \xff\xff"), "400*"),
        row("host in UTF-8", syntax, host("é"), "400*"),
        row("no host although the target is absolute", s, "GET http://a/ HTTP/1.1\r\n\r\n", "400*"),
        row("space before the colon of the host", "9112 5.1", without_host("host : a"), "400!"),
    ]
}
