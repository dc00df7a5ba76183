//! `wrt confirm`: make what a handler of a running host runs the version to start with.

use hyper::Method;

use super::client::Client;
use super::swap::warn;
use crate::args::ConfirmArgs;
use crate::exit::ExitStatus;
use crate::output::Output;
use crate::settings::ClientSettings;

pub(crate) async fn run(
    settings: ClientSettings,
    args: &ConfirmArgs,
    output: &mut Output,
) -> anyhow::Result<ExitStatus> {
    let client = Client::find(&settings).await?;
    let path = format!("/v1/handlers/{}/confirm", args.handler);
    let answer = client.ask(Method::POST, &path, "").await?;
    let generation = super::number(&answer["serving"]["generation"]);
    let is_kept = answer["is_kept"] == true;
    let restart = match is_kept {
        true => "; a restart begins with it",
        false => " in this process only: a restart does not know of it",
    };
    let line = format!("{}  generation {generation} is confirmed{restart}", args.handler);
    output.done(&line, &answer)?;
    warn(&answer, output);
    // It lasts, or it was for nothing. A host that keeps no history at all promises no more.
    let is_refused = !is_kept && answer["warnings"].is_array();
    Ok(if is_refused { ExitStatus::Input } else { ExitStatus::Success })
}
