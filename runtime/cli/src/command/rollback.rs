//! `wrt rollback`: go back to an earlier version of a handler of a running host.

use form_urlencoded::Serializer;
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
    let mut query = Serializer::new(String::new());
    if let Some(to) = args.to {
        query.append_pair("to", &to.to_string());
    }
    if args.fresh {
        query.append_pair("fresh", "true");
    }
    let path = format!("/v1/handlers/{}/rollback?{}", args.handler, query.finish());
    let answer = client.ask(Method::POST, &path, "").await?;
    tell(&args.handler, &answer, output)
}
