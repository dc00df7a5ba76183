//! `wrt swap`: replace what a handler of a running host runs.

use anyhow::Context as _;
use form_urlencoded::Serializer;
use hyper::Method;
use serde_json::Value;
use wrt::HandlerName;

use super::client::Client;
use crate::args::SwapArgs;
use crate::exit::{AtFault, ExitStatus};
use crate::output::Output;
use crate::settings::ClientSettings;

pub(crate) async fn run(
    settings: ClientSettings,
    args: &SwapArgs,
    output: &mut Output,
) -> anyhow::Result<ExitStatus> {
    let file = args.file.display();
    let component =
        tokio::fs::read(&args.file).await.with_context(|| format!("failed to read `{file}`"))?;
    let client = Client::find(&settings).await?;
    let cause = args.cause.clone().unwrap_or_else(|| format!("`wrt swap` of `{file}`"));
    let mut query = Serializer::new(String::new());
    query.append_pair("cause", &cause);
    let flags =
        [("fresh", args.fresh), ("again", args.again), ("as-other-kind", args.as_other_kind)];
    for (name, _) in flags.into_iter().filter(|(_, is_set)| *is_set) {
        query.append_pair(name, "true");
    }
    let path = format!("/v1/handlers/{}/swap?{}", args.handler, query.finish());
    let answer = client.ask(Method::POST, &path, component).await?;
    tell(&args.handler, &answer, output)
}

/// Says what became of a swap or a rollback.
///
/// # Errors
///
/// When it was not published.
pub(super) fn tell(
    handler: &HandlerName,
    answer: &Value,
    output: &mut Output,
) -> anyhow::Result<ExitStatus> {
    let serving = &answer["serving"];
    let (number, digest) =
        (super::number(&serving["generation"]), super::digest(&serving["digest"]));
    match answer["outcome"].as_str() {
        Some("swapped") => {
            let from = match answer["from"].as_u64() {
                Some(from) => format!(" in place of generation {from}"),
                None => String::new(),
            };
            let state = state_words(answer["state"].as_str());
            // What could not be taken along, and why.
            let why = answer["state_reason"].as_str();
            let why = why.map_or_else(String::new, |why| format!(" ({why})"));
            let line = format!("{handler}  generation {number} serves {digest}{from}{state}{why}");
            output.done(&line, answer)?;
        }
        Some("unchanged") => {
            let line =
                format!("{handler}  unchanged ({digest}), generation {number} keeps serving");
            output.done(&line, answer)?;
        }
        Some("superseded") => {
            let message = format!("a newer request for `{handler}` came before this was published");
            let note = format!("generation {number} serves now");
            return Err(AtFault::new(message).note(note).into());
        }
        other => anyhow::bail!("expected the outcome of a swap from the host, found {other:?}"),
    }
    warn(answer, output);
    Ok(ExitStatus::Success)
}

/// What became of the state, where there was any.
pub(super) fn state_words(state: Option<&str>) -> &'static str {
    match state {
        Some("carried") => ", with its state",
        Some("migrated") => ", with its state in another shape",
        Some("reverted") => ", with an earlier state: what was gathered since is left out",
        Some("reset") => ", without its state, which begins anew",
        _ => "",
    }
}

/// Tells people the warnings that came with an answer.
pub(super) fn warn(answer: &Value, output: &mut Output) {
    for warning in answer["warnings"].as_array().into_iter().flatten() {
        let hints = warning["hints"].as_array().into_iter().flatten();
        let hints: Vec<_> = hints.filter_map(Value::as_str).map(str::to_owned).collect();
        output.warn(warning["message"].as_str().unwrap_or_default(), &hints);
    }
}
