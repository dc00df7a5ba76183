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
    for (_, handler) in &rows {
        if let (Some(name), Some(problem)) = (handler["name"].as_str(), handler["problem"].as_str())
        {
            output.warn(&format!("`{name}` cannot be loaded: {problem}"), &[]);
        }
    }
    Ok(ExitStatus::Success)
}

fn row(handler: &Value) -> Vec<String> {
    let text = |name: &str| handler[name].as_str().unwrap_or("-").to_owned();
    let serving = &handler["serving"];
    let status = match handler["verdict"].as_str() {
        Some(verdict) => verdict,
        None if serving.is_object() => "published",
        None if handler["problem"].is_string() => "cannot be loaded",
        None if handler["is_lazy"] == true => "waits for a call",
        None => "not ready",
    };
    // Why it was rolled back is in `wrt history`.
    let status = match handler["rolled_back"]["generation"].as_u64() {
        Some(generation) => format!("{status}, {generation} was rolled back"),
        None => status.to_owned(),
    };
    vec![
        text("name"),
        super::number(&serving["generation"]),
        super::digest(&serving["digest"]),
        status,
        super::number(&handler["in_flight"]),
        text("instances"),
        text("route"),
    ]
}
