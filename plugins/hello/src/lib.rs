//! One page that greets; edit `GREETING`, save, and reload the page.

use wrt_guest::{Html, Result, config};

const GREETING: &str = "Hello from wrt";

#[wrt_guest::http]
async fn handle() -> Result<Html> {
    let greeting = config::get("greeting")?.unwrap_or_else(|| GREETING.into());
    Ok(Html(page(&greeting)))
}

fn page(greeting: &str) -> String {
    let greeting = greeting.replace('&', "&amp;").replace('<', "&lt;");
    format!(
        r#"<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{greeting}</title>
<style>
  body {{ display: grid; place-content: center; min-height: 100vh; margin: 0; gap: 1rem;
         text-align: center; font: 1.1rem/1.5 system-ui, sans-serif;
         color: #1d2433; background: linear-gradient(160deg, #f4f7ff, #dbe6ff); }}
  h1 {{ margin: 0; font-size: clamp(2rem, 8vw, 4rem); }}
  p {{ margin: 0; }}
  code {{ padding: .1em .4em; border-radius: .3em; background: #fffb; }}
</style>
<h1>{greeting}</h1>
<p>Edit <code>src/lib.rs</code>, save, and reload: the next request runs the new code.</p>
</html>
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use wrt_guest::testing::FakeHost;
    use wrt_guest::{Body, Request};

    fn request() -> Request {
        Request::new(Body::empty())
    }

    #[test]
    fn page_greets() {
        let answer = FakeHost::new().call(handle, request());
        assert_eq!(answer.headers["content-type"], "text/html; charset=utf-8");
        assert!(answer.text().contains(&format!("<h1>{GREETING}</h1>")), "{}", answer.text());
    }

    #[test]
    fn greeting_comes_from_the_manifest_and_is_escaped() {
        let host = FakeHost::new().with_config("greeting", "<b>hi</b>");
        let answer = host.call(handle, request());
        assert!(answer.text().contains("<h1>&lt;b>hi&lt;/b></h1>"), "{}", answer.text());
    }
}
