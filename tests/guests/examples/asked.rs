//! Answers as it is asked to, and counts its calls in memory: `METHOD PATH BYTES TRAILERS` of the request
//! by default, where `BYTES` are those of its body.
//!
//! - `/count`: how many calls this instance has had;
//! - `/unread`: leaves the request's body alone;
//! - `/page?bytes=N`: a body of N bytes;
//! - `/ticks?ms=M`: a stream of lines, one each M milliseconds, without an end;
//! - `?status=N` and `?length=N`: that status, that `content-length`;
//! - `?trailers=NAMES`: a stream `body` with the trailer `x-sum`, and NAMES in the header `trailer`.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame};
use wrt_guest::{
    Body, HeaderMap, HeaderValue, IntoResponse as _, Request, Response, Result, query, time,
};

/// Bytes of one piece of `/page`.
const PIECE: usize = 64 << 10;

static CALLS: AtomicUsize = AtomicUsize::new(0);

#[wrt_guest::http]
async fn handle(request: Request) -> Result<Response> {
    // Ordering: an instance has one thread.
    let calls = CALLS.fetch_add(1, Ordering::Relaxed) + 1;
    let (head, body) = request.into_parts();
    let number = |name| query(&head.uri, name).map(|text| text.parse::<u64>()).transpose();
    let mut response = match head.uri.path() {
        "/count" => calls.to_string().into_response()?,
        "/unread" => "unread".into_response()?,
        "/page" => page(number("bytes")?.unwrap_or_default()).into_response()?,
        "/ticks" => ticks(Duration::from_millis(number("ms")?.unwrap_or(100))).into_response()?,
        _ => match query(&head.uri, "trailers") {
            Some(names) => with_trailers(&names)?,
            None => {
                let (bytes, trailers) = read(body).await?;
                format!("{} {} {bytes}{trailers}", head.method, head.uri.path()).into_response()?
            }
        },
    };
    if let Some(status) = query(&head.uri, "status") {
        *response.status_mut() = status.parse()?;
    }
    if let Some(length) = query(&head.uri, "length") {
        response.headers_mut().insert("content-length", HeaderValue::try_from(length)?);
    }
    Ok(response)
}

async fn read(mut body: Body) -> Result<(usize, String)> {
    let (mut bytes, mut trailers) = (0, String::new());
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await.transpose()? {
        bytes += frame.data_ref().map_or(0, |data| data.len());
        for (name, value) in frame.trailers_ref().into_iter().flatten() {
            trailers += &format!(" {name}={}", value.to_str()?);
        }
    }
    Ok((bytes, trailers))
}

fn page(bytes: u64) -> Body {
    Body::stream(async move |mut out| {
        let mut left = usize::try_from(bytes)?;
        while left > 0 {
            out.send(vec![b'x'; left.min(PIECE)]).await;
            left -= left.min(PIECE);
        }
        Ok(())
    })
}

fn ticks(pause: Duration) -> Body {
    Body::stream(async move |mut out| {
        for tick in 1_u64.. {
            out.send(format!("data: {tick}\n\n")).await;
            time::sleep(pause).await;
        }
        Ok(())
    })
}

fn with_trailers(names: &str) -> Result<Response> {
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", HeaderValue::from_static("4"));
    let frames = vec![Frame::trailers(trailers), Frame::data(Bytes::from_static(b"body"))];
    let mut response = Body::from_http_body(Frames(frames)).into_response()?;
    if !names.is_empty() {
        response.headers_mut().insert("trailer", HeaderValue::try_from(names)?);
    }
    Ok(response)
}

/// Frames, the last one first.
struct Frames(Vec<Frame<Bytes>>);

impl HttpBody for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop().map(Ok))
    }
}
