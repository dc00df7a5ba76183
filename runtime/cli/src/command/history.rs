//! `wrt history`: what became of each version of a handler of a running host.

use hyper::Method;
use serde_json::Value;

use super::client::Client;
use crate::args::HistoryArgs;
use crate::exit::ExitStatus;
use crate::output::Output;
use crate::output::milliseconds;
use crate::settings::ClientSettings;

const HEADER: [&str; 9] =
    ["GENERATION", "DIGEST", "OUTCOME", "TIME", "BUILD", "COMPILE", "TOTAL", "CAUSE", "WHY"];

pub(crate) async fn run(
    settings: ClientSettings,
    args: &HistoryArgs,
    output: &mut Output,
) -> anyhow::Result<ExitStatus> {
    let client = Client::find(&settings).await?;
    let path = format!("/v1/handlers/{}/history", args.handler);
    let answer = client.ask(Method::GET, &path, "").await?;
    let records = answer["records"].as_array().into_iter().flatten();
    let rows: Vec<_> = records.map(|record| (row(record), record.clone())).collect();
    if rows.is_empty() {
        output.say(&format!("nothing is recorded of `{}`", args.handler));
    } else {
        output.table(&HEADER, &rows)?;
    }
    Ok(ExitStatus::Success)
}

fn row(record: &Value) -> Vec<String> {
    let text = |name: &str| record[name].as_str().unwrap_or("-").to_owned();
    let took = |name: &str| record[name].as_f64().map_or_else(|| "-".to_owned(), milliseconds);
    let outcome = match record["stage"].as_str() {
        Some(stage) => format!("{} ({stage})", text("outcome")),
        None => text("outcome"),
    };
    // Why it was rolled back, or rejected. Last, as it may be long; the rest of a backtrace is in `--json`.
    let why = record["reason"].as_str().or(record["error"].as_str()).unwrap_or("-");
    let why = why.lines().next().unwrap_or("-").to_owned();
    vec![
        super::number(&record["generation"]),
        super::digest(&record["digest"]),
        outcome,
        text("time"),
        took("build_ms"),
        took("compile_ms"),
        took("total_ms"),
        text("cause"),
        why,
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn why_a_version_ended_stands_at_the_end_of_its_line() {
        let why = |record: Value| row(&record).pop().unwrap();
        let rejected =
            json!({ "outcome": "rejected", "stage": "compile", "error": "no magic\n1: x" });
        assert_eq!(row(&rejected)[2], "rejected (compile)");
        assert_eq!(why(rejected), "no magic");
        assert_eq!(why(json!({ "outcome": "rolled-back", "reason": "it failed" })), "it failed");
        assert_eq!(why(json!({ "outcome": "confirmed" })), "-");
        assert_eq!(row(&json!({})).len(), HEADER.len());
    }
}
