//! From a candidate to the active generation.
//!
//! Stage (compile, check, first instance) · walk the [`Protocol`] to the publication, which is one
//! pointer store · drain the predecessor, aside. Everything that can fail comes before the
//! publication.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::aside::cut;
use super::book::Published;
use super::hand_over::{self, at_rest};
use super::past::Version;
use super::protocol::{Found, Mismatch, Protocol, Step, Terms, Way};
use super::states::Earlier;
use super::task::{Task, milliseconds};
use super::trial::{Rules, Trial, baseline};
use super::{Guest, Staged, Swap};
use crate::artifact::{Candidate, Goal, Release};
use crate::error::{HandOverError, StageError, caught, chain};
use crate::events::{EventKind, StateOutcome, Tier};
use crate::generation::{Generation, Judge, Loaded, Reload, Retirement, Sample};
use crate::handler::Hold;
use crate::id::{Digest, GenerationNumber};
use crate::snapshot::{Keeps, Snapshot};

/// What is to become the active generation, and why.
pub(super) struct Bring {
    pub(super) release: Release,
    pub(super) cause: String,
    pub(super) since: Instant,
    pub(super) build_time: Option<Duration>,
    /// Whether the state is left behind.
    pub(super) is_fresh: bool,
    /// Whether it may take calls of another kind than what serves.
    pub(super) is_other_kind: bool,
    /// Whether it is one of very many that nobody has called before.
    pub(super) is_lazy: bool,
    /// Whether it has proved itself before, and so is not on trial.
    pub(super) is_proved: bool,
    pub(super) way: Way,
    /// The generation that is taken back with this.
    pub(super) back_from: Option<GenerationNumber>,
}

impl Bring {
    /// A version that was published before.
    pub(super) fn again(release: Release, cause: String) -> Self {
        Self {
            release,
            cause,
            since: Instant::now(),
            build_time: None,
            is_fresh: false,
            is_other_kind: true,
            is_lazy: false,
            is_proved: true,
            way: Way::Forward,
            back_from: None,
        }
    }
}

/// A candidate that is staged, as generation `number`.
pub(super) struct Prepared<R> {
    bring: Bring,
    number: GenerationNumber,
    staged: Staged<R>,
    retirement: Retirement,
    /// Of this code.
    own: Retirement,
    kind: Option<&'static str>,
}

/// Calls whose instances are made before a publication; a pool makes the others when they come, and
/// nobody waits for a hundred of them at each swap.
const MAX_WARM: usize = 16;

/// Why a component that keeps no state does not take any over.
const STATELESS: &str = "it keeps no state";

/// State that a generation does not go on with.
struct Loss {
    /// The generation whose earlier state it goes on with; `None` when it begins from nothing.
    reverted_to: Option<GenerationNumber>,
    /// Outermost error first, joined by `: `.
    reason: String,
}

impl Loss {
    /// The event that tells of it.
    fn event(self, generation: GenerationNumber) -> EventKind {
        let Self { reverted_to, reason } = self;
        match reverted_to {
            Some(of) => EventKind::StateReverted { generation, of, reason },
            None => EventKind::StateLost { generation, reason },
        }
    }
}

/// What is told of a publication.
struct Story<'a> {
    cause: &'a str,
    since: Instant,
    build_time: Option<Duration>,
    compile_time: Duration,
    is_lazy: bool,
    release: &'a Release,
}

impl<G: Guest> Task<G> {
    /// Makes `bring` the active generation.
    ///
    /// # Errors
    ///
    /// Why it was refused; what was active still is.
    pub(super) async fn bring(&mut self, bring: Bring) -> Result<Swap, StageError> {
        let prepared = self.prepare(bring).await?;
        self.finish(prepared, None).await
    }

    /// Stages `bring`. Cancel-safe: what was staged is dropped, and was never visible.
    pub(super) async fn prepare(&mut self, bring: Bring) -> Result<Prepared<G::Ready>, StageError> {
        let number = self.take_number();
        let digest = bring.release.candidate.digest;
        self.candidate = Some((number, bring.release.clone()));
        let retirement = Retirement::default();
        let own = retirement.of_code();
        let staged = self.guest.stage(&bring.release, number, own.clone()).await?;
        let kind = self.guest.kind(&staged.ready);
        let serving = self.active.as_ref().and_then(|version| version.kind);
        if let (Some(serving), Some(found)) = (serving, kind)
            && serving != found
            && !bring.is_other_kind
            && self.mismatch == Mismatch::Refuse
        {
            return Err(StageError::OtherKind { serving, found });
        }
        self.emit(&bring.cause, staged_event(digest, &staged, bring.build_time));
        // Those who call now will call the next one in a moment. Here, where a bound on the time that
        // callers are held counts for it, too.
        let in_flight = self.handler.active().in_flight();
        self.guest.warm(&staged.ready, in_flight.min(MAX_WARM)).await?;
        Ok(Prepared { bring, number, staged, retirement, own, kind })
    }

    /// Publishes what is staged, if it takes over what it has to, and is well. Callers that are
    /// held already are let go with that.
    pub(super) async fn finish(
        &mut self,
        prepared: Prepared<G::Ready>,
        hold: Option<Hold<'_, G::Ready>>,
    ) -> Result<Swap, StageError> {
        let Prepared { bring, number, staged, retirement, own, kind } = prepared;
        let Bring { release, cause, since, build_time, is_fresh, .. } = bring;
        let Bring { is_lazy, is_proved, way, back_from, .. } = bring;
        let (is_baseline, compile_time) = (staged.tier == Tier::Baseline, staged.compile_time);
        let new = self.guest.keeps(&staged.ready);
        let active = self.handler.active().current();
        let old = active.as_ref().map(|active| {
            active.peek().map_or(Keeps::Nothing, |loaded| self.guest.keeps(loaded.ready()))
        });
        let earlier = self.states.all();
        let (mismatch, has_earlier) = (self.mismatch, !earlier.is_empty());
        let terms = Terms { old, new, is_fresh, mismatch, way, has_earlier };
        let loaded = Loaded::new(staged.ready, staged.lease, own);
        let spare = release.clone().with(Candidate::without_bytes);
        // What an instance keeps would be gone with its code.
        let reload = (new == Keeps::Nothing).then(|| self.reload(spare.clone(), number));
        let digest = release.candidate.digest;
        let generation = Generation::new(number, digest, loaded, retirement.clone(), reload);
        // Before the publication: its first calls may fail. Also where it is not tried itself, for the
        // generation after it.
        let policy = self.handler.policy();
        if !policy.probation.is_zero() {
            generation.tally().observe(policy.probation_status.ranges());
        }
        let judge = self.tries(is_proved).then(|| generation.tally().judge());
        // What is on trial keeps its bytes until the verdict, as its file may change meanwhile.
        let made_of = if judge.is_some() { release.clone() } else { spare };
        let story =
            Story { cause: &cause, since, build_time, compile_time, is_lazy, release: &release };
        let (swap, saved) = self.walk(terms, generation, hold, earlier, &story).await?;

        if is_fresh {
            // What was left behind on purpose does not come back by itself.
            self.states.clear();
        }
        if let (Some(saved), Some(active)) = (saved, &active) {
            self.states.keep(active.serving().generation, saved, release.settings.max_state);
        }
        // The code of very many is in the cache directory, and copies of all would fill the disk.
        let is_kept = !is_lazy;
        let version = Version { number, release: made_of, kind, is_kept, lease: None };
        if let Some(mut before) = self.active.replace(version) {
            self.tell_kinds(number, before.kind, kind, &cause);
            before.lease = active.as_ref().and_then(|it| it.spare());
            if !before.is_kept && self.book.is_confirmed(before.number) {
                self.book.keep(before.release.clone());
            }
            before.release = before.release.with(Candidate::without_bytes);
            self.past.push(before);
        }
        if let Some(from) = back_from {
            // Before the event, so that whoever hears of it finds it, and before the trial, which asks
            // what there is to go back to.
            self.book.rolled_back(from, &cause);
            let kind = EventKind::RolledBack { generation: number, from, why: cause.clone() };
            self.emit(&cause, kind);
        }
        let to_keep = is_kept.then(|| release.clone());
        // What comes again after a worse one is compared with what that one was compared with.
        let before = active.as_deref().filter(|_| way != Way::TakenBack);
        self.begin_trial(number, before, judge, to_keep);
        self.optimizing = is_baseline.then(|| self.optimize(release, number, &retirement));
        Ok(swap)
    }

    /// Walks the protocol to its end; the state of the generation that served comes with the result,
    /// as far as it was saved.
    async fn walk(
        &mut self,
        terms: Terms,
        next: Arc<Generation<G::Ready>>,
        held: Option<Hold<'_, G::Ready>>,
        earlier: Vec<Earlier>,
        story: &Story<'_>,
    ) -> Result<(Swap, Option<Snapshot>), StageError> {
        let (guest, handler) = (Arc::clone(&self.guest), Arc::clone(&self.handler));
        let Some(loaded) = next.peek() else {
            return Err(StageError::Defect { what: "a candidate lost its code" });
        };
        let ready = loaded.ready();
        let limit = handler.policy().hand_over;
        let (mut hold, mut snapshot, mut problem, mut swap) = (held, None, None, None);
        // The generation whose earlier state the candidate has.
        let mut reverted_to = None;
        // A higher limit is there to be used at once, and a lower one is for states to come.
        let before = self.active.as_ref().map_or(0, |version| version.release.settings.max_state);
        let max_state = story.release.settings.max_state.max(before);
        let mut protocol = Protocol::new(terms);
        #[cfg(test)]
        {
            protocol.bug = self.bug;
        }
        let mut step = protocol.begin();
        loop {
            let done = match step {
                Step::Hold => {
                    hold = hold.or_else(|| handler.active().hold());
                    at_rest(&*guest, hold.as_ref(), limit)
                        .await
                        .map_err(|source| StageError::Save { source })
                }
                Step::Save => match hand_over::save(&*guest, hold.as_ref(), max_state).await {
                    Ok(saved) => {
                        snapshot = Some(saved);
                        Ok(Found::Done)
                    }
                    Err(source) => Err(StageError::Save { source }),
                },
                Step::Restore => hand_over::restore(&*guest, ready, snapshot.as_ref()).await,
                Step::RestoreEarlier => {
                    reverted_to = hand_over::restore_any(&*guest, ready, &earlier, limit).await;
                    Ok(if reverted_to.is_some() { Found::Done } else { Found::Failed })
                }
                Step::Start => caught(guest.start(ready)).await.map(|()| Found::Done),
                Step::Probe => {
                    caught(guest.probe(ready, &story.release.settings)).await.map(|()| Found::Done)
                }
                Step::Publish(state) => {
                    let loss = self.loss(terms, state, reverted_to, problem.as_ref());
                    let (next, hold) = (Arc::clone(&next), hold.take());
                    swap = Some(self.publish(next, hold, story, state, loss));
                    Ok(Found::Done)
                }
                Step::Resume => {
                    self.resume(hold.as_ref(), &earlier, story.cause, problem.as_ref()).await;
                    Ok(Found::Done)
                }
                Step::Release => {
                    hold = None;
                    Ok(Found::Done)
                }
                Step::RefuseStateless => {
                    let reason = STATELESS.to_owned();
                    let source = HandOverError::Incompatible { reason };
                    return Err(StageError::Restore { source });
                }
                Step::Published => {
                    let what = "a swap ended without a publication";
                    return swap.map(|it| (it, snapshot)).ok_or(StageError::Defect { what });
                }
                Step::Refused => {
                    let what = "a candidate was refused without a reason";
                    return Err(problem.unwrap_or(StageError::Defect { what }));
                }
            };
            let found = done.unwrap_or_else(|error| {
                let found = found(&error);
                // A later step's failure is what refuses a candidate; a loss keeps its own reason.
                problem = Some(error);
                found
            });
            step = protocol.next(found);
        }
    }

    /// What is told of state that was not carried over a publication, if it was not asked for.
    fn loss(
        &self,
        terms: Terms,
        state: StateOutcome,
        reverted_to: Option<GenerationNumber>,
        problem: Option<&StageError>,
    ) -> Option<Loss> {
        let is_loss = matches!(state, StateOutcome::Reset | StateOutcome::Reverted);
        if !is_loss || terms.is_fresh {
            return None;
        }
        let reason = match (problem, terms.old, terms.new) {
            (Some(problem), ..) => chain(problem),
            (None, Some(Keeps::Memory), _) => {
                "the component before keeps its state in memory alone: it does not export \
                 `wrt:plugin/state`"
                    .to_owned()
            }
            (None, _, Keeps::Nothing | Keeps::Memory) => {
                format!("the new component cannot read the state: {STATELESS}")
            }
            (None, ..) => "a call had ended the instance that had the state".to_owned(),
        };
        Some(Loss { reverted_to, reason })
    }

    /// Gives the active generation another instance in place of the one that its `save` ended.
    async fn resume(
        &mut self,
        hold: Option<&Hold<'_, G::Ready>>,
        earlier: &[Earlier],
        cause: &str,
        problem: Option<&StageError>,
    ) {
        let Some(loaded) = hold.and_then(|hold| hold.generation().peek()) else { return };
        let Some(serving) = self.handler.serving() else { return };
        let limit = self.handler.policy().hand_over;
        let reverted_to =
            hand_over::restore_any(&*self.guest, loaded.ready(), earlier, limit).await;
        if reverted_to.is_none() {
            // A call finds nothing then, and tries it again.
            let _ = caught(self.guest.start(loaded.ready())).await;
        }
        let reason = problem.map(|problem| chain(problem)).unwrap_or_default();
        self.emit(cause, Loss { reverted_to, reason }.event(serving.generation));
    }

    /// Tells of a generation that takes calls of another kind than the one before.
    fn tell_kinds(
        &self,
        generation: GenerationNumber,
        before: Option<&'static str>,
        now: Option<&'static str>,
        cause: &str,
    ) {
        if let (Some(from), Some(to)) = (before, now)
            && from != to
        {
            self.emit(cause, EventKind::KindChanged { generation, from, to });
        }
    }

    fn publish(
        &mut self,
        next: Arc<Generation<G::Ready>>,
        hold: Option<Hold<'_, G::Ready>>,
        story: &Story<'_>,
        state: StateOutcome,
        loss: Option<Loss>,
    ) -> Swap {
        let serving = next.serving();
        let pause = hold.as_ref().map_or(Duration::ZERO, Hold::lasted);
        let started = Instant::now();
        let settings = &story.release.settings;
        let before = self.active.as_ref().map(|version| &version.release.settings);
        let settings_changed = before.map_or_else(Vec::new, |before| settings.changed_from(before));
        self.handler.runs_with(settings);
        let previous = self.handler.active().publish(next);
        if let Some(previous) = &previous {
            // Before the hold ends: nobody enters it again.
            previous.close();
        }
        drop(hold);
        let publish_ms = milliseconds(started.elapsed());
        let from = previous.as_ref().map(|previous| previous.serving().generation);
        self.published_over = self.standing;
        let total = story.since.elapsed();
        self.book.published(Published {
            generation: serving.generation,
            release: story.release,
            standing: self.standing,
            cause: story.cause,
            build: story.build_time,
            compile: story.compile_time,
            total,
            pause,
            state,
            state_reason: loss.as_ref().map(|loss| loss.reason.clone()),
            is_lazy: story.is_lazy,
        });
        self.emit(
            story.cause,
            EventKind::Swapped {
                generation: serving.generation,
                from,
                digest: serving.digest,
                release: story.release.digest,
                settings_changed,
                total_ms: milliseconds(total),
                pause_ms: milliseconds(pause),
                publish_ms,
                state,
            },
        );
        if let Some(loss) = loss {
            self.emit(story.cause, loss.event(serving.generation));
        }
        if let Some(previous) = previous {
            self.drain_aside(previous);
        }
        Swap::Swapped { serving, from, state }
    }

    /// Whether a generation has to prove itself that `is_proved` or not by an earlier trial.
    fn tries(&self, is_proved: bool) -> bool {
        !is_proved && !self.handler.policy().probation.is_zero()
    }

    /// The generation that was just published has to prove itself, if it has a judge and there is
    /// one to go back to.
    fn begin_trial(
        &mut self,
        number: GenerationNumber,
        before: Option<&Generation<G::Ready>>,
        judge: Option<Judge>,
        to_keep: Option<Release>,
    ) {
        let Some(judge) = judge else {
            self.trial = None;
            self.book.confirmed(number, to_keep);
            return;
        };
        let policy = self.handler.policy();
        let can_go_back = self.handler.serving().is_some_and(|_| self.has_past());
        let before = before.map_or_else(Sample::default, |before| before.tally().sample());
        self.baseline = baseline(before, &self.baseline);
        let rules = Rules {
            max_failures: policy.max_failures,
            max_slowdown: policy.max_slowdown.get(),
            before: self.baseline.clone(),
        };
        self.trial = Some(Trial::new(number, policy.probation, rules, can_go_back, judge));
    }

    /// How the code of a generation is made again, by a call that finds it gone.
    fn reload(&self, release: Release, number: GenerationNumber) -> Reload<G::Ready> {
        let guest = Arc::clone(&self.guest);
        Box::new(move |retirement| {
            let (guest, release) = (Arc::clone(&guest), release.clone());
            Box::pin(async move {
                caught(guest.restage(&release, number, retirement, Goal::Soon)).await
            })
        })
    }

    /// Waits until fewer than the allowed number of generations drain. Returns `false` when a newer request
    /// waits that brings as much as this request: a generation that would start to drain at once is not
    /// published. Cancel-safe: only generations that have ended are taken out of the set.
    pub(super) async fn has_place(&mut self, has_source: bool, has_settings: bool) -> bool {
        while self.draining.try_join_next().map(cut).is_some() {}
        while self.draining.len() >= self.max_draining {
            // Cancel-safe: `join_next` takes nothing unless it wins, and the other only looks.
            tokio::select! {
                biased; // A place is better than none.
                Some(drained) = self.draining.join_next() => drop(cut(drained)),
                () = self.mailbox.waiting(|it| it.supersedes(has_source, has_settings)) => {
                    return false;
                }
            }
        }
        true
    }
}

/// What the protocol has to know of an error.
fn found(error: &StageError) -> Found {
    match error {
        // After a panic the instance is gone as well.
        StageError::Save {
            source: HandOverError::Lost { .. } | HandOverError::Panicked { .. },
        } => Found::Lost,
        StageError::Restore { source: HandOverError::Incompatible { .. } } => Found::Incompatible,
        _ => Found::Failed,
    }
}

fn staged_event<R>(digest: Digest, staged: &Staged<R>, build: Option<Duration>) -> EventKind {
    EventKind::Staged {
        digest,
        bytes: staged.bytes,
        build_ms: build.map(milliseconds),
        compile_ms: milliseconds(staged.compile_time),
        compiled_by: staged.compiled_by,
        tier: staged.tier,
    }
}
