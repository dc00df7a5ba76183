//! `wrt history`: what became of each version of a handler of a running host.

use hyper::Method;
use serde_json::Value;

use super::client::Client;
use crate::args::HistoryArgs;
use crate::exit::ExitStatus;
use crate::output::Output;
use crate::output::milliseconds;
use crate::settings::ClientSettings;

const HEADER: [&str; 8] =
    ["GENERATION", "DIGEST", "OUTCOME", "TIME", "BUILD", "COMPILE", "TOTAL", "CAUSE"];

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
    // Why it ended as it did stands beside it.
    let outcome = match record["reason"].as_str().or(record["stage"].as_str()) {
        Some(detail) => format!("{} ({detail})", text("outcome")),
        None => text("outcome"),
    };
    vec![
        super::number(&record["generation"]),
        super::digest(&record["digest"]),
        outcome,
        text("time"),
        took("build_ms"),
        took("compile_ms"),
        took("total_ms"),
        text("cause"),
    ]
}
