//! Takes what belongs to all, each path in another way, and answers "ok" on every other path.
//!
//! A path without an end goes on until the host ends it. `?n=N` says how often or how many, `?bytes=N`
//! how much each has; `?ms=N` waits so long at the end, with everything still held.

use wrt_guest::{Error, Result, Uri, query, time};

#[wrt_guest::http]
async fn handle(uri: Uri) -> Result<String> {
    let number = |name, default: usize| match query(&uri, name) {
        Some(text) => text.parse().map_err(Error::rejected),
        None => Ok(default),
    };
    let (n, bytes) = (number("n", usize::MAX)?, number("bytes", 0)?);
    let url = query(&uri, "url").unwrap_or_default();
    let taken = match uri.path() {
        "/spin" => spin(),
        "/recurse" => recurse(n).to_string(),
        "/grow" => grow(n),
        "/touch" => touch(bytes),
        "/panic" => panic!("{}", "p".repeat(bytes.max(1))),
        "/error" => return Err("e".repeat(bytes).into()),
        path => host::take(path, n, bytes, &url)?,
    };
    match number("ms", 0)? {
        0 => {}
        ms => time::sleep(std::time::Duration::from_millis(ms as u64)).await,
    }
    Ok(taken)
}

fn spin() -> ! {
    loop {
        std::hint::spin_loop();
    }
}

fn recurse(depth: usize) -> usize {
    if depth == 0 { 0 } else { std::hint::black_box(recurse(depth - 1)) + 1 }
}

/// Takes memory, a megabyte each time.
fn grow(n: usize) -> String {
    let mut kept = Vec::new();
    for _ in 0..n {
        // Not zero, so that every page is really written.
        kept.push(vec![1_u8; 1 << 20]);
        std::hint::black_box(&kept);
    }
    kept.len().to_string()
}

/// Writes to `bytes` of memory, which stay with the instance.
fn touch(bytes: usize) -> String {
    std::hint::black_box(vec![1_u8; bytes].leak()).len().to_string()
}

#[cfg(not(target_arch = "wasm32"))]
mod host {
    pub(crate) fn take(_: &str, _: usize, _: usize, _: &str) -> wrt_guest::Result<String> {
        Ok("ok".to_owned())
    }
}

#[cfg(target_arch = "wasm32")]
mod host {
    //! What a guest takes of its host.

    use std::io::Write as _;

    use wasip2::clocks::monotonic_clock::subscribe_duration;
    use wasip2::http::outgoing_handler;
    use wasip2::http::types::{
        Fields, Method, OutgoingBody, OutgoingRequest, OutgoingResponse, Scheme,
    };
    use wasip2::io::poll;
    use wasip2::random::{insecure, random};
    use wrt_guest::{Result, log};

    /// An hour: longer than any call.
    const LONG: u64 = 3600 * 1_000_000_000;

    pub(crate) fn take(path: &str, n: usize, bytes: usize, url: &str) -> Result<String> {
        match path {
            "/random" => repeat(n, || drop(random::get_random_bytes(bytes as u64))),
            "/insecure" => repeat(n, || drop(insecure::get_insecure_random_bytes(bytes as u64))),
            "/polls" => polls(n, bytes),
            "/pollables" => keep(n, |_| Ok(subscribe_duration(LONG))),
            "/poll-one" => poll_one(n),
            "/stdout" => repeat(n, || drop(std::io::stdout().write_all(&vec![b'\n'; bytes]))),
            "/lines" => lines(n, bytes),
            "/log" => repeat(n, || log::info!("{}", "l".repeat(bytes))),
            "/fields" => keep(n, |_| fields(bytes)),
            "/headers" => headers(n, bytes),
            "/clones" => {
                let original = fields(bytes)?;
                keep(n, |_| Ok(original.clone()))
            }
            "/bodies" => keep(n, |_| body(bytes)),
            "/trailers" => keep(n, |_| trailers(bytes)),
            "/paths" => keep(n, |_| {
                let request = OutgoingRequest::new(Fields::new());
                let text = "p".repeat(bytes);
                let set = request.set_path_with_query(Some(&format!("/{text}")));
                set.and_then(|()| request.set_authority(Some(&text)))
                    .map_err(|()| "it is refused")?;
                Ok(request)
            }),
            "/drops" => drops(n, bytes),
            "/methods" => keep(n, |_| {
                let request = OutgoingRequest::new(Fields::new());
                let method = Method::Other("M".repeat(bytes));
                request.set_method(&method).map_err(|()| "it is refused")?;
                Ok(request)
            }),
            "/outgoing" => outgoing(n, url),
            _ => Ok("ok".to_owned()),
        }
    }

    fn repeat(n: usize, mut take: impl FnMut()) -> Result<String> {
        (0..n).for_each(|_| take());
        Ok(n.to_string())
    }

    /// Keeps `n` of what `make` makes.
    fn keep<T>(n: usize, mut make: impl FnMut(usize) -> Result<T>) -> Result<String> {
        let mut kept = Vec::new();
        for i in 0..n {
            kept.push(make(i)?);
        }
        let text = kept.len().to_string();
        // The instance keeps them over the wait that follows.
        std::mem::forget(kept);
        Ok(text)
    }

    /// Polls `each` pollables that are ready, `n` times.
    fn polls(n: usize, each: usize) -> Result<String> {
        let pollables: Vec<_> = (0..each).map(|_| subscribe_duration(0)).collect();
        let borrowed: Vec<_> = pollables.iter().collect();
        repeat(n, || drop(poll::poll(&borrowed)))
    }

    /// Waits for one pollable that is never ready, named `n` times in one call.
    fn poll_one(n: usize) -> Result<String> {
        let pollable = subscribe_duration(LONG);
        Ok(format!("{:?}", poll::poll(&vec![&pollable; n])))
    }

    /// Writes `n` different lines of about `bytes` bytes.
    fn lines(n: usize, bytes: usize) -> Result<String> {
        let (mut out, text) = (std::io::stdout().lock(), "x".repeat(bytes));
        for i in 0..n {
            writeln!(out, "{i} {text}")?;
        }
        Ok(n.to_string())
    }

    /// Fields of one header of `bytes` bytes.
    fn fields(bytes: usize) -> Result<Fields> {
        Ok(Fields::from_list(&[("x".to_owned(), vec![b'v'; bytes])])?)
    }

    /// Looks at the headers of one request `n` times, and keeps what it sees.
    fn headers(n: usize, bytes: usize) -> Result<String> {
        let request = OutgoingRequest::new(fields(bytes)?);
        keep(n, |_| Ok(request.headers()))
    }

    /// A request with as much of a body written as the host takes, `bytes` at most.
    fn body(bytes: usize) -> Result<OutgoingRequest> {
        let request = OutgoingRequest::new(Fields::new());
        let body = request.body().map_err(|()| "there is no body")?;
        let out = body.write().map_err(|()| "there is no stream")?;
        let mut written = 0;
        while written < bytes {
            let room = usize::try_from(out.check_write()?)?.min(bytes - written);
            if room == 0 {
                break;
            }
            out.write(&vec![b'b'; room])?;
            written += room;
        }
        drop(out);
        OutgoingBody::finish(body, None)?;
        Ok(request)
    }

    /// A request with trailers of `bytes` bytes.
    fn trailers(bytes: usize) -> Result<OutgoingRequest> {
        let request = OutgoingRequest::new(Fields::new());
        let body = request.body().map_err(|()| "there is no body")?;
        drop(body.write());
        OutgoingBody::finish(body, Some(fields(bytes)?))?;
        Ok(request)
    }

    /// Makes and drops one of each, `n` times: what the host keeps for it is given back.
    fn drops(n: usize, bytes: usize) -> Result<String> {
        for _ in 0..n {
            let changed = fields(bytes)?;
            changed.set("y", &[vec![b'v'; bytes], vec![b'w'; bytes]])?;
            changed.append("z", &vec![b'v'; bytes])?;
            changed.delete("x")?;
            drop(changed.clone());
            drop(changed);
            let request = OutgoingRequest::new(fields(bytes)?);
            let text = "p".repeat(bytes);
            let set = request.set_path_with_query(Some(&format!("/{text}")));
            set.and_then(|()| request.set_authority(Some(&text))).map_err(|()| "it is refused")?;
            request.set_path_with_query(None).map_err(|()| "it is refused")?;
            drop(request.headers());
            drop(request);
            drop(trailers(bytes)?);
            drop(body(bytes)?);
            let response = OutgoingResponse::new(fields(bytes)?);
            drop(response.headers());
            drop(response.body());
        }
        Ok(n.to_string())
    }

    /// Sends `n` requests to the origin `url`, and says how many got no answer.
    fn outgoing(n: usize, url: &str) -> Result<String> {
        let mut sent = Vec::new();
        for _ in 0..n {
            let request = OutgoingRequest::new(Fields::new());
            let set = request.set_scheme(Some(&Scheme::Http));
            set.and_then(|()| request.set_authority(Some(url)))
                .and_then(|()| request.set_path_with_query(Some("/")))
                .map_err(|()| "it is refused")?;
            sent.push(outgoing_handler::handle(request, None)?);
        }
        let mut refused = Vec::new();
        for answer in &sent {
            answer.subscribe().block();
            if let Some(Ok(Err(error))) = answer.get() {
                refused.push(error.to_string());
            }
        }
        let first = refused.first().map_or("", String::as_str);
        let text = format!("{} of {n} failed: {first}", refused.len());
        // The answers that came are held over the wait that follows.
        std::mem::forget(sent);
        Ok(text)
    }
}
