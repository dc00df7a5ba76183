//! Calls an Extism plugin as asked on standard input: `extism-peer PLUGIN.wasm DOCUMENT.json`.
//!
//! Each line asks for one round, `MODE WORK THREADS MILLISECONDS`, for example `fresh json 2 200`,
//! and is answered with one line of JSON: `{"calls":N,"seconds":S}`, the seconds of all threads
//! together.

use std::io::{self, BufRead as _, Write as _};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use extism::{CompiledPlugin, Manifest, Plugin, PluginBuilder, Wasm};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Bytes of the work `bytes`.
const N_BYTES: usize = 1 << 20;

/// Calls between two looks at the clock.
const BATCH: u64 = 16;

fn main() -> Result<()> {
    let paths: Vec<_> = std::env::args().skip(1).collect();
    let [plugin, document] = &paths[..] else { bail!("usage: extism-peer PLUGIN DOCUMENT") };
    let plugin = std::fs::read(plugin).context("failed to read the plugin")?;
    let manifest = Manifest::new([Wasm::data(plugin)]);
    let builder = PluginBuilder::new(manifest).with_wasi(false).with_cache_disabled();
    let compiled = CompiledPlugin::new(builder)?;
    let document = std::fs::read(document).context("failed to read the document")?;
    let bytes = vec![7; N_BYTES];
    for line in io::stdin().lock().lines() {
        let line = line.context("failed to read standard input")?;
        let words: Vec<_> = line.split(' ').collect();
        let [mode, work, n_threads, ms] = words[..] else { bail!("expected four words: `{line}`") };
        let input = match work {
            "noop" => &[][..],
            "json" => &document,
            "bytes" => &bytes,
            _ => bail!("unknown work `{work}`"),
        };
        let round = Round { compiled: &compiled, is_fresh: mode == "fresh", work, input };
        let time = Duration::from_millis(ms.parse()?);
        let (n_calls, seconds) = round.on_threads(n_threads.parse()?, time)?;
        let answer = serde_json::json!({ "calls": n_calls, "seconds": seconds });
        writeln!(io::stdout(), "{answer}").context("failed to write to standard output")?;
    }
    Ok(())
}

struct Round<'a> {
    compiled: &'a CompiledPlugin,
    is_fresh: bool,
    work: &'a str,
    input: &'a [u8],
}

impl Round<'_> {
    /// Calls made, and seconds of all threads.
    fn on_threads(&self, n_threads: usize, time: Duration) -> Result<(u64, f64)> {
        thread::scope(|scope| {
            let threads: Vec<_> =
                (0..n_threads).map(|_| scope.spawn(|| self.on_this_thread(time))).collect();
            let mut sum = (0, 0.0);
            for thread in threads {
                let (n_calls, seconds) =
                    thread.join().map_err(|_| anyhow!("a thread panicked"))??;
                sum = (sum.0 + n_calls, sum.1 + seconds);
            }
            Ok(sum)
        })
    }

    fn on_this_thread(&self, time: Duration) -> Result<(u64, f64)> {
        let mut kept = Plugin::new_from_compiled(self.compiled)?;
        self.check(kept.call(self.work, self.input)?)?;
        let (mut n_calls, started_at) = (0, Instant::now());
        while started_at.elapsed() < time {
            for _ in 0..BATCH {
                if self.is_fresh {
                    Plugin::new_from_compiled(self.compiled)?
                        .call::<_, &[u8]>(self.work, self.input)?;
                } else {
                    kept.call::<_, &[u8]>(self.work, self.input)?;
                }
            }
            n_calls += BATCH;
        }
        Ok((n_calls, started_at.elapsed().as_secs_f64()))
    }

    fn check(&self, answer: &[u8]) -> Result<()> {
        let is_right = match self.work {
            "noop" => answer.is_empty(),
            "json" => serde_json::from_slice::<serde_json::Value>(answer)?["total"] == 30,
            _ => answer == self.input,
        };
        ensure!(is_right, "unexpected answer to `{}` of {} bytes", self.work, answer.len());
        Ok(())
    }
}
