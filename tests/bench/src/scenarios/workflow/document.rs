//! The document that goes from plugin to plugin, and what has to become of it.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

/// The numbers of the steps.
pub(super) const STEPS: [u32; 5] = [1, 2, 3, 4, 5];

/// One line of JSON with `n_records`; some of their texts have something to be escaped.
pub(super) fn with_records(n_records: usize) -> Vec<u8> {
    let mut text = r#"{"steps":[],"total":0,"records":["#.to_owned();
    for id in 0..n_records {
        let comma = if id == 0 { "" } else { "," };
        let note = if id % 10 == 0 { r#"said \"later\"\n"# } else { "left at the door" };
        // Writing to a `String` cannot fail.
        let _ = write!(
            text,
            r#"{comma}{{"id":{id},"name":"Customer {id}","email":"customer{id}@mail.example","#
        );
        let (amount, is_paid) = (id * 37 % 10_000, id % 3 == 0);
        let _ = write!(text, r#""note":"{note}","amount":{amount},"is_paid":{is_paid}}}"#);
    }
    (text + "]}").into_bytes()
}

/// What all steps together make of `document`.
pub(super) fn after_all_steps(document: &[u8]) -> Result<Value> {
    let mut value: Value = serde_json::from_slice(document).context("failed to read a document")?;
    let records = value["records"].as_array().into_iter().flatten();
    let sum: u64 = records.filter_map(|record| record["amount"].as_u64()).sum();
    value["steps"] = json!(STEPS);
    value["total"] = json!(sum * STEPS.len() as u64);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn document_has_its_size_and_one_line() {
        let document = with_records(417);
        assert_eq!(document.len() / 1024, 50, "{} bytes", document.len());
        assert!(!document.contains(&b'\n'));
    }

    #[test]
    fn every_step_adds_its_number_and_the_sum() {
        let after = after_all_steps(&with_records(3)).unwrap();
        assert_eq!(after["steps"], json!([1, 2, 3, 4, 5]));
        assert_eq!(after["total"], json!((37 + 74) * 5));
        assert_eq!(after["records"].as_array().map(Vec::len), Some(3));
    }
}
