//! Settings as a part of a version: changed by a swap, brought back by a rollback and by a start.

use super::*;
use crate::config::{ConfigValue, InstanceMode, Settings};
use crate::events::EventKind;

const LONG: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_secs(5);

fn with_timeout(timeout: Duration) -> Settings {
    Settings { timeout, ..Settings::default() }
}

impl Harness {
    async fn change(&self, settings: Settings) -> Answer {
        self.handle.swap(SwapRequest::settings(settings, "a test asked")).await
    }

    /// The number, the text and the timeout of what serves.
    async fn serves(&self) -> (u64, String, Duration) {
        let number = self.handler.serving().unwrap().generation.get();
        (number, self.answer().await, self.handler.timeout())
    }
}

#[tokio::test]
async fn settings_alone_are_swapped_and_the_component_alone_keeps_them() {
    let mut harness = harness(2);
    let _ = harness.swap("one").await.unwrap();
    assert_eq!(harness.serves().await, (1, "one".to_owned(), LONG));
    let _ = harness.kinds();
    assert_eq!(number(&harness.change(with_timeout(SHORT)).await), Some(2));
    assert_eq!(harness.serves().await, (2, "one".to_owned(), SHORT));
    let changed: Vec<_> = harness
        .kinds()
        .into_iter()
        .filter_map(|kind| match kind {
            EventKind::Swapped { settings_changed, .. } => Some(settings_changed),
            _ => None,
        })
        .collect();
    assert_eq!(changed, [["timeout"]]);
    let again = harness.change(with_timeout(SHORT)).await.unwrap();
    assert!(matches!(again, Swap::Unchanged { serving } if serving.generation.get() == 2));
    assert_eq!(number(&harness.swap("two").await), Some(3));
    assert_eq!(harness.serves().await, (3, "two".to_owned(), SHORT));
}

#[tokio::test]
async fn rollback_brings_the_settings_of_that_version_back() {
    let harness = harness(2);
    let _ = harness.swap("one").await.unwrap();
    let _ = harness.change(with_timeout(SHORT)).await.unwrap();
    let _ = harness.swap("two").await.unwrap();
    let back = async |to: Option<u64>| {
        let request = RollbackRequest::new(to.map(GenerationNumber::new));
        number(&harness.handle.rollback(request).await)
    };
    assert_eq!(back(None).await, Some(4));
    assert_eq!(harness.serves().await, (4, "one".to_owned(), SHORT));
    assert_eq!(back(Some(1)).await, Some(5));
    assert_eq!(harness.serves().await, (5, "one".to_owned(), LONG));
    // The same component with the same settings, as another generation.
    assert_eq!(back(Some(1)).await, None);
}

#[tokio::test]
async fn settings_that_fail_their_trial_go_back_and_do_not_come_again_by_themselves() {
    let harness = harness(2);
    let _ = harness.swap("one").await.unwrap();
    let _ = harness.change(with_timeout(SHORT)).await.unwrap();
    assert_eq!(way_back::fails(&harness).await, "one");
    assert_eq!(harness.serves().await, (3, "one".to_owned(), LONG));
    let refused = harness.change(with_timeout(SHORT)).await.unwrap_err();
    assert!(matches!(refused.source, StageError::RolledBack { .. }), "{refused:?}");
    let again = SwapRequest::settings(with_timeout(SHORT), "a test asked").again();
    assert!(number(&harness.handle.swap(again).await).is_some());
    assert_eq!(harness.handler.timeout(), SHORT);
}

#[tokio::test]
async fn settings_that_cannot_work_change_nothing() {
    let harness = harness(2);
    let nothing = harness.change(with_timeout(SHORT)).await.unwrap_err();
    assert!(matches!(nothing.source, StageError::NothingServes), "{nothing:?}");
    let _ = harness.swap("one").await.unwrap();
    let zero = harness.change(with_timeout(Duration::ZERO)).await.unwrap_err();
    assert!(matches!(zero.source, StageError::Settings { .. }), "{zero:?}");
    let single = Settings { instances: InstanceMode::Singleton, ..Settings::default() };
    let single = harness.change(single).await.unwrap_err();
    assert!(matches!(single.source, StageError::Singleton), "{single:?}");
    assert_eq!(harness.serves().await.1, "one");
    assert_eq!(harness.handler.timeout(), LONG);
}

#[tokio::test]
async fn start_boots_the_confirmed_version_with_its_settings() {
    let dir = tempfile::tempdir().unwrap();
    let store = HistoryStore::open(&dir.path().join("history")).unwrap();
    let first = with_history(2, Some(store.clone()));
    let _ = first.swap("one").await.unwrap();
    let mut settings = with_timeout(SHORT);
    settings.config.insert("greeting".to_owned(), ConfigValue::plain("hi"));
    let _ = first.change(settings.clone()).await.unwrap();
    assert!(first.handle.confirm().await.unwrap().is_some());
    assert_eq!(first.handle.flush().await, None);
    first.stop.remove();
    first.tasks.close();
    first.tasks.wait().await;

    let second = with_history(2, Some(store.clone()));
    let _ = second.handle.boot().await.unwrap();
    assert_eq!(second.serves().await, (3, "one".to_owned(), SHORT));
    assert_eq!(*second.handler.settings(), settings);
    second.stop.remove();
    second.tasks.close();
    second.tasks.wait().await;
    // Settings that cannot be read are not guessed: that version is not there any more.
    let damaged = dir.path().join("history/components").join(format!("{}.json", settings.digest()));
    std::fs::write(&damaged, "{}").unwrap();
    let third = with_history(2, Some(store));
    assert!(third.handle.boot().await.is_err());
    // The first version ran the same component with the settings that are configured.
    let _ = third.swap("two").await.unwrap();
    let request = RollbackRequest::new(Some(GenerationNumber::FIRST));
    let _ = third.handle.rollback(request).await.unwrap();
    let (_, text, timeout) = third.serves().await;
    assert_eq!((text.as_str(), timeout), ("one", LONG));
}

#[tokio::test]
async fn change_of_settings_goes_with_the_component_that_waits() {
    let harness = harness(2);
    let running = harness.swap_aside("slow one");
    harness.until_staging(1).await;
    let component = harness.swap_aside("two");
    tokio::task::yield_now().await;
    let changed =
        harness.handle.swap_aside(SwapRequest::settings(with_timeout(SHORT), "a test asked"));
    harness.go.add_permits(1);
    assert_eq!(number(&running.await.unwrap()), Some(1));
    assert_eq!(component.await.unwrap().unwrap(), Swap::Superseded);
    assert_eq!(number(&changed.await.unwrap()), Some(2));
    assert_eq!(harness.serves().await, (2, "two".to_owned(), SHORT));
}

#[tokio::test]
async fn what_was_swapped_in_over_the_same_file_goes_by_the_settings_of_now() {
    let harness = harness(2);
    let standing = || {
        let request = SwapRequest::new(Source::bytes("one"), "the file was looked at").standing();
        harness.handle.swap(request)
    };
    let _ = standing().await.unwrap();
    let _ = harness.swap("two").await.unwrap();
    assert!(matches!(standing().await, Ok(Swap::Unchanged { .. })));
    harness.handler.configure(&with_timeout(SHORT));
    assert_eq!(number(&standing().await), Some(3));
    assert_eq!(harness.serves().await, (3, "two".to_owned(), SHORT));
    assert!(matches!(standing().await, Ok(Swap::Unchanged { .. })));
}

#[tokio::test]
async fn component_that_ran_with_other_settings_before_is_kept_over_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let store = HistoryStore::open(&dir.path().join("history")).unwrap();
    let first = with_history(2, Some(store.clone()));
    // These settings are kept by nobody: they were changed before the version had proved itself.
    let _ = first.swap("one").await.unwrap();
    let _ = first.change(with_timeout(Duration::from_secs(7))).await.unwrap();
    let _ = first.change(with_timeout(SHORT)).await.unwrap();
    assert!(first.handle.confirm().await.unwrap().is_some());
    assert_eq!(first.handle.flush().await, None);
    ended(first).await;
    let second = with_history(2, Some(store));
    let _ = second.handle.boot().await.unwrap();
    let _ = second.swap("two").await.unwrap();
    assert!(second.handle.confirm().await.unwrap().is_some());
    assert_eq!(second.handle.flush().await, None);
    let request = RollbackRequest::new(Some(GenerationNumber::new(3)));
    let _ = second.handle.rollback(request).await.unwrap();
    let (_, text, timeout) = second.serves().await;
    assert_eq!((text.as_str(), timeout), ("one", SHORT));
}

#[tokio::test]
async fn version_that_ran_as_a_singleton_does_not_come_back_to_a_handler_that_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let store = HistoryStore::open(&dir.path().join("history")).unwrap();
    let single = Settings { instances: InstanceMode::Singleton, ..Settings::default() };
    let first = configured(2, Some(store.clone()), single);
    let _ = first.swap("one").await.unwrap();
    assert!(first.handle.confirm().await.unwrap().is_some());
    assert_eq!(first.handle.flush().await, None);
    ended(first).await;
    let second = with_history(2, Some(store));
    assert!(second.handle.boot().await.is_err());
    let _ = second.swap("two").await.unwrap();
    let request = RollbackRequest::new(Some(GenerationNumber::FIRST));
    let refused = second.handle.rollback(request).await.unwrap_err();
    assert!(matches!(refused.source, StageError::Singleton), "{refused:?}");
    assert_eq!(second.serves().await.1, "two");
}

/// Ends the supervisor of `harness`, as a process does.
async fn ended(harness: Harness) {
    harness.stop.remove();
    harness.tasks.close();
    harness.tasks.wait().await;
}
