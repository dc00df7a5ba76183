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
    let line =
        format!("{}  generation {generation} is confirmed; a restart begins with it", args.handler);
    output.done(&line, &answer)?;
    warn(&answer, output);
    Ok(ExitStatus::Success)
}
