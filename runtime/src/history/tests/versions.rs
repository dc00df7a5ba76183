//! The list of records by itself.

use proptest::prelude::*;

use super::*;

fn numbers(history: &HandlerHistory) -> Vec<u64> {
    history.records().iter().map(|record| record.generation.get()).collect()
}

/// Tells the records of the component with this digest from others.
fn of(n: u64) -> impl Fn(&Record) -> bool {
    move |record| record.digest == Some(digest(n))
}

#[test]
fn newest_confirmed_version_is_the_one_to_start_with() {
    let mut history =
        history([Outcome::Confirmed, Outcome::Confirmed, Outcome::Published, rejected()]);
    assert_eq!(numbers(&history), [4, 3, 2, 1]);
    assert_eq!(history.confirmed().unwrap().generation, number(2));
    assert!(history.set_outcome(number(3), Outcome::Confirmed));
    assert_eq!(history.confirmed().unwrap().generation, number(3));
    assert!(history.set_outcome(number(3), rolled_back()));
    assert_eq!(history.confirmed().unwrap().generation, number(2));
    assert_eq!(history.find(number(3)).unwrap().outcome, rolled_back());
    assert_eq!(history.last_number(), Some(number(4)));
    assert!(
        !history.set_outcome(number(5), Outcome::Confirmed) && history.find(number(5)).is_none()
    );
}

#[test]
fn empty_history_knows_nothing() {
    let history = HandlerHistory::new();
    assert!(history.confirmed().is_none() && history.last_number().is_none());
    assert!(history.records().is_empty() && !history.is_refused(of(1)));
}

#[test]
fn bytes_are_refused_while_their_newest_version_is_rolled_back() {
    let mut history = history([Outcome::Confirmed, rolled_back()]);
    assert!(history.is_refused(of(2)));
    assert!(!history.is_refused(of(1)) && !history.is_refused(of(9)));
    // Somebody wanted the same bytes once more.
    history.add(Record { digest: Some(digest(2)), ..record(3, Outcome::Published) });
    assert!(!history.is_refused(of(2)));
}

#[test]
fn rejections_push_out_neither_the_way_back_nor_what_may_be_confirmed() {
    let mut history = history([Outcome::Confirmed, Outcome::Published]);
    for generation in 3..300 {
        history.add(record(generation, rejected()));
    }
    assert_eq!(history.records().len(), MAX_RECORDS);
    assert_eq!(numbers(&history)[MAX_RECORDS - 2..], [2, 1]);
    assert!(history.set_outcome(number(2), Outcome::Confirmed));
    assert_eq!(history.confirmed().unwrap().generation, number(2));
}

#[test]
fn serialised_form_is_read_back_and_has_its_names() {
    let history = history([Outcome::Confirmed, rolled_back(), rejected(), Outcome::Published]);
    let json = serde_json::to_value(&history).unwrap();
    let outcomes: Vec<_> = json.as_array().unwrap().iter().map(|it| &it["outcome"]).collect();
    assert_eq!(outcomes, ["published", "rejected", "rolled-back", "confirmed"]);
    assert_eq!(
        (&json[1]["stage"], &json[2]["reason"]),
        (&"check".into(), &"3 of 4 calls failed".into())
    );
    assert_eq!(json[3]["time"], "2023-11-14T22:13:20.124Z");
    assert_eq!(serde_json::from_value::<HandlerHistory>(json).unwrap(), history);
    // What does not apply is left out, and need not be there.
    let text = r#"{"generation":7,"cause":"load","time":"2023-11-14T22:13:20Z","state":"none",
        "outcome":"rejected","stage":"read","error":"failed to read `a.wasm`"}"#;
    let record: Record = serde_json::from_str(text).unwrap();
    assert!(record.digest.is_none() && record.pause_ms.is_none());
    let again = serde_json::to_string(&record).unwrap();
    assert!(!again.contains("null") && !again.contains("digest"), "{again}");
}

#[derive(Debug, Clone)]
enum Step {
    Add(bool),
    /// Confirms, or takes back, a published version of those that are there.
    Judge(prop::sample::Index, bool),
}

proptest! {
    #[test]
    fn bound_holds_and_the_confirmed_version_stays(steps in prop::collection::vec(
        prop_oneof![
            any::<bool>().prop_map(Step::Add),
            (any::<prop::sample::Index>(), any::<bool>()).prop_map(|(i, good)| Step::Judge(i, good)),
        ],
        1..400,
    )) {
        let mut history = HandlerHistory::new();
        let (mut last, mut confirmed, mut published) = (0, None, None);
        for step in steps {
            match step {
                Step::Add(is_published) => {
                    last += 1;
                    let outcome = if is_published { Outcome::Published } else { rejected() };
                    published = if is_published { Some(last) } else { published };
                    history.add(record(last, outcome));
                }
                Step::Judge(i, is_good) => {
                    let open: Vec<_> = history.records().iter()
                        .filter(|it| it.outcome == Outcome::Published)
                        .map(|it| it.generation)
                        .collect();
                    if open.is_empty() { continue }
                    let generation = *i.get(&open);
                    let outcome = if is_good { Outcome::Confirmed } else { rolled_back() };
                    prop_assert!(history.set_outcome(generation, outcome));
                    if is_good {
                        confirmed = confirmed.max(Some(generation.get()));
                    } else if published == Some(generation.get()) {
                        published = None;
                    }
                }
            }
            prop_assert!(history.records().len() <= MAX_RECORDS);
            let found = history.confirmed().map(|record| record.generation.get());
            prop_assert_eq!(found, confirmed);
            if let Some(published) = published {
                prop_assert!(history.find(number(published)).is_some());
            }
            prop_assert_eq!(history.last_number().map(GenerationNumber::get), Some(last).filter(|it| *it > 0));
            prop_assert!(numbers(&history).is_sorted_by(|a, b| a > b));
        }
    }
}
