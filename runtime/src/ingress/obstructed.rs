//! The answer in `dev` when the first build failed or the first component was refused: why, as the
//! client wants to read it.

use http::header::ACCEPT;
use http::{HeaderMap, Response, StatusCode};

use super::body::Body;
use super::reply;
use crate::events::Stage;
use crate::handler::Obstacle;
use crate::id::HandlerName;

/// The forms that the answer has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Html,
    Json,
    Text,
}

impl Form {
    /// The first form that the client names; text for a client that names none.
    fn of(headers: &HeaderMap) -> Self {
        let accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let mut ranges = accepted.flat_map(|accept| accept.split(','));
        let form = ranges.find_map(|range| {
            let media = range.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
            match media.as_str() {
                "text/html" | "application/xhtml+xml" => Some(Self::Html),
                "application/json" => Some(Self::Json),
                "text/plain" => Some(Self::Text),
                other => other.ends_with("+json").then_some(Self::Json),
            }
        });
        form.unwrap_or(Self::Text)
    }
}

/// Answers a request of `handler` with `obstacle`.
pub(super) fn answer(
    handler: &HandlerName,
    obstacle: &Obstacle,
    headers: &HeaderMap,
) -> Response<Body> {
    let status = StatusCode::SERVICE_UNAVAILABLE;
    let text = text(handler, obstacle);
    let mut response = match Form::of(headers) {
        Form::Html => reply::html(status, &text),
        Form::Text => reply::text(status, text),
        Form::Json => {
            let problem = serde_json::json!({
                "title": summary(handler, obstacle.stage),
                "status": status.as_u16(),
                "detail": obstacle.error,
                "handler": handler,
                "stage": obstacle.stage,
                "diagnostics": obstacle.diagnostics,
                "hints": obstacle.hints,
            });
            reply::response(status, "application/problem+json", format!("{problem}\n"))
        }
    };
    reply::come_back(&mut response);
    response
}

fn summary(handler: &HandlerName, stage: Stage) -> String {
    match stage {
        Stage::Build => format!("failed to build `{handler}`"),
        _ => format!("the first component of `{handler}` was refused"),
    }
}

/// The same as the terminal shows it.
fn text(handler: &HandlerName, obstacle: &Obstacle) -> String {
    let said = obstacle.diagnostics.iter().map(|one| format!("{}\n\n", one.text.trim_end()));
    let hints = obstacle.hints.iter().map(|hint| format!("hint: {hint}\n"));
    let text = format!(
        "{}error: {}\n  caused by: {}\nnote: `{handler}` has no active generation yet\n{}",
        said.collect::<String>(),
        summary(handler, obstacle.stage),
        obstacle.error,
        hints.collect::<String>()
    );
    // A terminal may show it, and some of it is a guest's.
    let is_safe = |c: char| c == '\n' || c == '\t' || !c.is_control();
    text.chars()
        .map(|c| if is_safe(c) { c.to_string() } else { c.escape_default().to_string() })
        .collect()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http::header::{CONTENT_TYPE, RETRY_AFTER};
    use http_body_util::BodyExt as _;

    use super::*;
    use crate::events::Diagnostic;

    fn obstacle() -> Obstacle {
        let diagnostic = Diagnostic {
            level: "error".to_owned(),
            file: Some("src/lib.rs".to_owned()),
            line: Some(1),
            column: Some(2),
            text: "error: expected `<T>`, found `<script>`\n".to_owned(),
        };
        Obstacle {
            stage: Stage::Build,
            error: "`cargo build` ended with 101\u{1b}[2J".to_owned(),
            diagnostics: vec![diagnostic],
            hints: vec!["mend it".to_owned()],
        }
    }

    async fn ask(accept: &'static str) -> (String, String) {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static(accept));
        let response = answer(&HandlerName::new("a").unwrap(), &obstacle(), &headers);
        assert_eq!(response.status(), 503);
        assert!(response.headers().contains_key(RETRY_AFTER));
        let kind = response.headers()[CONTENT_TYPE].to_str().unwrap().to_owned();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (kind, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn each_client_reads_it_in_its_own_form_and_nothing_in_it_is_live() {
        let (kind, page) = ask("text/html,application/xhtml+xml,*/*;q=0.8").await;
        assert!(kind.starts_with("text/html"), "{kind}");
        assert!(page.contains("&lt;script&gt;") && !page.contains("<script>"), "{page}");
        for accept in ["*/*", "text/plain", ""] {
            let (kind, text) = ask(accept).await;
            assert!(kind.starts_with("text/plain"), "{kind}");
            assert_eq!(
                text,
                "error: expected `<T>`, found `<script>`\n\nerror: failed to build `a`\n  \
                   caused by: `cargo build` ended with 101\\u{1b}[2J\n\
                 note: `a` has no active generation yet\nhint: mend it\n"
            );
        }
        for accept in ["application/json", "application/problem+json, text/html;q=0.5"] {
            let (kind, json) = ask(accept).await;
            assert_eq!(kind, "application/problem+json");
            let problem: serde_json::Value = serde_json::from_str(&json).unwrap();
            assert_eq!(problem["diagnostics"][0]["line"], 1);
            assert_eq!(
                (&problem["hints"][0], &problem["status"]),
                (&"mend it".into(), &503.into())
            );
        }
    }
}
