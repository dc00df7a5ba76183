//! What is taken of a body, when, and at whose cost.

use std::io;
use std::pin::pin;

use futures::FutureExt as _;
use futures::channel::mpsc::{UnboundedSender, unbounded};
use futures::future::{poll_immediate, ready};
use http_body_util::{BodyExt as _, StreamBody};

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn config(instances: InstanceMode) -> Settings {
    Settings { instances, ..Settings::default() }
}

fn headers(name: &'static str, value: &'static str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(name, value.parse().unwrap());
    headers
}

/// A body that the test feeds, of a length that is told or not. As with hyper's bodies, the length is
/// that of what is still to come.
struct Fed<B> {
    body: B,
    length: Option<u64>,
}

impl<B: Body<Data = Bytes> + Unpin> Body for Fed<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &frame {
            let came = frame.data_ref().map_or(0, |data| data.len() as u64);
            self.length = self.length.map(|length| length.saturating_sub(came));
        }
        frame
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::new, SizeHint::with_exact)
    }
}

type Sent = io::Result<Frame<Bytes>>;

fn fed(length: Option<u64>) -> (UnboundedSender<Sent>, impl Body<Data = Bytes, Error = io::Error>) {
    let (feed, frames) = unbounded::<Sent>();
    (feed, Fed { body: StreamBody::new(frames), length })
}

fn data(bytes: impl Into<Bytes>) -> Sent {
    Ok(Frame::data(bytes.into()))
}

fn budget(bytes: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(bytes))
}

/// `request` with what is taken of its body before its call begins, which finds a place at any time.
async fn taken_ahead<B: Body<Data = Bytes>>(
    config: &Settings,
    budget: &Arc<Semaphore>,
    mut request: Request<Upload<B>>,
) -> Result<Request<Upload<B>>, Refusal<'static>> {
    if let Some(taking) =
        super::taken_ahead(|| Arc::new(config.clone()), budget, || ready(()), &mut request)
    {
        taking.await?;
    }
    Ok(request)
}

fn request<B: Body<Data = Bytes>>(body: B) -> Request<Upload<B>> {
    Request::new(Upload::new(body))
}

/// All data of what is ahead.
fn ahead<B>(request: &Request<Upload<B>>) -> Vec<u8> {
    let data = request.body().ahead.iter().filter_map(Frame::data_ref);
    data.flatten().copied().collect()
}

#[test]
fn who_waits_outside_depends_on_length_kind_and_instances() {
    let none = HeaderMap::new();
    let whole = |bytes| Plan { bytes, patience: 30 * SECOND, less_after: None };
    let open = |pause| Plan { bytes: LARGE, patience: 30 * SECOND, less_after: Some(pause) };
    let at_once = open(Duration::ZERO);
    let (fresh, single) = (config(InstanceMode::Fresh), config(InstanceMode::Singleton));
    assert_eq!(Plan::of(&fresh, &none, Some(SMALL)), whole(SMALL));
    assert_eq!(Plan::of(&fresh, &none, Some(SMALL + 1)), at_once);
    assert_eq!(Plan::of(&fresh, &none, None), at_once);
    assert_eq!(Plan::of(&fresh, &headers("expect", "100-continue"), Some(7)), at_once);
    assert_eq!(Plan::of(&single, &none, Some(LARGE)), whole(LARGE));
    assert_eq!(Plan::of(&single, &none, Some(LARGE + 1)), open(OPEN_PATIENCE));
    assert_eq!(Plan::of(&single, &none, None), open(OPEN_PATIENCE));
    for event in
        [headers("ce-specversion", "1.0"), headers("content-type", "Application/CloudEvents+json")]
    {
        assert_eq!(Plan::of(&fresh, &event, Some(LARGE)), whole(LARGE));
        assert_eq!(Plan::of(&fresh, &event, Some(LARGE + 1)), at_once);
        assert_eq!(Plan::of(&fresh, &event, None), whole(LARGE + 1));
    }
}

#[tokio::test(start_paused = true)]
async fn small_body_is_whole_before_the_call_begins() {
    let (feed, body) = fed(Some(4));
    let (config, budget) = (config(InstanceMode::Fresh), budget(100));
    let mut taken = pin!(taken_ahead(&config, &budget, request(body)));
    for byte in ["a", "b", "c", "d"] {
        assert!(taken.as_mut().now_or_never().is_none(), "it begins before `{byte}`");
        feed.unbounded_send(data(byte)).unwrap();
    }
    drop(feed);
    let request = taken.await.unwrap();
    assert_eq!(ahead(&request), b"abcd");
    assert_eq!(request.body().size_hint().exact(), Some(4));
    let body = request.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "abcd");
    assert_eq!(budget.available_permits(), 100, "the bytes are given back");
}

#[tokio::test(start_paused = true)]
async fn slow_or_broken_client_is_refused_without_a_call() {
    let config = config(InstanceMode::Fresh);
    let (feed, body) = fed(Some(4));
    feed.unbounded_send(data("a")).unwrap();
    let refused = taken_ahead(&config, &budget(100), request(body)).await;
    assert!(matches!(refused, Err(Refusal::LateBody { waited }) if waited == config.timeout));

    let (feed, body) = fed(Some(4));
    feed.unbounded_send(Err(io::Error::other("gone"))).unwrap();
    let refused = taken_ahead(&config, &budget(100), request(body)).await;
    assert!(matches!(refused, Err(Refusal::IncompleteBody)));
}

#[tokio::test(start_paused = true)]
async fn open_body_of_a_singleton_is_streamed_after_a_second() {
    let config = config(InstanceMode::Singleton);
    let (feed, body) = fed(None);
    feed.unbounded_send(data("a")).unwrap();
    let start = tokio::time::Instant::now();
    let request = taken_ahead(&config, &budget(100), request(body)).await.unwrap();
    assert_eq!(start.elapsed(), OPEN_PATIENCE);
    assert_eq!(ahead(&request), b"a");
    feed.unbounded_send(data("b")).unwrap();
    drop(feed);
    assert_eq!(request.into_body().collect().await.unwrap().to_bytes(), "ab");
}

#[tokio::test(start_paused = true)]
async fn body_on_its_way_waits_outside_while_there_is_no_place() {
    for instances in [InstanceMode::Fresh, InstanceMode::Singleton] {
        let (config, budget) = (config(instances), budget(MAX_AHEAD));
        let taken = async |feed: UnboundedSender<Sent>, body, sent: usize| {
            feed.unbounded_send(data(vec![0; sent])).unwrap();
            drop(feed);
            let mut request = request(body);
            let no_place = std::future::pending::<()>;
            let taking =
                super::taken_ahead(|| Arc::new(config.clone()), &budget, no_place, &mut request);
            taking.expect("there is a body").await
        };
        // Silent after one byte.
        let (feed, body) = fed(None);
        let refused = taken(feed.clone(), body, 1).await;
        assert!(matches!(refused, Err(Refusal::LateBody { waited }) if waited == config.timeout));
        // Whole, and as much of it as is kept: these wait for their turn with all others.
        let (feed, body) = fed(Some(SMALL + 1));
        assert_eq!(taken(feed, body, SMALL as usize + 1).await.unwrap(), None);
        let (feed, body) = fed(None);
        assert_eq!(taken(feed.clone(), body, LARGE as usize).await.unwrap(), None);
    }
}

#[tokio::test(start_paused = true)]
async fn time_for_which_a_client_is_waited_for_outside_counts() {
    let config = config(InstanceMode::Fresh);
    let (feed, body) = fed(None);
    let mut request = request(body);
    let place = || tokio::time::sleep(3 * SECOND);
    let budget = budget(MAX_AHEAD);
    let taking = super::taken_ahead(|| Arc::new(config.clone()), &budget, place, &mut request);
    assert_eq!(taking.expect("there is a body").await.unwrap(), Some(()));
    let mut body = request.into_body();
    body.stay(Staying::alone);
    // The guest does something else before it reads.
    tokio::time::advance(10 * SECOND).await;
    assert!(poll_immediate(body.frame()).await.is_none());
    let waited = body.waiting.as_ref().expect("it is open").staying.waited();
    assert_eq!(waited, Some(3 * SECOND));
    drop(feed);
}

#[tokio::test(start_paused = true)]
async fn without_room_a_body_is_streamed_and_loses_nothing() {
    let config = config(InstanceMode::Fresh);
    let (feed, body) = fed(Some(6));
    feed.unbounded_send(data("abc")).unwrap();
    let request = taken_ahead(&config, &budget(2), request(body)).await.unwrap();
    assert_eq!(request.body().size_hint().lower(), 6);
    feed.unbounded_send(data("def")).unwrap();
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", "1".parse().unwrap());
    feed.unbounded_send(Ok(Frame::trailers(trailers.clone()))).unwrap();
    drop(feed);
    let collected = request.into_body().collect().await.unwrap();
    assert_eq!(collected.trailers(), Some(&trailers));
    assert_eq!(collected.to_bytes(), "abcdef");
}

#[tokio::test]
async fn small_frames_are_put_together() {
    let config = config(InstanceMode::Fresh);
    let (feed, body) = fed(Some(SMALL));
    let sent: Vec<u8> = (0..SMALL).map(|i| i.to_le_bytes()[0]).collect();
    for byte in &sent {
        feed.unbounded_send(data(vec![*byte])).unwrap();
    }
    drop(feed);
    let budget = budget(MAX_AHEAD);
    let request = taken_ahead(&config, &budget, request(body)).await.unwrap();
    assert_eq!(ahead(&request), sent);
    let body = request.into_body();
    assert!(body.ahead.len() <= 2 * sent.len() / PIECE, "{} frames", body.ahead.len());
    assert!(body.ahead.iter().filter_map(Frame::data_ref).all(|piece| piece.len() <= PIECE));
}

#[tokio::test(start_paused = true)]
async fn only_time_in_which_the_guest_waits_counts_as_the_clients() {
    let (feed, body) = fed(None);
    let mut body = Upload::new(body);
    body.stay(Staying::alone);
    let waited = |body: &Upload<_>| body.waiting.as_ref().expect("it is open").staying.waited();
    assert!(body.frame().now_or_never().is_none());
    assert_eq!(waited(&body), None, "a look is no wait");

    assert!(poll_immediate(body.frame()).await.is_none());
    tokio::time::advance(2 * SECOND).await;
    assert_eq!(waited(&body), Some(2 * SECOND));
    feed.unbounded_send(data("a")).unwrap();
    assert!(poll_immediate(body.frame()).await.is_some());
    assert_eq!(waited(&body), None, "the guest goes on");

    // Byte by byte, each wait counts.
    tokio::time::advance(10 * SECOND).await;
    assert!(poll_immediate(body.frame()).await.is_none());
    tokio::time::advance(SECOND).await;
    assert_eq!(waited(&body), Some(3 * SECOND));
    feed.unbounded_send(data(vec![0; usize::try_from(PROGRESS).unwrap()])).unwrap();
    assert!(poll_immediate(body.frame()).await.is_some());
    assert!(poll_immediate(body.frame()).await.is_none());
    assert_eq!(waited(&body), Some(Duration::ZERO), "the client made progress");
}

#[tokio::test]
async fn body_whose_call_gave_way_is_late_and_a_broken_one_is_not() {
    let (_feed, body) = fed(None);
    let mut body = Upload::new(body);
    body.stay(Staying::alone);
    let gives_way = body.waiting.as_ref().unwrap().staying.gives_way().clone();
    gives_way.cancel();
    let frame = body.frame().await.expect("there is an error");
    assert!(frame.is_err_and(|error| error.is_late()));
    assert!(body.frame().await.is_none());
    assert!(!UploadError::Client("it broke off").is_late());
}
