//! Streams the request body back while it is still arriving; the memory it needs stays the same.
//!
//! With `?upper` the letters are changed on the way, chunk by chunk.

use wrt_guest::{Body, Request, Response, query};

#[wrt_guest::http]
async fn handle(request: Request) -> Response {
    let upper = query(request.uri(), "upper").is_some();
    let (mut head, body) = request.into_parts();
    let mut response = Response::new(if upper { uppercase(body) } else { body });
    // What the bytes are has not changed.
    if let Some(media_type) = head.headers.remove("content-type") {
        response.headers_mut().insert("content-type", media_type);
    }
    response
}

fn uppercase(mut body: Body) -> Body {
    Body::stream(async move |mut out| {
        while let Some(chunk) = body.chunk().await? {
            out.send(chunk.to_ascii_uppercase()).await;
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::rc::Rc;
    use wrt_guest::testing::{FakeHost, block_on};

    fn post(uri: &str, body: Body) -> Request {
        Request::post(uri).header("content-type", "text/x-test").body(body).unwrap()
    }

    #[test]
    fn body_comes_back_with_its_type() {
        let answer = FakeHost::new().call(handle, post("/", "some text".into()));
        assert_eq!(answer.text(), "some text");
        assert_eq!(answer.headers["content-type"], "text/x-test");
    }

    #[test]
    fn upper_changes_the_letters() {
        let answer = FakeHost::new().call(handle, post("/?upper", "some text".into()));
        assert_eq!(answer.text(), "SOME TEXT");
    }

    #[test]
    fn nothing_is_read_ahead() {
        for uri in ["/", "/?upper"] {
            let sent = Rc::new(Cell::new(0));
            let counter = sent.clone();
            let endless = Body::stream(async move |mut out| {
                loop {
                    counter.set(counter.get() + 1);
                    out.send("x").await;
                }
            });
            block_on(async {
                let mut body = handle(post(uri, endless)).await.into_body();
                assert_eq!(sent.get(), 0, "{uri}");
                body.chunk().await.unwrap();
                body.chunk().await.unwrap();
                assert_eq!(sent.get(), 2, "{uri}");
            });
        }
    }
}
