//! `wrt apply`: have a running host do what its manifest says now.

use hyper::Method;
use serde_json::Value;

use super::client::Client;
use crate::args::ApplyArgs;
use crate::exit::ExitStatus;
use crate::output::Output;
use crate::settings::ClientSettings;

pub(crate) async fn run(
    settings: ClientSettings,
    args: &ApplyArgs,
    output: &mut Output,
) -> anyhow::Result<ExitStatus> {
    let client = Client::find(&settings).await?;
    let path = if args.dry_run { "/v1/plan?dry-run=true" } else { "/v1/plan" };
    let answer = client.ask(Method::PUT, path, "").await?;
    let empty = serde_json::Map::new();
    let changes = answer["changes"].as_object().unwrap_or(&empty);
    let lines: Vec<_> = changes.iter().map(|(name, change)| line(name, change)).collect();
    let text = match (lines.is_empty(), args.dry_run) {
        (true, _) => "the manifest changes nothing".to_owned(),
        (false, true) => format!("would change:\n{}", lines.join("\n")),
        (false, false) => lines.join("\n"),
    };
    output.done(&text, &answer)?;
    let is_refused = changes.values().any(|change| change["change"] == "refused");
    Ok(if is_refused { ExitStatus::Input } else { ExitStatus::Success })
}

fn line(name: &str, change: &Value) -> String {
    let keys = change["keys"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let keys: Vec<_> = keys.collect();
    match (change["change"].as_str(), change["error"].as_str()) {
        (Some("changed"), _) if keys.is_empty() => format!("{name}  swapped"),
        (Some("changed"), _) => format!("{name}  changed: {}", keys.join(", ")),
        (Some("refused"), Some(error)) => {
            format!("{name}  refused, and goes on as it was: {error}")
        }
        (word, _) => format!("{name}  {}", word.unwrap_or("-")),
    }
}
