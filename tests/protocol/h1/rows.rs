//! The rows of HTTP/1.1, by RFC 9110 and RFC 9112.

use super::Row;
use crate::protocol::Exception;

/// Where hyper does otherwise.
pub(super) const EXCEPTIONS: &[Exception] = &[];

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

fn lengths() -> Vec<Row> {
    let s = "9112 6.3";
    let length = |value: &str| post(&format!("content-length: {value}"), "12345");
    vec![
        row("body of a stated length", s, length("5"), "200"),
        row("empty body", s, post("content-length: 0", ""), "200"),
        row("no body", s, post("x: a", ""), "200"),
        row(
            "body of a GET",
            "9110 9.3.1",
            with("content-length: 5\r\nx: a\r\n\r\n12345"),
            "200 | 400!",
        ),
        row("leading zeros of a length", "9110 8.6", length("0005"), "200"),
        row(
            "the same length twice",
            s,
            post("content-length: 5\r\ncontent-length: 5", "12345"),
            "200 | 400!",
        ),
        row("the same length in a list", s, length("5, 5"), "200 | 400!"),
        row("two lengths", s, post("content-length: 5\r\ncontent-length: 6", "123456"), "400!"),
        row("two lengths in a list", s, length("5, 6"), "400!"),
        row("negative length", s, length("-5"), "400!"),
        row("length with a plus", s, length("+5"), "400!"),
        row("length with a space", s, length("5 5"), "400!"),
        row("length with a dot", s, length("5.0"), "400!"),
        row("length in hexadecimal", s, length("0x5"), "400!"),
        row("length with letters", s, length("5a"), "400!"),
        row("empty length", s, length(""), "400!"),
        row("length of quotes", s, length("\"5\""), "400!"),
        row("length of 2^64", s, length("18446744073709551616"), "400!"),
        row("length of 10^30", s, length("1000000000000000000000000000000"), "400!"),
        row(
            "what follows a body is the next request",
            s,
            post("content-length: 2", [&b"12"[..], &*line("GET / HTTP/1.1")].concat()),
            "200 200",
        ),
        row(
            "what looks like a request is a body",
            s,
            post("content-length: 32", "GET /smuggled HTTP/1.1\r\nhost: a\r"),
            "200",
        ),
        ended("body that ends early", "9112 8", post("content-length: 5", "123"), "! | 400!"),
        row(
            "length and coding",
            "9112 6.3",
            post("content-length: 5\r\ntransfer-encoding: chunked", "5\r\n12345\r\n0\r\n\r\n"),
            "200! | 400!",
        ),
        row(
            "coding and length",
            "9112 6.3",
            post("transfer-encoding: chunked\r\ncontent-length: 5", "5\r\n12345\r\n0\r\n\r\n"),
            "200! | 400!",
        ),
        row(
            "length that hides a request behind a coding",
            "9112 11.2",
            post(
                "content-length: 6\r\ntransfer-encoding: chunked",
                [&b"0\r\n\r\n"[..], &*line("GET /smuggled HTTP/1.1")].concat(),
            ),
            "200! | 400!",
        ),
    ]
}

fn codings() -> Vec<Row> {
    let s = "9112 6.1";
    let body = "5\r\n12345\r\n0\r\n\r\n";
    let coded = |value: &str| post(&format!("transfer-encoding: {value}"), body);
    vec![
        row("chunked", s, coded("chunked"), "200"),
        row("chunked in upper case", s, coded("CHUNKED"), "200"),
        row("coding that is not known, chunked", s, coded("gzip, chunked"), "501*"),
        row("coding that is not known", s, coded("gzip"), "400! | 501!"),
        row("chunked, then another coding", "9112 6.3", coded("chunked, gzip"), "400!"),
        row("identity", s, coded("identity"), "400! | 501!"),
        row("chunked twice", "9112 7", coded("chunked, chunked"), "400* | 501*"),
        row(
            "chunked in two fields",
            "9112 7",
            post("transfer-encoding: chunked\r\ntransfer-encoding: chunked", body),
            "400* | 501*",
        ),
        row(
            "chunked and identity in two fields",
            s,
            post("transfer-encoding: chunked\r\ntransfer-encoding: identity", body),
            "400! | 501!",
        ),
        row(
            "identity and chunked in two fields",
            s,
            post("transfer-encoding: identity\r\ntransfer-encoding: chunked", body),
            "400* | 501*",
        ),
        row("empty coding", s, coded(""), "400!"),
        row("chunked with a parameter", s, coded("chunked;a=b"), "400! | 501!"),
        row("chunked in quotes", s, coded("\"chunked\""), "400! | 501!"),
        row("chunked with a vertical tab", s, coded("\u{b}chunked"), "400! | 501!"),
        row("chunked with a prefix", s, coded("xchunked"), "400! | 501!"),
        row("chunked after a comma", "9110 5.6.1", coded(", chunked"), "200 | 400* | 501*"),
        row(
            "chunked in version 1.0",
            s,
            format!("POST / HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n{body}"),
            "200! | 400!",
        ),
        row(
            "space before the colon of a coding",
            "9112 5.1",
            post("transfer-encoding : chunked", body),
            "400!",
        ),
    ]
}

fn chunks() -> Vec<Row> {
    let s = "9112 7.1";
    let bad = "400! | !";
    vec![
        row("two chunks", s, chunked("2\r\n12\r\n3\r\n345\r\n0\r\n\r\n"), "200"),
        row("no chunk but the last", s, chunked("0\r\n\r\n"), "200"),
        row(
            "sizes in upper and lower case",
            s,
            chunked(format!("a\r\n{0}\r\nA\r\n{0}\r\n0\r\n\r\n", "1234567890")),
            "200",
        ),
        row("leading zeros of a size", s, chunked("0005\r\n12345\r\n000\r\n\r\n"), "200"),
        row(
            "1,000 chunks of a byte",
            s,
            chunked(["1\r\nx\r\n".repeat(1000).as_bytes(), b"0\r\n\r\n"].concat()),
            "200",
        ),
        row("extension", "9112 7.1.1", chunked("5;a=b\r\n12345\r\n0\r\n\r\n"), "200"),
        row(
            "extension in quotes",
            "9112 7.1.1",
            chunked("5;a=\"b c\"\r\n12345\r\n0\r\n\r\n"),
            "200",
        ),
        row(
            "extension without a value",
            "9112 7.1.1",
            chunked("5;a\r\n12345\r\n0;b\r\n\r\n"),
            "200",
        ),
        row(
            "spaces before an extension",
            "9112 7.1.1",
            chunked("5 ;a=b\r\n12345\r\n0\r\n\r\n"),
            "200",
        ),
        row("trailers", "9112 7.1.2", chunked("5\r\n12345\r\n0\r\nx-sum: 1\r\n\r\n"), "200"),
        row(
            "length as a trailer",
            "9110 6.5.1",
            chunked("5\r\n12345\r\n0\r\ncontent-length: 9\r\n\r\n"),
            "200",
        ),
        row("size with a letter", s, chunked("g\r\n12345\r\n0\r\n\r\n"), bad),
        row("size with a prefix", s, chunked("0x5\r\n12345\r\n0\r\n\r\n"), bad),
        row("negative size", s, chunked("-5\r\n12345\r\n0\r\n\r\n"), bad),
        row("size with a plus", s, chunked("+5\r\n12345\r\n0\r\n\r\n"), bad),
        row("space before a size", s, chunked(" 5\r\n12345\r\n0\r\n\r\n"), bad),
        row("empty size", s, chunked("\r\n12345\r\n0\r\n\r\n"), bad),
        row("size of 2^64", s, chunked("10000000000000000\r\n12345\r\n0\r\n\r\n"), bad),
        row("size of 20 digits", s, chunked("fffffffffffffffffff5\r\n12345\r\n0\r\n\r\n"), bad),
        row("line feed alone after a size", s, chunked("5\n12345\r\n0\r\n\r\n"), bad),
        row("carriage return alone after a size", s, chunked("5\r12345\r\n0\r\n\r\n"), bad),
        row("no line end after a chunk", s, chunked("5\r\n123450\r\n\r\n"), bad),
        row("chunk longer than its size", s, chunked("5\r\n123456\r\n0\r\n\r\n"), bad),
        row(
            "carriage return in an extension",
            "9112 7.1.1",
            chunked("5;a\rb\r\n12345\r\n0\r\n\r\n"),
            bad,
        ),
        row(
            "line feed in an extension",
            "9112 7.1.1",
            chunked("5;a\nb\r\n12345\r\n0\r\n\r\n"),
            bad,
        ),
        row(
            "extensions of 64 KiB",
            "9112 7.1.1",
            chunked(format!("5;{}\r\n12345\r\n0\r\n\r\n", "a".repeat(64 << 10))),
            bad,
        ),
        row(
            "trailer without a colon",
            "9112 7.1.2",
            chunked("5\r\n12345\r\n0\r\nx-sum\r\n\r\n"),
            bad,
        ),
        row(
            "trailers of 1 MiB",
            "9112 7.1.2",
            chunked(format!("5\r\n12345\r\n0\r\nx: {}\r\n\r\n", "a".repeat(1 << 20))),
            bad,
        ),
        ended("no last chunk", "9112 8", chunked("5\r\n12345\r\n"), bad),
        ended("half a chunk", "9112 8", chunked("5\r\n123"), bad),
        ended("no line after the last chunk", "9112 8", chunked("5\r\n12345\r\n0\r\n"), bad),
        row(
            "request behind a bad chunk",
            "9112 11.2",
            chunked([&b"zz\r\n"[..], &*line("GET /smuggled HTTP/1.1")].concat()),
            bad,
        ),
    ]
}

fn connections() -> Vec<Row> {
    let s = "9112 9.3";
    let three = line("GET / HTTP/1.1").repeat(3);
    let close = |value: &str| with(format!("connection: {value}"));
    vec![
        row("connection that is closed", "9112 9.6", close("close"), "200!"),
        row("close in upper case", "9112 9.6", close("CLOSE"), "200!"),
        row("close in a list", "9112 9.6", close("keep-alive, close"), "200!"),
        row(
            "close in two fields",
            "9112 9.6",
            with("connection: close\r\nconnection: keep-alive"),
            "200!",
        ),
        row("connection that is kept", s, close("keep-alive"), "200"),
        row("three requests at once", "9112 9.3.2", three, "200 200 200"),
        row(
            "POST and GET at once",
            "9112 9.3.2",
            [post("content-length: 2", "12"), line("GET / HTTP/1.1")].concat(),
            "200 200",
        ),
        row(
            "body that nobody reads before a request",
            "9112 9.3.2",
            [
                b"POST /unread HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n12".as_slice(),
                &line("GET / HTTP/1.1"),
            ]
            .concat(),
            "200 200 | 200!",
        ),
        row(
            "nothing is answered after the last request",
            "9112 9.6",
            [close("close"), line("GET /smuggled HTTP/1.1")].concat(),
            "200!",
        ),
        row(
            "nothing is answered after a bad request",
            "9112 2.2",
            [line("GET / HTTP/1.1 "), line("GET /smuggled HTTP/1.1")].concat(),
            "400!",
        ),
        row(
            "version 1.0 that keeps the connection",
            "9112 9.3",
            "GET / HTTP/1.0\r\nhost: a\r\nconnection: keep-alive\r\n\r\n",
            "200",
        ),
        row(
            "version 1.0 is answered once",
            "9112 9.3",
            b"GET / HTTP/1.0\r\n\r\n".repeat(2),
            "200!",
        ),
        row(
            "fields that the connection header names",
            "9110 7.6.1",
            with("connection: x-own\r\nx-own: a"),
            "200",
        ),
        row(
            "body that waits for 100",
            "9110 10.1.1",
            post("expect: 100-continue\r\ncontent-length: 5", "12345"),
            "100 200 | 200",
        ),
        row(
            "100 in upper case",
            "9110 10.1.1",
            post("expect: 100-CONTINUE\r\ncontent-length: 5", "12345"),
            "100 200 | 200",
        ),
        row(
            "expectation of a body that nobody reads",
            "9110 10.1.1",
            "POST /unread HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n",
            "200!",
        ),
        row("unknown expectation", "9110 10.1.1", with("expect: the-unexpected"), "200* | 417*"),
        row(
            "expectation of version 1.0",
            "9110 10.1.1",
            "POST / HTTP/1.0\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n12345",
            "200!",
        ),
        row(
            "upgrade to HTTP/2",
            "9113 3.1",
            with(
                "connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__",
            ),
            "200",
        ),
        row(
            "upgrade to a web socket",
            "9110 7.8",
            with("connection: upgrade\r\nupgrade: websocket"),
            "200",
        ),
        row(
            "upgrade that the connection header does not name",
            "9110 7.8",
            with("upgrade: websocket"),
            "200",
        ),
        ended("nothing", "9112 9", "", "!"),
        ended("empty lines", "9112 2.2", "\r\n\r\n", "!"),
        ended("request of a client that sends no more", "9112 9.6", line("GET / HTTP/1.1"), "200!"),
    ]
}

fn methods() -> Vec<Row> {
    let s = "9110 9.3.2";
    vec![
        row("HEAD", s, line("HEAD / HTTP/1.1"), "200"),
        row("HEAD of a page that streams", s, line("HEAD /page?bytes=100000 HTTP/1.1"), "200"),
        row("HEAD of a stream without an end", s, line("HEAD /ticks HTTP/1.1"), "200"),
        row(
            "HEAD and GET at once",
            s,
            [line("HEAD / HTTP/1.1"), line("GET / HTTP/1.1")].concat(),
            "200 200",
        ),
        row(
            "HEAD with a body",
            s,
            "HEAD / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n12",
            "200",
        ),
        row(
            "status 204 with content",
            "9110 15.3.5",
            line("GET /page?bytes=5&status=204 HTTP/1.1"),
            "204",
        ),
        row(
            "status 204 with a length",
            "9110 8.6",
            line("GET /page?bytes=5&status=204&length=5 HTTP/1.1"),
            "204",
        ),
        row(
            "status 205 with content",
            "9110 15.3.6",
            line("GET /page?bytes=5&status=205 HTTP/1.1"),
            "205",
        ),
        row(
            "status 304 with content",
            "9110 15.4.5",
            line("GET /page?bytes=5&status=304 HTTP/1.1"),
            "304",
        ),
        row(
            "status 304 with a length",
            "9110 15.4.5",
            line("GET /page?bytes=5&status=304&length=5 HTTP/1.1"),
            "304",
        ),
        row(
            "status 404 with content",
            "9110 15.5.5",
            line("GET /page?bytes=5&status=404 HTTP/1.1"),
            "404",
        ),
        row("status that has no name", "9110 15", line("GET /page?status=299 HTTP/1.1"), "299"),
        row(
            "page of a stated length",
            "9112 6.3",
            line("GET /page?bytes=70000&length=70000 HTTP/1.1"),
            "200",
        ),
        row("page of no stated length", "9112 6.3", line("GET /page?bytes=70000 HTTP/1.1"), "200"),
        row("page to version 1.0", "9112 6.3", line("GET /page?bytes=70000 HTTP/1.0"), "200!"),
        row("OPTIONS of a path", "9110 9.3.7", line("OPTIONS /a HTTP/1.1"), "200"),
        row("TRACE", "9110 9.3.8", line("TRACE / HTTP/1.1"), "200* | 405* | 501*"),
        row(
            "PUT, DELETE and PATCH",
            "9110 9.3",
            [line("PUT / HTTP/1.1"), line("DELETE / HTTP/1.1"), line("PATCH / HTTP/1.1")].concat(),
            "200 200 200",
        ),
    ]
}

fn other_protocols() -> Vec<Row> {
    let s = "9112 3";
    let bad = "400! | !";
    vec![
        row(
            "a TLS client",
            s,
            b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03\r\n\r\n".as_slice(),
            bad,
        ),
        row("an SSH client", s, "SSH-2.0-OpenSSH_9.6\r\n\r\n", bad),
        row(
            "the PROXY protocol",
            s,
            [b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n".as_slice(), &line("GET / HTTP/1.1")].concat(),
            bad,
        ),
        row(
            "the PROXY protocol's second version",
            s,
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\r\n\r\n".as_slice(),
            bad,
        ),
        row("an SMTP client", s, "EHLO a\r\n\r\n", bad),
        row("a Redis client", s, "*1\r\n$4\r\nPING\r\n\r\n", bad),
        row("bytes of all values", s, (0..=255).collect::<Vec<u8>>(), bad),
        row(
            "a method of HTTP/2's preface in version 1.1",
            "9113 3.4",
            line("PRI * HTTP/1.1"),
            "400* | 501*",
        ),
        ended("the beginning of HTTP/2's preface", "9113 3.4", "PRI * HTTP/2.0\r\n", bad),
        row("almost HTTP/2's preface", "9113 3.4", "PRI * HTTP/2.0\r\n\r\nSN\r\n\r\n", bad),
        row("an XML document", s, "<?xml version=\"1.0\"?>\r\n<a/>\r\n\r\n", bad),
    ]
}
