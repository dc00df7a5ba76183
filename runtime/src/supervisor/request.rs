//! What can be asked of a handler's supervisor, and how it ends.

use std::time::{Duration, Instant};

use crate::artifact::Source;
use crate::config::Settings;
use crate::events::{Serving, StateOutcome};
use crate::id::GenerationNumber;

/// The cause of a rollback for which nobody gave one.
const ROLLBACK_CAUSE: &str = "a rollback was asked for";

/// A request to replace what a handler runs.
#[derive(Debug, Clone)]
pub struct SwapRequest {
    /// The candidate's component; `None` for the component that serves, where only settings change.
    pub source: Option<Source>,
    /// What the candidate runs with; `None` for the settings of the version that serves, or of the
    /// handler's configuration where nothing serves or the source [is standing](Self::standing).
    pub settings: Option<Settings>,
    /// Why, in words that end up in events and logs: "`src/lib.rs` changed".
    pub cause: String,
    /// When the change began: the first file event, or the request. Events count from here.
    pub since: Instant,
    /// How long the guest's build took, if there was one.
    pub build_time: Option<Duration>,
    /// Whether a handler that runs nothing yet waits for its first call with this.
    pub is_lazy: bool,
    /// Whether the state of a long-lived instance is left behind.
    pub is_fresh: bool,
    /// Whether bytes that were rolled back are tried once more.
    pub is_again: bool,
    /// Whether an event handler may take the place of an HTTP handler, or the other way round.
    pub is_other_kind: bool,
    /// Whether the source is the one that the handler always has, such as the file that its manifest
    /// names; see [`SwapRequest::standing`].
    pub is_standing: bool,
}

impl SwapRequest {
    /// A request that begins now, without a build.
    pub fn new(source: Source, cause: impl Into<String>) -> Self {
        Self { source: Some(source), ..Self::nothing(cause.into()) }
    }

    /// A request to change what the component that serves runs with. Its code is in memory, so that takes
    /// milliseconds; a component that keeps state hands it over, as in any other swap.
    ///
    /// ```no_run
    /// # async fn example(hello: wrt::HandlerHandle) -> Result<(), wrt::Rejected> {
    /// use std::time::Duration;
    ///
    /// use wrt::SwapRequest;
    ///
    /// let mut settings = hello.settings();
    /// settings.timeout = Duration::from_secs(5);
    /// let _ = hello.request_swap(SwapRequest::settings(settings, "the timeout was too long")).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn settings(settings: Settings, cause: impl Into<String>) -> Self {
        Self { settings: Some(settings), ..Self::nothing(cause.into()) }
    }

    fn nothing(cause: String) -> Self {
        Self {
            source: None,
            settings: None,
            cause,
            since: Instant::now(),
            build_time: None,
            is_lazy: false,
            is_fresh: false,
            is_again: false,
            is_other_kind: false,
            is_standing: false,
        }
    }

    /// The same with `settings` in place of those of the version that serves.
    #[must_use]
    pub fn with_settings(mut self, settings: Settings) -> Self {
        self.settings = Some(settings);
        self
    }

    /// The same, for a source that the handler always has: the program asks for it at each start, and
    /// whenever it changes. Where another version was swapped in meanwhile and confirmed, that version
    /// stays until the bytes of this source change, also over restarts: the answer is then
    /// [`Swap::Unchanged`].
    #[must_use]
    pub fn standing(mut self) -> Self {
        self.is_standing = true;
        self
    }

    /// The same, put off until the first call wants it, if the handler runs nothing yet. When it
    /// is then refused, that call fails, and the next one tries again. It waits on while nothing else is
    /// published.
    #[must_use]
    pub fn lazily(mut self) -> Self {
        self.is_lazy = true;
        self
    }

    /// The same without the state of the generation that serves, which is lost.
    #[must_use]
    pub fn fresh(mut self) -> Self {
        self.is_fresh = true;
        self
    }

    /// The same although this component may have been rolled back with these settings. Otherwise what was
    /// rolled back is refused until its bytes or its settings change.
    #[must_use]
    pub fn again(mut self) -> Self {
        self.is_again = true;
        self
    }

    /// The same although the component may be of another kind than the one that serves: events in
    /// place of HTTP requests, or HTTP requests in place of events. Otherwise such a component is
    /// refused, since every call of the handler would fail.
    #[must_use]
    pub fn as_other_kind(mut self) -> Self {
        self.is_other_kind = true;
        self
    }
}

/// A request to go back to an earlier version of a handler, and to the settings that it ran with.
#[derive(Debug, Clone)]
pub struct RollbackRequest {
    /// The number of the version; `None` for the version before the active one.
    pub to: Option<GenerationNumber>,
    /// Why, in words that end up in events and in the history.
    pub cause: String,
    /// Whether the state of a long-lived instance is left behind.
    pub is_fresh: bool,
}

impl RollbackRequest {
    /// A request for version `to`, or for the version before the active one.
    #[must_use]
    pub fn new(to: Option<GenerationNumber>) -> Self {
        Self { to, cause: ROLLBACK_CAUSE.to_owned(), is_fresh: false }
    }

    /// The same with words that say why.
    #[must_use]
    pub fn with_cause(mut self, cause: impl Into<String>) -> Self {
        self.cause = cause.into();
        self
    }

    /// The same without the state of the generation that serves, which is lost. Otherwise a rollback
    /// that can keep neither the state of now nor an earlier state is refused.
    #[must_use]
    pub fn fresh(mut self) -> Self {
        self.is_fresh = true;
        self
    }
}

/// How a swap that was not refused ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[must_use = "a request may have changed nothing"]
pub enum Swap {
    /// The candidate is active.
    Swapped {
        /// The generation that is active now.
        serving: Serving,
        /// The generation that was active before; `None` when there was none.
        from: Option<GenerationNumber>,
        /// What became of the handler's state.
        state: StateOutcome,
    },
    /// The candidate's component and settings are those already active.
    Unchanged {
        /// The generation that runs them.
        serving: Serving,
    },
    /// A newer request took this one's place before it was published.
    Superseded,
}
