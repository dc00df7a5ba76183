//! An instance that counts its calls, and whose beginning, end and hand-over go as its settings say.
//!
//! Each of the settings `init`, `save`, `restore` and `shutdown` is `ok`, which is the default, or:
//!
//! - `error`: returns an error, in `restore` the error `failed`
//! - `long`: returns an error of 30 MB
//! - `incompatible`: only in `restore`, returns the error of that name
//! - `large`: only in `save`, returns 64 MiB
//! - `trap`, `loop`: traps, or spins without end
//! - `sleep`: waits for an hour, then goes on
//! - `send`: asks for the setting `url`, and keeps what came of it as `sent`; `restore` returns the
//!   error `failed` if it was answered
//!
//! A call can order the same for what comes: `save:trap` is for this instance, `restore:trap` for the
//! one that gets its state, until `save:ok` or `restore:ok`.
//!
//! `payload` is the size of a snapshot in bytes, until a call sets another; `version` is the version
//! of snapshots, 1 by default, and a restored snapshot of any other counts as migrated.

use std::cell::RefCell;

/// What the instance keeps from call to call.
#[derive(Default)]
struct Memory {
    count: u64,
    /// The size of a snapshot in bytes, if a call has set it.
    size: Option<usize>,
    /// `init`, `carried` or `migrated`; empty if the host called neither `init` nor `restore`.
    begun: &'static str,
    /// What came of the last request, for `send`.
    sent: String,
    /// How `save` goes, if a call has ordered it.
    save: Option<String>,
    /// How `restore` goes in the next instance, if a call has ordered it.
    restore: Option<String>,
}

thread_local! {
    static MEMORY: RefCell<Memory> = RefCell::default();
}

/// How long a call lasts that is told to `pause`.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(200);

/// Counts a call and answers with all that is in memory, as JSON. `order` is `trap` or `loop`,
/// `pause` for a call that takes a while, or anything else; `size` is that of later snapshots.
pub(crate) fn call(order: &str, size: Option<usize>) -> String {
    match order {
        "trap" => panic!("asked to trap"),
        "loop" => spin(),
        "pause" => {
            std::thread::sleep(PAUSE);
            call("count", size)
        }
        _ => MEMORY.with_borrow_mut(|memory| {
            memory.count += 1;
            memory.size = size.or(memory.size);
            match order.split_once(':') {
                Some(("save", turn)) => memory.save = Some(turn.to_owned()),
                Some(("restore", turn)) => memory.restore = Some(turn.to_owned()),
                _ => {}
            }
            let Memory { count, begun, sent, .. } = memory;
            format!(r#"{{"count":{count},"begun":"{begun}","sent":{sent:?}}}"#)
        }),
    }
}

fn spin() -> ! {
    loop {
        std::hint::spin_loop();
    }
}

#[cfg(target_arch = "wasm32")]
mod exports {
    //! The exports `wrt:plugin/lifecycle` and `wrt:plugin/state`.

    use super::{MEMORY, Memory, spin};
    use std::time::Duration;
    use wrt_guest::__private::lifecycle::{self, WireContext};
    use wrt_guest::__private::state::{self, WireRestoreError, WireRestored, WireSnapshot};
    use wrt_guest::{Result, config, log, time};
    use wstd::http::{Body, Client, Request};
    use wstd::runtime::block_on;

    /// Far more than a host lets a state have.
    const LARGE: usize = 64 << 20;

    /// Far more than anybody reads.
    const LONG: usize = 30_000_000;

    /// How a function goes on that has not ended already.
    #[derive(PartialEq)]
    enum Turn {
        On,
        Large,
        Incompatible,
    }

    struct Export;

    impl lifecycle::Guest for Export {
        fn init(context: WireContext) -> Result<(), String> {
            turn("init", None)?;
            log::info!("init {} {}", context.handler, context.generation);
            MEMORY.with_borrow_mut(|memory| memory.begun = "init");
            Ok(())
        }

        fn shutdown() {
            let told = turn("shutdown", None).map(|_| ());
            let count = MEMORY.with_borrow(|memory| memory.count);
            log::info!("shutdown {count} {told:?}");
        }
    }

    impl state::Guest for Export {
        fn save() -> Result<WireSnapshot, String> {
            let ordered = MEMORY.with_borrow(|memory| memory.save.clone());
            let turn = turn("save", ordered)?;
            let (count, size) = MEMORY.with_borrow(|memory| (memory.count, memory.size));
            let restore = MEMORY.with_borrow(|memory| memory.restore.clone());
            let size = match size {
                _ if turn == Turn::Large => LARGE,
                Some(size) => size,
                None => number("payload", 0)?,
            };
            // A line with the count and what was ordered, and blanks for the rest.
            let restore = restore.unwrap_or_default();
            let mut payload = format!("{count} {restore}\n").into_bytes();
            payload.resize(size.max(payload.len()), b' ');
            Ok(WireSnapshot { schema: ":count".into(), version: number("version", 1)?, payload })
        }

        fn restore(snapshot: WireSnapshot) -> Result<WireRestored, WireRestoreError> {
            let failed = WireRestoreError::Failed;
            let text = String::from_utf8_lossy(&snapshot.payload);
            // To look for words among the blanks would take longer than all the rest.
            let mut words = text.lines().next().unwrap_or_default().split_whitespace();
            let count = words.next().and_then(|count| count.parse().ok());
            let ordered = words.next().map(str::to_owned);
            if turn("restore", ordered).map_err(failed)? == Turn::Incompatible {
                return Err(WireRestoreError::Incompatible("`restore` was told to refuse".into()));
            }
            let sent = MEMORY.with_borrow(|memory| memory.sent.clone());
            if sent.starts_with("answered") {
                return Err(failed(format!("a request was {sent}")));
            }
            let count = count.ok_or_else(|| failed("snapshot has no count".into()))?;
            let is_own = number("version", 1).map_err(failed)? == snapshot.version;
            let begun = if is_own { "carried" } else { "migrated" };
            let size = Some(snapshot.payload.len());
            MEMORY.replace(Memory { count, size, begun, sent, ..Memory::default() });
            Ok(if is_own { WireRestored::Carried } else { WireRestored::Migrated })
        }
    }

    /// Does what was ordered for `function`, or what its setting says.
    fn turn(function: &str, ordered: Option<String>) -> Result<Turn, String> {
        let turn = match ordered {
            Some(turn) => Some(turn),
            None => setting(function)?,
        };
        match turn.as_deref().unwrap_or("ok") {
            "ok" => Ok(Turn::On),
            "large" => Ok(Turn::Large),
            "incompatible" => Ok(Turn::Incompatible),
            "error" => Err(format!("`{function}` was told to fail")),
            "long" => Err("e".repeat(LONG)),
            "trap" => panic!("`{function}` was told to trap"),
            "loop" => spin(),
            "sleep" => {
                block_on(time::sleep(Duration::from_secs(3600)));
                Ok(Turn::On)
            }
            "send" => {
                let url = setting("url")?.ok_or("setting `url` is missing")?;
                let sent = match block_on(status(&url)) {
                    Ok(status) => format!("answered with {status}"),
                    Err(error) => format!("refused: {}", error.chain()),
                };
                MEMORY.with_borrow_mut(|memory| memory.sent = sent);
                Ok(Turn::On)
            }
            other => Err(format!("`{function}` cannot go `{other}`")),
        }
    }

    async fn status(url: &str) -> Result<u16> {
        let request = Request::get(url).body(Body::empty())?;
        Ok(Client::new().send(request).await?.status().as_u16())
    }

    fn setting(key: &str) -> Result<Option<String>, String> {
        config::get(key).map_err(|error| error.chain())
    }

    fn number<T: std::str::FromStr>(key: &str, default: T) -> Result<T, String> {
        let Some(text) = setting(key)? else { return Ok(default) };
        text.parse().map_err(|_| format!("setting `{key}` is no number: `{text}`"))
    }

    #[allow(warnings, unsafe_code, reason = "the export macros are generated")]
    const _: () = {
        use wrt_guest::__private::bindings;
        bindings::lifecycle::export!(Export with_types_in bindings::lifecycle);
        bindings::state::export!(Export with_types_in bindings::state);
    };
}
