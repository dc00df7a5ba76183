//! Connections over several requests, methods, and other protocols.

use super::*;

pub(super) fn connections() -> Vec<Row> {
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
        // hyper takes the end of the client's side for its leaving, which ends a call that nobody waits for:
        // whether the answer comes first is a race.
        ended(
            "request of a client that sends no more",
            "9112 9.6",
            line("GET / HTTP/1.1"),
            "200! | !",
        ),
    ]
}

pub(super) fn methods() -> Vec<Row> {
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

pub(super) fn other_protocols() -> Vec<Row> {
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
