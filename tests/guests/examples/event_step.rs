//! One step of a workflow: adds its number to a document in JSON, and the sum of its records.
//!
//! It reads what it needs and patches the text, so all else stays as it came.

use serde::Deserialize;
use serde_json::value::RawValue;
use wrt_guest::{Error, Event, Result, config};

/// The document, as far as the step knows it. What it changes is kept as text, to be found again.
#[derive(Deserialize)]
struct Document<'a> {
    #[serde(borrow)]
    steps: &'a RawValue,
    #[serde(borrow)]
    total: &'a RawValue,
    records: Vec<Record>,
}

#[derive(Deserialize)]
struct Record {
    amount: u64,
}

#[wrt_guest::event]
fn handle(mut event: Event) -> Result<Event> {
    let number = config::get("step")?.and_then(|number| number.parse().ok());
    let number = number.ok_or("the key `step` of the configuration is no number")?;
    let data = event.data.take().ok_or_else(|| Error::rejected("event has no data"))?;
    let text = String::from_utf8(data).map_err(rejected)?;
    let patched = step(&text, number).map_err(rejected)?;
    Ok(event.with_data("application/json", patched))
}

fn rejected(error: impl std::error::Error) -> Error {
    Error::rejected(error.to_string())
}

fn step(text: &str, number: u32) -> serde_json::Result<String> {
    let document: Document<'_> = serde_json::from_str(text)?;
    let mut steps: Vec<u32> = serde_json::from_str(document.steps.get())?;
    steps.push(number);
    let total: u64 = serde_json::from_str(document.total.get())?;
    let sum: u64 = document.records.iter().map(|record| record.amount).sum();

    let mut changes = [
        (document.steps, serde_json::to_string(&steps)?),
        (document.total, serde_json::to_string(&(total + sum))?),
    ];
    // Where a value begins, as each is borrowed from the text.
    let start = |value: &RawValue| value.get().as_ptr() as usize - text.as_ptr() as usize;
    changes.sort_by_key(|(value, _)| start(value));
    // Longer by a number or two.
    let mut patched = String::with_capacity(text.len() + 32);
    let mut done = 0;
    for (value, new) in &changes {
        patched += &text[done..start(value)];
        patched += new;
        done = start(value) + value.get().len();
    }
    Ok(patched + &text[done..])
}
