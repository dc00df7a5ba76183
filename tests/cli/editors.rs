//! Each way in which editors and tools save a file makes one swap, to the final content.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use wrt_test_support::files::WriteStyle;
use wrt_test_support::process::ServerProcess;

use crate::binary::{count, start, wait};
use crate::client::Client;
use crate::project::{Project, heading, hello};

/// Pause of a program that writes in pieces; part of what is simulated.
const PAUSE: Duration = Duration::from_millis(25);

/// A project that `wrt dev` serves, and one open connection to it.
struct Session {
    name: &'static str,
    project: Project,
    server: ServerProcess,
    client: Client,
    n_fences: u32,
}

impl Session {
    fn start(name: &'static str) -> Self {
        Self::of(name, Project::hello(name))
    }

    fn of(name: &'static str, project: Project) -> Self {
        let server = start("dev", project.root(), &[]);
        wait(&server, name, "swapped", 0);
        let mut client = Client::connect(server.address());
        assert_eq!(client.get("/").generation(), 1);
        Self { name, project, server, client, n_fences: 0 }
    }

    /// Saves by `save`, and expects one swap, after which answers contain `expected`.
    fn expect_one_swap(&mut self, expected: &str, save: impl FnOnce(&Project)) {
        let (name, from) = (self.name, self.server.n_events());
        save(&self.project);
        let swapped = wait(&self.server, name, "swapped", from);
        let answer = self.client.get("/");
        assert!(answer.body.contains(expected), "expected {expected}, found {answer:?}");
        assert_eq!(Some(answer.generation()), swapped.json["generation"].as_u64());

        // A file that no module names: it is looked at, built, and gives the same bytes. Whatever
        // was still to come of the save comes before that.
        self.n_fences += 1;
        let fence = self.n_fences;
        self.project.save_text("src/fence.rs", &format!("// {fence}\n"));
        wait(&self.server, name, "unchanged", from);
        let events = self.server.events(from);
        let last = events.iter().rfind(|event| event.is("changed")).unwrap();
        assert_eq!(last.json["paths"], serde_json::json!(["src/fence.rs"]), "{events:#?}");
        assert_eq!(count(&self.server, name, "swapped", from), 1, "{events:#?}");
        assert_eq!(count(&self.server, name, "build-failed", from), 0, "{events:#?}");
    }
}

#[test]
fn every_write_style_of_editors_makes_one_swap() {
    let mut session = Session::start("cli-styles");
    let in_pieces = WriteStyle::InPieces { piece: 512, pause: PAUSE };
    for (n, style) in [WriteStyle::Rename, WriteStyle::InPlace, WriteStyle::WithBackup, in_pieces]
        .into_iter()
        .enumerate()
    {
        let greeting = format!("style {n}");
        session.expect_one_swap(&heading(&greeting), |project| {
            style.write(&project.path("src/lib.rs"), hello(Some(&greeting)).as_bytes()).unwrap();
        });
    }
}

#[test]
fn vim_with_backup_makes_one_swap() {
    let mut session = Session::start("cli-vim");
    session.expect_one_swap(&heading("by vim"), |project| {
        let lib = project.path("src/lib.rs");
        let substitute = "%s/Hello from wrt/by vim/";
        let mut vim = Command::new("vim");
        vim.args(["-Nu", "NONE", "-es", "-c", "set backup writebackup backupcopy=no swapfile"])
            .args(["-c", substitute, "-c", "wq"])
            .arg(&lib)
            .stdin(Stdio::null());
        if vim.status().is_ok_and(|status| status.success()) {
            return;
        }
        // Without vim, the calls that it makes.
        fs::write(project.path("src/.lib.rs.swp"), "swap").unwrap();
        fs::write(project.path("src/4913"), "").unwrap();
        fs::remove_file(project.path("src/4913")).unwrap();
        fs::rename(&lib, project.path("src/lib.rs~")).unwrap();
        fs::write(&lib, hello(Some("by vim"))).unwrap();
        fs::remove_file(project.path("src/.lib.rs.swp")).unwrap();
    });
}

#[test]
fn overwriting_in_place_makes_one_swap() {
    let mut session = Session::start("cli-inplace");
    // The same length, so that nothing but the bytes tells the difference.
    session.expect_one_swap(&heading("Hullo from wrt"), |project| {
        let text = hello(Some("Hullo from wrt"));
        let lib = project.path("src/lib.rs");
        fs::write(project.path("new.txt"), &text).unwrap();
        let mut rsync = Command::new("rsync");
        rsync.args(["--inplace", "--no-whole-file", "--ignore-times"]);
        rsync.args([&project.path("new.txt"), &lib]);
        if rsync.status().is_ok_and(|status| status.success()) {
            return;
        }
        // Without rsync, the calls that it makes: neither truncated nor renamed.
        let mut file = File::options().write(true).open(lib).unwrap();
        for piece in text.as_bytes().chunks(700) {
            file.write_all(piece).unwrap();
            thread::sleep(PAUSE);
        }
    });
}

#[test]
fn new_content_with_the_old_time_makes_one_swap() {
    let mut session = Session::start("cli-old-time");
    session.expect_one_swap(&heading("Hallo from wrt"), |project| {
        let lib = project.path("src/lib.rs");
        let fresh = project.path("fresh.txt");
        fs::write(&fresh, hello(Some("Hallo from wrt"))).unwrap();
        let modified = fs::metadata(&lib).unwrap().modified().unwrap();
        File::options().write(true).open(&fresh).unwrap().set_modified(modified).unwrap();
        assert!(Command::new("cp").arg("-p").args([&fresh, &lib]).status().unwrap().success());
        assert_eq!(fs::metadata(&lib).unwrap().modified().unwrap(), modified);
    });
}

#[test]
fn source_behind_a_symbolic_link_makes_one_swap() {
    let project = Project::hello("cli-link");
    let elsewhere = tempfile::tempdir().unwrap();
    let real = elsewhere.path().join("real.rs");
    fs::rename(project.path("src/lib.rs"), &real).unwrap();
    symlink(&real, project.path("src/lib.rs")).unwrap();
    let mut session = Session::of("cli-link", project);
    session.expect_one_swap(&heading("through a link"), |_| {
        WriteStyle::Rename.write(&real, hello(Some("through a link")).as_bytes()).unwrap();
    });
    let other = elsewhere.path().join("other.rs");
    fs::write(&other, hello(Some("another target"))).unwrap();
    session.expect_one_swap(&heading("another target"), |project| {
        symlink(&other, project.path("src/link")).unwrap();
        fs::rename(project.path("src/link"), project.path("src/lib.rs")).unwrap();
    });
}

#[test]
fn checkout_of_300_files_makes_one_swap() {
    /// Enough for a checkout to take longer than the quiet that ends a save.
    const N_FILES: u32 = 300;
    let project = Project::hello("cli-checkout");
    let numbers = || 0..N_FILES;
    let modules: String = numbers().map(|n| format!("mod part{n};\n")).collect();
    let sum: Vec<_> = numbers().map(|n| format!("part{n}::PART")).collect();
    let source = format!(
        "{modules}#[wrt_guest::http]\nfn handle() -> String {{\n    let parts: [u32; {N_FILES}] = \
         [{}];\n    format!(\"sum {{}}.\", parts.iter().sum::<u32>())\n}}\n",
        sum.join(", ")
    );
    project.write("src/lib.rs", &source);
    let write_parts = |root: &Path, part: u32| {
        for n in numbers() {
            let text = format!("pub(crate) const PART: u32 = {part};\n");
            fs::write(root.join(format!("src/part{n}.rs")), text).unwrap();
        }
    };
    write_parts(project.root(), 2);
    project.commit_all();
    project.git(&["checkout", "--quiet", "-b", "two"]);
    write_parts(project.root(), 1);
    project.git(&["commit", "--quiet", "--all", "--message=two"]);

    let mut session = Session::of("cli-checkout", project);
    assert_eq!(session.client.get("/").body, "sum 300.");
    session.expect_one_swap("sum 600.", |project| {
        // The lock file is as cargo made it.
        project.git(&["checkout", "--quiet", "--force", "one"]);
    });
}
