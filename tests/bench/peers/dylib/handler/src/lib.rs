//! One page that greets, of the size of the plugin `hello`; an edit changes `GREETING`.

const GREETING: &str = "Hello from a library";

/// The name is what the host looks for in the library.
#[unsafe(no_mangle)]
pub fn page() -> String {
    let greeting = GREETING.replace('&', "&amp;").replace('<', "&lt;");
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
