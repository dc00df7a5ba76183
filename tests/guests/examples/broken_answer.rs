//! Streams "half of it", reads its request to the end, and then does what `?then=` says, in place of the
//! rest: `panic`, `exit`, `grow`, `loop`, `error`, `wait`, or nothing of that.
//!
//! `?length=N` states that length. Without `then` it reads its request to the end, and answers with the
//! number of requests that this instance has seen; a request that cannot be read is an error, or a panic
//! with `?unwrap`; with `?header=NAME` the answer has a header of that name.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use wrt_guest::{
    Body, HeaderName, HeaderValue, IntoResponse as _, Request, Response, Result, query, time,
};

static SEEN: AtomicU64 = AtomicU64::new(0);

#[wrt_guest::http]
async fn handle(request: Request) -> Result<Response> {
    // Ordering: relaxed, because a component has one thread.
    let seen = SEEN.fetch_add(1, Ordering::Relaxed) + 1;
    let (head, mut upload) = request.into_parts();
    let Some(then) = query(&head.uri, "then") else {
        let read = read(&mut upload).await;
        if query(&head.uri, "unwrap").is_some() {
            read.expect("the request can be read");
        } else {
            read?;
        }
        let mut response = seen.to_string().into_response()?;
        if let Some(name) = query(&head.uri, "header") {
            let name = HeaderName::try_from(name)?;
            response.headers_mut().insert(name, HeaderValue::from_static("value"));
        }
        return Ok(response);
    };
    let mut response = Response::new(Body::stream(async move |mut out| {
        out.send("half of it").await;
        read(&mut upload).await?;
        go_on(&then).await?;
        out.send(", and the rest").await;
        Ok(())
    }));
    if let Some(length) = query(&head.uri, "length") {
        response.headers_mut().insert("content-length", HeaderValue::try_from(length)?);
    }
    Ok(response)
}

async fn read(upload: &mut Body) -> Result<()> {
    while upload.chunk().await?.is_some() {}
    Ok(())
}

async fn go_on(then: &str) -> Result<()> {
    match then {
        "panic" => panic!("asked to panic"),
        "exit" => std::process::exit(3),
        "grow" => {
            let mut kept = Vec::new();
            loop {
                kept.push(std::hint::black_box(vec![1_u8; 1 << 20]));
            }
        }
        "loop" => loop {
            std::hint::spin_loop();
        },
        "wait" => loop {
            time::sleep(Duration::from_hours(1)).await;
        },
        "error" => Err("it gave up".into()),
        _ => Ok(()),
    }
}
