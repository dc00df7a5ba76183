//! Tests of whole sessions, on the real file system with the real watcher, but without a runtime: what
//! would drive a handler is read here.
//!
//! That something does *not* happen is shown by a fence: a further change whose notices must be
//! the next ones.

mod builds;
mod cargo_packages;
mod components;
mod saves;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::notice::{Notice, NoticeKind, Post};
use super::session::launch;
use super::{BuildFailure, Built, Options, Session, Source};

/// Longest wait for a notice. It ends a test that would hang, and decides no outcome otherwise: a
/// cargo build on a loaded machine takes seconds.
const PATIENCE: Duration = Duration::from_secs(120);

/// Whether `text` stands somewhere in `bytes`.
pub(super) fn has(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// A session under test.
struct Bench {
    notices: UnboundedReceiver<Notice>,
    _session: Session,
}

impl Bench {
    fn start(source: Source, options: Options) -> Self {
        Self::start_all(vec![("hello", source)], options)
    }

    fn start_once(source: Source, options: Options) -> Self {
        Self::launch(vec![("hello", source)], options, false)
    }

    fn start_all(sources: Vec<(&str, Source)>, options: Options) -> Self {
        Self::launch(sources, options, true)
    }

    fn launch(sources: Vec<(&str, Source)>, options: Options, is_watching: bool) -> Self {
        let (sender, notices) = unbounded_channel();
        let sources = sources.into_iter().map(|(name, source)| {
            let sender = sender.clone();
            // A test that has seen enough drops the receiver.
            let post = Post::new(name.parse().unwrap(), move |notice| drop(sender.send(notice)));
            (source, post)
        });
        Self { _session: launch(sources.collect(), options, is_watching), notices }
    }

    async fn next(&mut self) -> Notice {
        let next = tokio::time::timeout(PATIENCE, self.notices.recv()).await;
        next.expect("a notice in time").expect("a running session")
    }

    /// The next outcome of any kind, with the paths that changed on the way to it.
    async fn outcome(&mut self) -> (Vec<PathBuf>, Notice) {
        let mut changed = Vec::new();
        loop {
            let notice = self.next().await;
            match notice.kind {
                NoticeKind::Changed { paths } => changed.extend(paths),
                NoticeKind::Building | NoticeKind::Info { .. } => {}
                _ => return (changed, notice),
            }
        }
    }

    /// The next outcome, which is an artifact.
    async fn built(&mut self) -> (Vec<PathBuf>, Notice, Built) {
        let (changed, notice) = self.outcome().await;
        match notice.kind.clone() {
            NoticeKind::Built(built) => (changed, notice, built),
            other => panic!("expected an artifact, found {other:?}"),
        }
    }

    /// The next outcome, which is a failed build.
    async fn failed(&mut self) -> BuildFailure {
        match self.outcome().await.1.kind {
            NoticeKind::BuildFailed(failure) => failure,
            other => panic!("expected a failed build, found {other:?}"),
        }
    }
}

/// A directory `src` and a command that joins its `*.txt` into `out.wasm`, and counts its runs.
struct Project {
    dir: TempDir,
    n_fences: u32,
}

impl Project {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("src")).unwrap();
        fs::write(dir.path().join("src/a.txt"), "old\n").unwrap();
        Self { dir, n_fences: 0 }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn source(&self) -> Source {
        self.source_running("cat src/*.txt > new; mv new out.wasm; echo x >> runs")
    }

    fn source_running(&self, command: &str) -> Source {
        Source::Command {
            command: command.to_owned(),
            dir: self.dir.path().to_owned(),
            output: "out.wasm".into(),
            watch: vec!["src".into()],
        }
    }

    async fn start(&self) -> Bench {
        let mut bench = Bench::start(self.source(), Options::default());
        let (changed, notice, _) = bench.built().await;
        assert_eq!((changed, notice.cause.as_str()), (vec![], "first build"));
        bench
    }

    fn output(&self) -> String {
        fs::read_to_string(self.path("out.wasm")).unwrap()
    }

    fn n_runs(&self) -> usize {
        fs::read_to_string(self.path("runs")).unwrap().lines().count()
    }

    /// Expects that nothing is under way: changes a file, and its build is the next outcome.
    async fn fence(&mut self, bench: &mut Bench) {
        self.n_fences += 1;
        let n_runs = self.n_runs();
        save(&self.path("src/z-fence.txt"), format!("{}\n", self.n_fences));
        let (changed, ..) = bench.built().await;
        assert_eq!(changed, [Path::new("src/z-fence.txt")]);
        assert_eq!(self.n_runs(), n_runs + 1);
    }

    /// Expects one build that gives `content`, and nothing after it.
    async fn expect_one_build(&mut self, bench: &mut Bench, content: &str) {
        bench.built().await;
        assert_eq!(self.output(), content);
        self.fence(bench).await;
    }
}

/// Saves as careful programs do: under another name, then renamed.
fn save(path: &Path, content: impl AsRef<[u8]>) {
    let temp = path.with_extension("swp~");
    fs::write(&temp, content).unwrap();
    fs::rename(temp, path).unwrap();
}

/// A component, whole by its section headers, whose only section is custom and holds `content`.
fn component(content: &[u8]) -> Vec<u8> {
    let mut bytes = b"\0asm\x0d\0\x01\0\0".to_vec();
    let mut size = content.len();
    while size > 0x7f {
        bytes.push((size & 0x7f) as u8 | 0x80);
        size >>= 7;
    }
    bytes.push(size as u8);
    bytes.extend(content);
    bytes
}
