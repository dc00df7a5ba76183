//! Finds the end of an HTTP/1.1 response in a buffer, and no more than that, to cost little.

use anyhow::{Context as _, Result, bail};

/// Headers of a response that are looked at; servers here send fewer than ten.
const MAX_HEADERS: usize = 32;

/// A whole response at the start of a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    /// Its status.
    pub(crate) status: u16,
    /// Its length, head and body.
    pub(crate) len: usize,
}

/// The bytes of a GET of `path` over a connection that stays open.
pub(crate) fn get(path: &str, host: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n").into_bytes()
}

/// The bytes of a POST of `body` with these further lines of its head.
pub(crate) fn post(path: &str, host: &str, lines: &str, body: &[u8]) -> Vec<u8> {
    let len = body.len();
    let head =
        format!("POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-length: {len}\r\n{lines}\r\n");
    [head.as_bytes(), body].concat()
}

/// The response at the start of `buffer`; `None` while it is not whole.
pub(crate) fn find_response(buffer: &[u8]) -> Result<Option<Found>> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut head = httparse::Response::new(&mut headers);
    let parsed = head.parse(buffer).context("failed to read a response's head")?;
    let httparse::Status::Complete(head_len) = parsed else { return Ok(None) };
    let status = head.code.context("expected a status")?;
    let value = |name: &str| {
        let header = head.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        header.map(|header| header.value)
    };
    let body_len = if let Some(len) = value("content-length") {
        let len = std::str::from_utf8(len).ok().and_then(|len| len.trim().parse().ok());
        Some(len.context("expected `content-length` to be a number")?)
    } else if value("transfer-encoding").is_some_and(|coding| coding.ends_with(b"chunked")) {
        chunked_len(&buffer[head_len..])?
    } else {
        bail!("expected a response whose head tells its length");
    };
    let len = body_len.map(|body_len: usize| head_len + body_len);
    Ok(len.filter(|len| *len <= buffer.len()).map(|len| Found { status, len }))
}

/// The body of `response`, which is whole.
pub(crate) fn body(response: &[u8]) -> Result<Vec<u8>> {
    let head_len = memchr::memmem::find(response, b"\r\n\r\n").context("expected a head")? + 4;
    let head = String::from_utf8_lossy(&response[..head_len]).to_ascii_lowercase();
    let is_chunked = head.lines().any(|line| line.starts_with("transfer-encoding:"));
    if is_chunked { chunked_body(response) } else { Ok(response[head_len..].to_vec()) }
}

/// The body of `response`, which is whole and chunked.
pub(crate) fn chunked_body(response: &[u8]) -> Result<Vec<u8>> {
    let head_len = memchr::memmem::find(response, b"\r\n\r\n").context("expected a head")? + 4;
    let mut rest = &response[head_len..];
    let mut body = vec![];
    loop {
        let size = httparse::parse_chunk_size(rest).ok().context("expected a chunk's size")?;
        let httparse::Status::Complete((line_len, size)) = size else { bail!("expected a chunk") };
        let size = usize::try_from(size).context("expected a smaller chunk")?;
        if size == 0 {
            return Ok(body);
        }
        let chunk = rest.get(line_len..line_len + size).context("expected a whole chunk")?;
        body.extend_from_slice(chunk);
        rest = rest.get(line_len + size + 2..).context("expected the end of a chunk")?;
    }
}

/// Length of a chunked body without trailers; `None` while it is not whole.
fn chunked_len(body: &[u8]) -> Result<Option<usize>> {
    let mut len = 0;
    loop {
        let Some(rest) = body.get(len..) else { return Ok(None) };
        let size = httparse::parse_chunk_size(rest);
        let size = size.ok().context("expected a chunk's size")?;
        let httparse::Status::Complete((line_len, size)) = size else { return Ok(None) };
        // A chunk ends with CR LF; the last one, without data, does so too.
        len += line_len + usize::try_from(size).context("expected a smaller chunk")? + 2;
        if size == 0 {
            return Ok(Some(len));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Finds `response` once its last byte is there, however much follows, and not before.
    fn check(response: &str, status: u16) {
        let bytes = response.as_bytes();
        for n in 0..bytes.len() {
            assert_eq!(find_response(&bytes[..n]).unwrap(), None, "{n} bytes of {response:?}");
        }
        let expected = Some(Found { status, len: bytes.len() });
        assert_eq!(find_response(bytes).unwrap(), expected);
        assert_eq!(find_response(&[bytes, b"HTTP/1.1 200 OK"].concat()).unwrap(), expected);
    }

    #[test]
    fn response_ends_where_its_length_says() {
        check("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200);
        check("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n", 503);
    }

    #[test]
    fn response_ends_after_its_last_chunk() {
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        check(&format!("{head}5\r\nhello\r\nA\r\n0123456789\r\n0\r\n\r\n"), 200);
        check(&format!("{head}0\r\n\r\n"), 200);
    }

    #[test]
    fn chunks_are_put_together() {
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        let body = |chunks: &str| chunked_body(format!("{head}{chunks}").as_bytes());
        assert_eq!(body("5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n").unwrap(), b"hello!");
        assert_eq!(body("0\r\n\r\n").unwrap(), b"");
        assert!(body("5\r\nhel").is_err());
    }

    #[test]
    fn body_follows_the_head_in_both_forms() {
        let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n";
        assert_eq!(body(chunked).unwrap(), b"hi");
        assert_eq!(body(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").unwrap(), b"hi");
        assert!(body(b"HTTP/1.1 200 OK\r\n").is_err());
    }

    #[test]
    fn request_states_its_length_and_ends_its_head() {
        let request = post("/x", "h", "a: b\r\n", b"body");
        let head = "POST /x HTTP/1.1\r\nhost: h\r\ncontent-length: 4\r\na: b\r\n\r\n";
        assert_eq!(String::from_utf8(request).unwrap(), format!("{head}body"));
    }

    #[test]
    fn response_without_a_length_is_refused() {
        assert!(find_response(b"HTTP/1.1 200 OK\r\nserver: x\r\n\r\nhello").is_err());
    }
}
