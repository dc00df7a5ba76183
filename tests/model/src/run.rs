//! Runs the models, which are built apart from everything else.

use std::env;
use std::path::PathBuf;
use std::process::{Command, Stdio};

#[test]
fn every_model_holds() {
    // Asked at run time: clones may share a target directory.
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap()).join("../..");
    let target = root.join(env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()));
    let output = Command::new(env!("CARGO"))
        .current_dir(&root)
        .args(["test", "--package", env!("CARGO_PKG_NAME"), "--lib", "--features", "model"])
        // A directory of its own: nobody waits for its lock, and nobody's build is replaced.
        .arg("--target-dir")
        .arg(target.join("model"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    let is_run = stdout.contains("test result: ok.") && !stdout.contains(" 0 passed");
    assert!(output.status.success() && is_run, "the models failed\n{stderr}\n{stdout}");
}
