//! The steps of a hand-over: rest, `save`, `restore`; each is bounded in time.

use std::time::Duration;

use super::Guest;
use super::protocol::Found;
use super::states::Earlier;
use crate::error::{HandOverError, StageError, caught};
use crate::handler::Hold;
use crate::id::GenerationNumber;
use crate::snapshot::{Restored, Snapshot};

/// Waits until nobody is inside what is held, at most for `limit`.
pub(super) async fn at_rest<G: Guest>(
    guest: &G,
    hold: Option<&Hold<'_, G::Ready>>,
    limit: Duration,
) -> Result<Found, HandOverError> {
    let Some(hold) = hold else { return Ok(Found::Done) };
    let rest = tokio::time::timeout(limit, hold.generation().emptied()).await;
    rest.map_err(|_| HandOverError::Busy { waited: limit })?;
    let has_lost = hold.generation().peek().is_some_and(|loaded| guest.has_lost(loaded.ready()));
    Ok(if has_lost { Found::Lost } else { Found::Done })
}

/// The state of the generation that is held, of at most `limit` bytes.
pub(super) async fn save<G: Guest>(
    guest: &G,
    hold: Option<&Hold<'_, G::Ready>>,
    limit: u64,
) -> Result<Snapshot, HandOverError> {
    let Some(loaded) = hold.and_then(|hold| hold.generation().peek()) else {
        // The protocol saves from what it holds, and a generation that keeps something keeps its
        // code.
        return Err(HandOverError::Refused { reason: "its code is not loaded".to_owned() });
    };
    let snapshot = caught(guest.save(loaded.ready())).await?;
    match snapshot.bytes() {
        bytes if bytes > limit => Err(HandOverError::TooLarge { bytes, limit }),
        _ => Ok(snapshot),
    }
}

/// Makes the state of `ready` that of `snapshot`.
pub(super) async fn restore<G: Guest>(
    guest: &G,
    ready: &G::Ready,
    snapshot: Option<&Snapshot>,
) -> Result<Found, StageError> {
    let Some(snapshot) = snapshot else { return Ok(Found::Failed) };
    match caught(guest.restore(ready, snapshot)).await {
        Ok(Restored::Carried) => Ok(Found::Done),
        Ok(Restored::Migrated) => Ok(Found::Migrated),
        Err(source) => Err(StageError::Restore { source }),
    }
}

/// Makes the state of `ready` the first of `earlier` that it can read; returns the generation whose
/// state that was. All attempts together take `limit` at most.
pub(super) async fn restore_any<G: Guest>(
    guest: &G,
    ready: &G::Ready,
    earlier: &[Earlier],
    limit: Duration,
) -> Option<GenerationNumber> {
    let restoring = async {
        for Earlier { of, snapshot } in earlier {
            match caught(guest.restore(ready, snapshot)).await {
                Ok(_) => return Some(*of),
                // Callers are told of the state of now; that an older one does not fit is no news.
                Err(error) => tracing::debug!(generation = %of, %error, "an earlier state is left"),
            }
        }
        None
    };
    tokio::time::timeout(limit, restoring).await.ok().flatten()
}
