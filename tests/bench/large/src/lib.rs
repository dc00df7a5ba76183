//! A page made with a script engine, templates, Markdown and regular expressions: a large handler.
//!
//! The page's script computes its numbers, a template makes Markdown of them, the Markdown becomes
//! HTML, and patterns turn addresses in the text into links. Edit `HEADLINE` to change the page.

use std::borrow::Cow;

use minijinja::{Environment, context};
use pulldown_cmark::{Options, Parser, html};
use regex::{Captures, Regex};
use rhai::{Engine, Scope};
use wrt_guest::{Error, Html, Request, Result, query};

const HEADLINE: &str = "A large handler";

/// What the page computes when its caller sends no `script`.
const SCRIPT: &str = "
    let primes = [];
    let number = 2;
    while primes.len < count {
        if primes.all(|prime| number % prime != 0) { primes.push(number); }
        number += 1;
    }
    primes
";

const TEMPLATE: &str = "\
# {{ headline }}

{% for row in rows %}{{ loop.index }}. **{{ row }}** is {{ 'even' if row is even else 'odd' }}
{% else %}Nothing was computed.
{% endfor %}

| what | value |
|---|---:|
| numbers | {{ rows | length }} |
| largest | {{ rows | max }} |
| visitor | {{ visitor | title | escape }} |

Ask <maintainer@example.com> or see https://example.com/manual for more.[^1]

[^1]: ~~Never~~ Rarely out of date.
";

#[wrt_guest::http]
async fn handle(request: Request) -> Result<Html> {
    let script = query(request.uri(), "script");
    let visitor = query(request.uri(), "visitor").unwrap_or_else(|| "someone".to_owned());
    let rows = compute(script.as_deref().unwrap_or(SCRIPT)).map_err(Error::rejected)?;
    Ok(Html(page(&rows, &visitor)?))
}

/// Runs `script`, whose value has to be a list of integers.
fn compute(script: &str) -> std::result::Result<Vec<i64>, String> {
    let mut engine = Engine::new();
    engine.set_max_operations(1_000_000);
    let mut scope = Scope::new();
    scope.push("count", 10_i64);
    let list: rhai::Array =
        engine.eval_with_scope(&mut scope, script).map_err(|error| error.to_string())?;
    list.into_iter().map(|value| value.as_int().map_err(|found| found.to_string())).collect()
}

fn page(rows: &[i64], visitor: &str) -> Result<String> {
    let mut templates = Environment::new();
    templates.add_template("page", TEMPLATE)?;
    let values = context! { headline => HEADLINE, rows => rows.to_vec(), visitor };
    let markdown = templates.get_template("page")?.render(values)?;
    let markdown = with_links(&markdown)?;
    let mut body = String::new();
    html::push_html(&mut body, Parser::new_ext(&markdown, Options::all()));
    Ok(format!("<!doctype html>\n<html lang=\"en\">\n<title>{HEADLINE}</title>\n{body}</html>\n"))
}

/// Makes links of addresses that stand in the text by themselves.
fn with_links(markdown: &str) -> Result<Cow<'_, str>> {
    let address = Regex::new(r"(?i)\bhttps?://[\p{L}\p{N}./_-]+[\p{L}\p{N}/]")?;
    Ok(address.replace_all(markdown, |found: &Captures<'_>| format!("<{}>", &found[0])))
}
