//! Runs a user's own build command.

use std::path::Path;

use super::capped::Capped;
use super::process;
use super::text::clean;
use super::{BuildFailure, Built, Options};
use crate::events::Diagnostic;

/// Runs `line` in `dir`, which is to write `output`.
///
/// Cancel-safe: dropping the future kills the command and what it started.
pub(super) async fn build(
    line: &str,
    dir: &Path,
    output: &Path,
    options: &Options,
) -> Result<Built, BuildFailure> {
    let mut command = process::command("sh", dir);
    command.args(["-c", line]);
    // Both streams go into one text, as they would on a terminal.
    let mut said = Capped::default();
    let status = process::run(&mut command, |_, piece| said.push(piece))
        .await
        .map_err(|error| BuildFailure::not_started("sh", &error))?;
    let said = said.into_text();
    let rendered = clean(&said, options.color);
    let failed = |message| {
        let failure = BuildFailure::with_output(message, &clean(&said, false));
        BuildFailure { rendered: rendered.clone(), ..failure }
    };
    if !status.success() {
        return Err(failed(format!("`{}` ended with {status}", clean(line, false))));
    }
    let path = dir.join(output);
    if !path.is_file() {
        let mut failure = failed(format!(
            "`{}` ended with success but wrote no `{}`",
            clean(line, false),
            path.display()
        ));
        failure.hints.push("`output` in the manifest names the file that it writes".to_owned());
        return Err(failure);
    }
    // Nobody knows which of its words are warnings.
    let text = clean(&said, false).trim().to_owned();
    let said = Diagnostic { level: "note".to_owned(), file: None, line: None, column: None, text };
    let diagnostics = if said.text.is_empty() { Vec::new() } else { vec![said] };
    Ok(Built { path, build_ms: None, diagnostics, rendered, notes: Vec::new() })
}
