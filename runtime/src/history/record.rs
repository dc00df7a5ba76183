//! One version of a handler: what it was, why it came, how long that took, how it ended.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::events::{Stage, StateOutcome, from_rfc3339, rfc3339};
use crate::id::{Digest, GenerationNumber};

/// What is known of one version. Its serialised form is what the control plane shows, and only grows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Its number.
    pub generation: GenerationNumber,
    /// Its digest; absent for a candidate that was rejected before its bytes were read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// Names the component and the settings together; absent in records of before settings were a part of
    /// a version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<Digest>,
    /// Names the settings that it ran with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<Digest>,
    /// What the handler's standing source held when it was published, such as the file that the manifest
    /// names. As long as that source holds the same, it does not replace this version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standing: Option<Digest>,
    /// Why it came, in words: "`src/lib.rs` changed".
    pub cause: String,
    /// When it was published or rejected, to the millisecond once serialised.
    #[serde(serialize_with = "rfc3339", deserialize_with = "from_rfc3339")]
    pub time: SystemTime,
    /// Milliseconds the guest's build took; absent when there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build_ms: Option<f64>,
    /// Milliseconds from component bytes to executable code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compile_ms: Option<f64>,
    /// Milliseconds from the first file event or request to publication.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_ms: Option<f64>,
    /// Milliseconds that callers were held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause_ms: Option<f64>,
    /// What became of the handler's state.
    pub state: StateOutcome,
    /// Why it did not go on with the state of the version before, outermost error first, joined by `: `.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_reason: Option<String>,
    /// How it ended, or how it stands.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// What became of one version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Outcome {
    /// It answered calls, or still does; nobody has vouched for it.
    Published,
    /// It has proved itself: the one to start with.
    Confirmed,
    /// It was published and taken back.
    RolledBack {
        /// Why, in words.
        reason: String,
    },
    /// It never answered a call.
    Rejected {
        /// The step that refused it.
        stage: Stage,
        /// The whole error chain, outermost first, joined by `: `.
        error: String,
    },
}

impl Outcome {
    /// Whether the version answered calls, taken back since or not.
    #[must_use]
    pub fn was_published(&self) -> bool {
        !matches!(self, Self::Rejected { .. })
    }

    /// Whether the version answered calls and was not taken back.
    #[must_use]
    pub fn is_good(&self) -> bool {
        matches!(self, Self::Published | Self::Confirmed)
    }
}
