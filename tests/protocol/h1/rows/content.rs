//! Requests with content: lengths, transfer codings and chunks.

use super::*;

pub(super) fn lengths() -> Vec<Row> {
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

pub(super) fn codings() -> Vec<Row> {
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

pub(super) fn chunks() -> Vec<Row> {
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
