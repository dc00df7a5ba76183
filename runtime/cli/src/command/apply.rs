//! `wrt apply`: have a running host do what its manifest says now.

use form_urlencoded::Serializer;
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
    let mut query = Serializer::new(String::new());
    let flags = [("dry-run", args.dry_run), ("again", args.again)];
    for (name, _) in flags.into_iter().filter(|(_, is_set)| *is_set) {
        query.append_pair(name, "true");
    }
    let path = format!("/v1/plan?{}", query.finish());
    let answer = client.ask(Method::PUT, &path, "").await?;
    let empty = serde_json::Map::new();
    let changes = answer["changes"].as_object().unwrap_or(&empty);
    if args.dry_run && !changes.is_empty() {
        output.say("would change:");
    }
    let mut is_refused = false;
    for (name, change) in changes {
        match change["change"].as_str() {
            Some("refused") => {
                is_refused = true;
                refused(name, change, output);
            }
            _ => output.say(&line(name, change)),
        }
    }
    for note in answer["notes"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        output.say(note);
    }
    let last = if changes.is_empty() { "the manifest changes no handler" } else { "" };
    output.done_with(last, &answer)?;
    Ok(if is_refused { ExitStatus::Input } else { ExitStatus::Success })
}

fn line(name: &str, change: &Value) -> String {
    let what = match change["change"].as_str() {
        Some("changed") => match keys(change) {
            keys if keys.is_empty() => "swapped".to_owned(),
            keys => format!("changed: {keys}"),
        },
        Some("superseded") => "left to a newer request".to_owned(),
        word => word.unwrap_or("-").to_owned(),
    };
    let state = super::swap::state_words(change["state"].as_str());
    format!("{name}  {what}{state}")
}

/// Says why a handler was refused, what serves, and what to do.
fn refused(name: &str, change: &Value, output: &mut Output) {
    let error = change["error"].as_str().unwrap_or("-");
    let serves = match change["serving"]["generation"].as_u64() {
        Some(generation) => format!("generation {generation} keeps serving"),
        None => "nothing serves".to_owned(),
    };
    let changed = match keys(change) {
        keys if keys.is_empty() => String::new(),
        keys => format!(", and goes by the new {keys}"),
    };
    let hints = change["hints"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let hints: Vec<_> = hints.map(str::to_owned).collect();
    output.warn(&format!("`{name}` was refused: {error}; {serves}{changed}"), &hints);
}

fn keys(change: &Value) -> String {
    let keys = change["keys"].as_array().into_iter().flatten().filter_map(Value::as_str);
    keys.collect::<Vec<_>>().join(", ")
}
