//! One step of a workflow: adds its number to a document in JSON, and the sum of its records.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use wrt_guest::{Error, Event, Result, config};

#[derive(Deserialize, Serialize)]
struct Document<'a> {
    steps: Vec<u32>,
    total: u64,
    #[serde(borrow)]
    records: Vec<Record<'a>>,
}

#[derive(Deserialize, Serialize)]
struct Record<'a> {
    id: u32,
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    email: Cow<'a, str>,
    #[serde(borrow)]
    note: Cow<'a, str>,
    amount: u64,
    is_paid: bool,
}

#[wrt_guest::event]
fn handle(mut event: Event) -> Result<Event> {
    let number = config::get("step")?.and_then(|number| number.parse().ok());
    let number = number.ok_or("the key `step` of the configuration is no number")?;
    let data = event.data.take().ok_or_else(|| Error::rejected("event has no data"))?;
    let text = std::str::from_utf8(&data).map_err(|error| Error::rejected(error.to_string()))?;
    let mut document: Document<'_> =
        serde_json::from_str(text).map_err(|error| Error::rejected(error.to_string()))?;
    document.steps.push(number);
    document.total += document.records.iter().map(|record| record.amount).sum::<u64>();
    // Longer by a number or two.
    let mut answer = Vec::with_capacity(data.len() + 32);
    serde_json::to_writer(&mut answer, &document)?;
    Ok(event.with_data("application/json", answer))
}
