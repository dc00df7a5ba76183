//! `wrt ps`: the handlers of a running host.

use hyper::Method;
use serde_json::Value;

use super::client::Client;
use crate::exit::ExitStatus;
use crate::output::Output;
use crate::settings::ClientSettings;

const HEADER: [&str; 7] =
    ["HANDLER", "GENERATION", "DIGEST", "STATUS", "IN FLIGHT", "INSTANCES", "ROUTE"];

pub(crate) async fn run(
    settings: ClientSettings,
    output: &mut Output,
) -> anyhow::Result<ExitStatus> {
    let client = Client::find(&settings).await?;
    let answer = client.ask(Method::GET, "/v1/handlers", "").await?;
    let handlers = answer["handlers"].as_array().into_iter().flatten();
    let rows: Vec<_> = handlers.map(|handler| (row(handler), handler.clone())).collect();
    output.table(&HEADER, &rows)?;
    Ok(ExitStatus::Success)
}

fn row(handler: &Value) -> Vec<String> {
    let text = |name: &str| handler[name].as_str().unwrap_or("-").to_owned();
    let serving = &handler["serving"];
    let status = if handler["is_confirmed"] == true {
        "confirmed"
    } else if serving.is_object() {
        "published"
    } else if handler["problem"].is_string() {
        "cannot be loaded"
    } else if handler["is_lazy"] == true {
        "waits for a call"
    } else {
        "not ready"
    };
    vec![
        text("name"),
        super::number(&serving["generation"]),
        super::digest(&serving["digest"]),
        status.to_owned(),
        super::number(&handler["in_flight"]),
        text("instances"),
        text("route"),
    ]
}
