//! `wrt rollback`: go back to an earlier version of a handler of a running host.

use hyper::Method;

use super::client::Client;
use super::swap::tell;
use crate::args::RollbackArgs;
use crate::exit::ExitStatus;
use crate::output::Output;
use crate::settings::ClientSettings;

pub(crate) async fn run(
    settings: ClientSettings,
    args: &RollbackArgs,
    output: &mut Output,
) -> anyhow::Result<ExitStatus> {
    let client = Client::find(&settings).await?;
    let to = args.to.map(|to| format!("?to={to}")).unwrap_or_default();
    let path = format!("/v1/handlers/{}/rollback{to}", args.handler);
    let answer = client.ask(Method::POST, &path, "").await?;
    tell(&args.handler, &answer, output)
}
