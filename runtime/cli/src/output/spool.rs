//! Writes to one stream on a thread of its own, so that a stream that takes nothing stops nobody.
//!
//! # Invariants
//!
//! 1. [`Spool::put`] never waits for the stream, and never fails.
//! 2. What waits for the stream is bounded in bytes for each [`Rank`], so that lines of one rank never
//!    take the room of another. A line for which there is no room is counted, and the count is
//!    written to the stream as soon as the stream takes lines again.
//! 3. A line is written whole or not at all, however often the stream fails in the middle of it, unless
//!    the process ends meanwhile.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Bytes that are handed to the stream in one piece: enough to spare system calls in a burst.
const PIECE: usize = 64 * 1024;

/// Pause before a stream that failed is tried again: a disk that is full stays so for a while.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Pause before a stream that somebody has made non-blocking is tried again.
const WAIT_FOR_ROOM: Duration = Duration::from_millis(20);

/// Shortest time between two lines about losses, while the stream is slow rather than stuck.
const BETWEEN_NOTICES: Duration = Duration::from_secs(1);

/// How much a line matters, when there is no room for all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rank {
    /// What guests and wrt itself log.
    Log,
    /// Calls that failed.
    Failure,
    /// Everything else: swaps, refusals, the host's own messages.
    Lifecycle,
}

impl Rank {
    const ALL: [Self; 3] = [Self::Log, Self::Failure, Self::Lifecycle];

    /// Bytes of this rank that may wait: thousands of lines, and some 6 MiB for all ranks.
    fn room(self) -> usize {
        match self {
            Self::Log | Self::Failure => 1024 * 1024,
            Self::Lifecycle => 4 * 1024 * 1024,
        }
    }
}

/// Lines that were not written since the last notice of it, by rank.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Lost([u64; Rank::ALL.len()]);

impl Lost {
    pub(crate) fn of(self, rank: Rank) -> u64 {
        self.0[rank as usize]
    }

    pub(crate) fn total(self) -> u64 {
        self.0.iter().sum()
    }
}

/// A stream as others see it: its name, how losses are told in it, and whom to tell of its troubles.
pub(crate) struct About {
    /// Its name in messages: `stdout`.
    pub(crate) name: &'static str,
    /// The line that stands in the stream for those that are missing.
    pub(crate) notice: Box<dyn Fn(Lost) -> String + Send + Sync>,
    /// Is told once when the stream stops to take lines, and once when it takes them again.
    pub(crate) tell: Box<dyn Fn(Trouble) + Send + Sync>,
}

/// What happened to a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// It fails, and why. A reader that has gone away is no trouble: it has seen enough.
    Fails(String),
    /// It takes lines more slowly than they come, if at all: lines are left out.
    Slow,
    /// It takes lines again.
    Mended,
}

/// See the [module](self). Cheap to clone; the thread ends with the process.
#[derive(Clone)]
pub(crate) struct Spool(Arc<Shared>);

struct Shared {
    about: About,
    state: Mutex<State>,
    /// Told when there is something to do for the thread.
    work: Condvar,
    /// Told when the thread has done something.
    done: Condvar,
}

#[derive(Default)]
struct State {
    lines: VecDeque<(Rank, String)>,
    waiting: [usize; Rank::ALL.len()],
    lost: Lost,
    /// Whether the thread holds lines that are not written yet.
    is_writing: bool,
    /// Whether somebody was told of a trouble that is not over.
    is_in_trouble: bool,
    /// Whether the process is about to end: the thread tries once more, and then gives up.
    is_ending: bool,
    has_given_up: bool,
}

impl Spool {
    /// Starts the thread that writes to `stream`.
    ///
    /// # Errors
    ///
    /// When the system gives no thread.
    pub(crate) fn start(stream: impl Write + Send + 'static, about: About) -> io::Result<Self> {
        let thread = std::thread::Builder::new().name(format!("wrt-{}", about.name));
        let (work, done) = (Condvar::new(), Condvar::new());
        let shared = Arc::new(Shared { about, state: Mutex::default(), work, done });
        let writer = Writer { shared: Arc::clone(&shared), stream, last_notice: None };
        thread.spawn(|| writer.run())?;
        Ok(Self(shared))
    }

    /// Has `text`, which is one or more whole lines, written in its turn, or counts it as lost.
    pub(crate) fn put(&self, rank: Rank, text: String) {
        if text.is_empty() {
            return;
        }
        let mut state = self.0.lock();
        let waiting = &mut state.waiting[rank as usize];
        // A line that is larger than its room is taken where nothing else of its rank waits.
        if *waiting > 0 && *waiting + text.len() > rank.room() {
            state.lost.0[rank as usize] += 1;
            self.0.trouble(&mut state, Trouble::Slow);
        } else {
            *waiting += text.len();
            state.lines.push_back((rank, text));
        }
        drop(state);
        self.0.work.notify_one();
    }

    /// Waits until everything is written, for `limit` at most and not at all for a stream that fails.
    /// Returns how many lines are lost for good.
    pub(crate) fn finish(&self, limit: Duration) -> u64 {
        let deadline = Instant::now() + limit;
        let mut state = self.0.lock();
        state.is_ending = true;
        self.0.work.notify_one();
        while state.has_work() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let waited = self.0.done.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let unwritten = state.lines.len() + usize::from(state.is_writing);
        state.lost.total() + u64::try_from(unwritten).unwrap_or(u64::MAX)
    }
}

impl State {
    fn has_work(&self) -> bool {
        let has_lines = !self.lines.is_empty() || self.is_writing || self.lost.total() > 0;
        has_lines && !self.has_given_up
    }

    /// Takes what is to be written next, in one piece.
    fn take(&mut self) -> Vec<u8> {
        let mut piece = Vec::new();
        while let Some((rank, line)) = self.lines.pop_front() {
            self.waiting[rank as usize] -= line.len();
            piece.extend_from_slice(line.as_bytes());
            if piece.len() >= PIECE {
                break;
            }
        }
        piece
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Each change is finished before anything that could panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells of the first trouble. Whoever is told must not use this spool.
    fn trouble(&self, state: &mut State, trouble: Trouble) {
        if !std::mem::replace(&mut state.is_in_trouble, true) {
            (self.about.tell)(trouble);
        }
    }
}

/// The thread's side.
struct Writer<W> {
    shared: Arc<Shared>,
    stream: W,
    last_notice: Option<Instant>,
}

impl<W: Write> Writer<W> {
    fn run(mut self) {
        loop {
            let piece = self.next();
            if !self.write(&piece) {
                return;
            }
            let mut state = self.shared.lock();
            state.is_writing = false;
            let is_through = state.lines.is_empty() && state.lost.total() == 0;
            if is_through && std::mem::take(&mut state.is_in_trouble) {
                (self.shared.about.tell)(Trouble::Mended);
            }
            drop(state);
            self.shared.done.notify_all();
        }
    }

    /// Waits for the next piece. Losses are told after what was kept before them, and from time to
    /// time while lines keep coming.
    fn next(&mut self) -> Vec<u8> {
        let mut state = self.shared.lock();
        loop {
            let is_due = self.last_notice.is_none_or(|last| last.elapsed() >= BETWEEN_NOTICES);
            if state.lost.total() > 0 && (is_due || state.lines.is_empty()) {
                let mut piece = state.take();
                let lost = std::mem::take(&mut state.lost);
                piece.extend_from_slice((self.shared.about.notice)(lost).as_bytes());
                state.is_writing = true;
                self.last_notice = Some(Instant::now());
                return piece;
            }
            if !state.lines.is_empty() {
                state.is_writing = true;
                return state.take();
            }
            state = self.shared.work.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Writes all of `piece`, however long that takes. Returns whether it could: only the end of the
    /// process is a reason to give up.
    fn write(&mut self, piece: &[u8]) -> bool {
        let mut rest = piece;
        while !rest.is_empty() {
            // Looked at before the attempt, which is then the last one.
            let is_ending = self.shared.lock().is_ending;
            let error = match self.stream.write(rest) {
                Ok(0) => ErrorKind::WriteZero.into(),
                Ok(n) => {
                    rest = &rest[n..];
                    continue;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    std::thread::sleep(WAIT_FOR_ROOM);
                    continue;
                }
                Err(error) => error,
            };
            self.failed(&error);
            if is_ending {
                self.shared.lock().has_given_up = true;
                self.shared.done.notify_all();
                return false;
            }
        }
        true
    }

    /// The stream refused: it is tried again in a while, or at once when the process is to end.
    fn failed(&self, error: &io::Error) {
        let mut state = self.shared.lock();
        if error.kind() != ErrorKind::BrokenPipe {
            self.shared.trouble(&mut state, Trouble::Fails(error.to_string()));
        }
        let deadline = Instant::now() + RETRY_AFTER;
        while !state.is_ending {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let waited = self.shared.work.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// What a stream does with the next piece: takes so many bytes, or fails.
    type Next = Result<usize, ErrorKind>;

    /// A stream whose every write is decided by the test.
    struct Steered {
        next: mpsc::Receiver<Next>,
        written: Arc<Mutex<Vec<u8>>>,
        /// Told when a write is asked for.
        asked: mpsc::Sender<usize>,
    }

    impl Write for Steered {
        fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
            // The test may be over, and then takes everything.
            let _ = self.asked.send(piece.len());
            let n = self.next.recv().unwrap_or(Ok(usize::MAX))?.min(piece.len());
            self.written.lock().unwrap().extend_from_slice(&piece[..n]);
            Ok(n)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Bench {
        spool: Spool,
        next: mpsc::Sender<Next>,
        asked: mpsc::Receiver<usize>,
        written: Arc<Mutex<Vec<u8>>>,
        troubles: Arc<Mutex<Vec<Trouble>>>,
    }

    fn bench() -> Bench {
        let ((next, decided), (asks, asked)) = (mpsc::channel(), mpsc::channel());
        let (written, troubles) = (Arc::<Mutex<Vec<u8>>>::default(), Arc::default());
        let stream = Steered { next: decided, written: Arc::clone(&written), asked: asks };
        let told: Arc<Mutex<Vec<Trouble>>> = Arc::clone(&troubles);
        let about = About {
            name: "stdout",
            notice: Box::new(|lost| format!("lost {:?}\n", lost.0)),
            tell: Box::new(move |trouble| told.lock().unwrap().push(trouble)),
        };
        Bench { spool: Spool::start(stream, about).unwrap(), next, asked, written, troubles }
    }

    impl Bench {
        fn put(&self, rank: Rank, text: &str) {
            self.spool.put(rank, format!("{text}\n"));
        }

        /// Lets everything through from now on, and returns what was written in all.
        fn end(self) -> (String, Vec<Trouble>, u64) {
            drop(self.next);
            let lost = self.spool.finish(Duration::from_secs(60));
            let written = String::from_utf8(self.written.lock().unwrap().clone()).unwrap();
            let troubles = self.troubles.lock().unwrap().clone();
            (written, troubles, lost)
        }
    }

    #[test]
    fn lines_arrive_in_order_and_the_end_waits_for_them() {
        let bench = bench();
        for i in 0..1000 {
            bench.put(if i % 2 == 0 { Rank::Log } else { Rank::Lifecycle }, &i.to_string());
        }
        let (written, troubles, lost) = bench.end();
        let expected: String = (0..1000).map(|i| format!("{i}\n")).collect();
        assert_eq!((written, troubles.len(), lost), (expected, 0, 0));
    }

    #[test]
    fn stuck_stream_costs_lines_by_rank_and_one_line_says_how_many() {
        let bench = bench();
        bench.put(Rank::Lifecycle, "first");
        // The thread has it in its hands, and everything else waits.
        assert_eq!(bench.asked.recv().unwrap(), "first\n".len());
        let large = "x".repeat(Rank::Log.room() - 1);
        bench.put(Rank::Log, &large);
        for _ in 0..3 {
            bench.put(Rank::Log, "lost");
        }
        bench.put(Rank::Failure, "failed");
        for i in 0..100 {
            bench.put(Rank::Lifecycle, &format!("swap {i}"));
        }
        let (written, troubles, lost) = bench.end();
        let (notices, lines): (Vec<_>, Vec<_>) =
            written.lines().partition(|line| line.starts_with("lost "));
        assert_eq!((lines[0], lines[1] == large, lines[2]), ("first", true, "failed"));
        assert_eq!((lines[3], lines[102], lines.len()), ("swap 0", "swap 99", 103));
        assert_eq!((&notices[..], lost), (&["lost [3, 0, 0]"][..], 0));
        assert_eq!(troubles, [Trouble::Slow, Trouble::Mended]);
    }

    #[test]
    fn line_that_broke_off_on_a_full_disk_is_ended_when_there_is_room_again() {
        let bench = bench();
        bench.put(Rank::Lifecycle, "swapped");
        bench.next.send(Ok(3)).unwrap();
        bench.next.send(Err(ErrorKind::StorageFull)).unwrap();
        // The second write asks for the rest, and fails; the third comes a while later.
        for left in ["swapped\n".len(), "pped\n".len(), "pped\n".len()] {
            assert_eq!(bench.asked.recv().unwrap(), left);
        }
        let (written, troubles, lost) = bench.end();
        assert_eq!((written.as_str(), lost), ("swapped\n", 0));
        let reason = io::Error::from(ErrorKind::StorageFull).to_string();
        assert_eq!(troubles, [Trouble::Fails(reason), Trouble::Mended]);
    }

    #[test]
    fn end_waits_for_no_stream_that_fails_and_says_what_is_lost() {
        let bench = bench();
        bench.put(Rank::Lifecycle, "a");
        for _ in 0..4 {
            bench.next.send(Err(ErrorKind::BrokenPipe)).unwrap();
        }
        bench.asked.recv().unwrap();
        // Waits for as long as any test may, should it wait for the stream.
        assert_eq!(bench.spool.finish(Duration::from_secs(3600)), 1);
    }
}
