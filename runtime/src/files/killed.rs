//! Runs one test of this program as a process of its own, which another test can kill.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// What such a test prints when it is about to write.
pub(crate) const WRITING: &str = "writing";

/// Starts `test` with `dir` in the environment `variable`, and waits until it is about to write.
pub(crate) fn spawn<F>(test: &F, variable: &str, dir: &Path) -> Child {
    let this = std::any::type_name_of_val(test);
    // The test harness leaves out the crate's name.
    let (_, name) = this.split_once("::").unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(variable, dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    // Other tests' names are not run, so the line comes or the output ends.
    assert!(lines.map_while(Result::ok).any(|line| line.contains(WRITING)), "it did not start");
    child
}
