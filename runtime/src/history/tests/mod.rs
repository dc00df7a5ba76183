//! Histories without IO and in a directory: bounds, damage, disks that refuse, killed processes.

mod killed;
mod store;
mod versions;

use std::time::{Duration, SystemTime};

use super::*;
use crate::events::StateOutcome;
use crate::id::{Digest, GenerationNumber, HandlerName};

fn number(number: u64) -> GenerationNumber {
    GenerationNumber::new(number)
}

fn digest(of: u64) -> Digest {
    Digest::of(&of.to_le_bytes())
}

fn name(name: &str) -> HandlerName {
    HandlerName::new(name).unwrap()
}

fn rolled_back() -> Outcome {
    Outcome::RolledBack { reason: "3 of 4 calls failed".to_owned() }
}

fn rejected() -> Outcome {
    let error = "the component has no exports".to_owned();
    Outcome::Rejected { stage: crate::events::Stage::Check, error }
}

fn record(generation: u64, outcome: Outcome) -> Record {
    Record {
        generation: number(generation),
        digest: Some(digest(generation)),
        release: Some(digest(generation + 1000)),
        settings: Some(digest(0)),
        standing: None,
        cause: format!("`{generation}.rs` changed"),
        time: SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123 + generation),
        build_ms: Some(250.5),
        compile_ms: Some(20.25),
        total_ms: Some(312.0),
        pause_ms: Some(0.0),
        state: StateOutcome::None,
        state_reason: None,
        outcome,
    }
}

fn history(outcomes: impl IntoIterator<Item = Outcome>) -> HandlerHistory {
    let mut history = HandlerHistory::new();
    for (generation, outcome) in (1..).zip(outcomes) {
        history.add(record(generation, outcome));
    }
    history
}
