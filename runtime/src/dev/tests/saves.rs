//! Every way in which editors and tools save a file makes exactly one build, of the final content,
//! and what changes no content makes none.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use super::{Bench, Project, save};
use crate::dev::notice::NoticeKind;
use crate::dev::{Options, Source};

/// Pause of a program that writes in pieces; part of what is simulated.
const PAUSE: Duration = Duration::from_millis(25);

#[tokio::test]
async fn vim_with_backup() {
    let mut project = Project::new();
    let mut bench = project.start().await;
    let file = project.path("src/a.txt");
    // The calls that vim makes with `backup` and `backupcopy=no`.
    fs::write(project.path("src/.a.txt.swp"), "swap").unwrap();
    fs::write(project.path("src/4913"), "").unwrap();
    fs::remove_file(project.path("src/4913")).unwrap();
    fs::rename(&file, project.path("src/a.txt~")).unwrap();
    fs::write(&file, "new\n").unwrap();
    fs::remove_file(project.path("src/.a.txt.swp")).unwrap();
    project.expect_one_build(&mut bench, "new\n").await;
}

#[tokio::test]
async fn write_to_a_temporary_file_and_rename() {
    let mut project = Project::new();
    let mut bench = project.start().await;
    for content in ["new\n", "newer\n", "newest\n"] {
        save(&project.path("src/a.txt"), content);
        bench.built().await;
        assert!(project.output().starts_with(content));
    }
    project.fence(&mut bench).await;
}

#[tokio::test]
async fn truncate_and_write_in_pieces() {
    let mut project = Project::new();
    let mut bench = project.start().await;
    let mut file = File::create(project.path("src/a.txt")).unwrap();
    for piece in ["n", "e", "w", "\n"] {
        tokio::time::sleep(PAUSE).await;
        file.write_all(piece.as_bytes()).unwrap();
    }
    drop(file);
    project.expect_one_build(&mut bench, "new\n").await;
}

#[tokio::test]
async fn overwrite_in_place() {
    let mut project = Project::new();
    let mut bench = project.start().await;
    // As `rsync --inplace` does: neither truncated nor renamed.
    let mut file = File::options().write(true).open(project.path("src/a.txt")).unwrap();
    file.write_all(b"ne").unwrap();
    tokio::time::sleep(PAUSE).await;
    file.write_all(b"w\n").unwrap();
    drop(file);
    project.expect_one_build(&mut bench, "new\n").await;
}

#[tokio::test]
async fn new_content_with_the_old_time_and_size() {
    let mut project = Project::new();
    let mut bench = project.start().await;
    let path = project.path("src/a.txt");
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    fs::write(project.path("fresh"), "new\n").unwrap();
    File::open(project.path("fresh")).unwrap().set_modified(modified).unwrap();
    fs::rename(project.path("fresh"), &path).unwrap();
    project.expect_one_build(&mut bench, "new\n").await;
}

#[tokio::test]
async fn a_symbolic_link_and_its_target() {
    let mut project = Project::new();
    fs::create_dir_all(project.path("elsewhere/deep")).unwrap();
    fs::write(project.path("elsewhere/deep/one.txt"), "1\n").unwrap();
    fs::write(project.path("elsewhere/two.txt"), "2\n").unwrap();
    let link = project.path("src/b.txt");
    symlink("../elsewhere/deep/one.txt", &link).unwrap();
    symlink("../elsewhere/deep", project.path("src/linked")).unwrap();
    let mut bench = project.start().await;
    save(&project.path("elsewhere/deep/one.txt"), "1b\n");
    project.expect_one_build(&mut bench, "old\n1b\n").await;
    // A link cannot be retargeted in place; this is how `ln -sfn` and Kubernetes do it.
    symlink("../elsewhere/two.txt", project.path("src/b.tmp")).unwrap();
    fs::rename(project.path("src/b.tmp"), &link).unwrap();
    bench.built().await;
    assert_eq!(project.output(), "old\n2\n1\n");
    save(&project.path("elsewhere/two.txt"), "2b\n");
    bench.built().await;
    assert_eq!(project.output(), "old\n2b\n1\n");
}

#[tokio::test]
async fn a_git_checkout_of_many_files() {
    let mut project = Project::new();
    let dir = project.dir.path().to_owned();
    let write_all = |text: &str| {
        for n in 0..300 {
            fs::write(dir.join(format!("src/{n:03}.txt")), format!("{text}{n}\n")).unwrap();
        }
    };
    fs::write(dir.join(".gitignore"), "runs\nnew\nout.wasm\n").unwrap();
    git(&dir, &["init", "--quiet", "--initial-branch=one"]);
    write_all("one ");
    git(&dir, &["add", "."]);
    git(&dir, &["commit", "--quiet", "--message=one"]);
    git(&dir, &["checkout", "--quiet", "-b", "two"]);
    write_all("two ");
    git(&dir, &["commit", "--quiet", "--all", "--message=two"]);
    let mut bench = project.start().await;

    git(&dir, &["checkout", "--quiet", "one"]);
    bench.built().await;
    let expect: String = (0..300).map(|n| format!("one {n}\n")).collect();
    assert_eq!(project.output(), expect + "old\n");
    assert_eq!(project.n_runs(), 2);
    project.fence(&mut bench).await;

    // There and back: the content is what it was.
    git(&dir, &["checkout", "--quiet", "two"]);
    git(&dir, &["checkout", "--quiet", "one"]);
    project.fence(&mut bench).await;
}

/// Runs git with nothing but what the test says.
fn git(dir: &Path, args: &[&str]) {
    let status = Command::new("git")
        .current_dir(dir)
        .args(["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "gc.auto=0"])
        .args(args)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null")
        .status()
        .unwrap();
    assert!(status.success(), "{args:?}");
}

#[tokio::test]
async fn touching_and_writing_the_same_bytes_does_nothing() {
    let mut project = Project::new();
    let mut bench = project.start().await;
    let path = project.path("src/a.txt");
    File::open(&path).unwrap().set_modified(SystemTime::now()).unwrap();
    project.fence(&mut bench).await;
    fs::write(&path, "old\n").unwrap();
    project.fence(&mut bench).await;
    save(&path, "old\n");
    project.fence(&mut bench).await;
    fs::write(project.path("src/4913"), "x").unwrap();
    fs::write(project.path("src/.a.txt.swp"), "x").unwrap();
    project.fence(&mut bench).await;
}

#[tokio::test]
async fn ignored_files_and_build_directories_do_nothing() {
    let mut project = Project::new();
    for dir in ["src/target/debug", "src/node_modules"] {
        fs::create_dir_all(project.path(dir)).unwrap();
    }
    fs::write(project.path("src/Cargo.toml"), "").unwrap();
    fs::write(project.path("src/.gitignore"), "*.log\ncache/\n").unwrap();
    let mut bench = project.start().await;
    for name in ["target/x.txt", "target/debug/x.txt", "node_modules/x.txt", "x.log"] {
        fs::write(project.path("src").join(name), "x").unwrap();
        project.fence(&mut bench).await;
    }
    fs::create_dir(project.path("src/cache")).unwrap();
    fs::write(project.path("src/cache/x.txt"), "x").unwrap();
    project.fence(&mut bench).await;
    // What is ignored no longer is an input from then on.
    save(&project.path("src/.gitignore"), "cache/\n");
    let (changed, ..) = bench.built().await;
    assert_eq!(changed, [Path::new("src/.gitignore"), Path::new("src/x.log")]);
}

#[tokio::test]
async fn rules_of_git_end_at_the_repository() {
    for has_repository in [true, false] {
        let project = Project::new();
        let root = project.path("repository");
        fs::create_dir_all(root.join("src")).unwrap();
        fs::write(project.path(".gitignore"), "*\n").unwrap();
        fs::write(root.join("src/a.txt"), "old\n").unwrap();
        if has_repository {
            fs::create_dir(root.join(".git")).unwrap();
        }
        let source = Source::Command {
            command: "cat src/*.txt > ../out.wasm; echo x >> ../runs".to_owned(),
            dir: root.clone(),
            output: "../out.wasm".into(),
            watch: vec![],
        };
        let mut bench = Bench::start(source, Options::default());
        bench.built().await;
        save(&root.join("src/b.txt"), "new\n");
        let (changed, ..) = bench.built().await;
        assert_eq!(changed, [Path::new("src/b.txt")]);
        // Those in it count.
        save(&root.join(".gitignore"), "*.log\n");
        bench.built().await;
        fs::write(root.join("src/x.log"), "x").unwrap();
        save(&root.join("src/b.txt"), "newer\n");
        assert_eq!(bench.built().await.0, [Path::new("src/b.txt")]);
    }
}

#[tokio::test]
async fn a_tracked_file_is_never_ignored() {
    let mut project = Project::new();
    let git = |arguments: &[&str]| {
        let mut git = Command::new("git");
        git.current_dir(project.dir.path()).args(arguments);
        git.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_SYSTEM", "/dev/null");
        git.status().is_ok_and(|status| status.success())
    };
    if !git(&["init", "--quiet"]) {
        return; // Without git nothing is tracked.
    }
    fs::create_dir(project.path("src/deep")).unwrap();
    fs::write(project.path("src/deep/t.txt"), "old\n").unwrap();
    assert!(git(&["add", "src/deep/t.txt"]));
    fs::write(project.path(".gitignore"), "/src/deep\n").unwrap();
    let mut bench = Bench::start(project.source(), Options::default());
    bench.built().await;
    fs::write(project.path("src/deep/untracked.txt"), "x").unwrap();
    save(&project.path("src/deep/t.txt"), "new\n");
    assert_eq!(bench.built().await.0, [Path::new("src/deep/t.txt")]);
    project.fence(&mut bench).await;
}

#[tokio::test]
async fn a_new_directory_is_watched_with_what_is_in_it() {
    let mut project = Project::new();
    let mut bench = project.start().await;
    fs::create_dir_all(project.path("new/deep/er")).unwrap();
    fs::write(project.path("new/deep/er/x.txt"), "x").unwrap();
    fs::rename(project.path("new"), project.path("src/new")).unwrap();
    let (changed, ..) = bench.built().await;
    assert_eq!(changed, [Path::new("src/new/deep/er/x.txt")]);
    save(&project.path("src/new/deep/er/x.txt"), "y");
    let (changed, notice, _) = bench.built().await;
    assert_eq!(changed, [Path::new("src/new/deep/er/x.txt")]);
    assert_eq!(notice.cause, "`src/new/deep/er/x.txt` changed");
    project.fence(&mut bench).await;
}

#[tokio::test]
async fn a_directory_deleted_and_created_again_is_found() {
    let mut project = Project::new();
    let outer = project.path("outer");
    let inner = outer.join("inner");
    fs::create_dir_all(inner.join("src")).unwrap();
    fs::write(inner.join("src/a.txt"), "1").unwrap();
    let source = Source::Command {
        command: "cp src/a.txt ../../out.wasm; echo x >> ../../runs".to_owned(),
        dir: inner.clone(),
        output: "../../out.wasm".into(),
        watch: vec!["src".into()],
    };
    let mut bench = Bench::start(source, Options::default());
    bench.built().await;

    fs::remove_dir_all(&outer).unwrap();
    let (_, notice) = bench.outcome().await;
    let NoticeKind::Unavailable { message, .. } = notice.kind else { panic!("{notice:?}") };
    assert_eq!(message, format!("`{}` does not exist", inner.display()));

    fs::create_dir_all(inner.join("src")).unwrap();
    save(&inner.join("src/a.txt"), "2");
    bench.built().await;
    assert_eq!(project.output(), "2");

    // A rename further up makes no event on what is watched.
    fs::rename(&outer, project.path("aside")).unwrap();
    fs::create_dir_all(inner.join("src")).unwrap();
    fs::write(inner.join("src/a.txt"), "3").unwrap();
    loop {
        let (_, notice) = bench.outcome().await;
        if matches!(notice.kind, NoticeKind::Built(_)) {
            break;
        }
    }
    assert_eq!(project.output(), "3");
    project.n_fences = 10;
    save(&inner.join("src/a.txt"), "4");
    bench.built().await;
    assert_eq!(project.output(), "4");
}

#[tokio::test]
async fn polling_finds_changes_without_events() {
    let project = Project::new();
    let options = Options { poll: true, ..Options::default() };
    let mut bench = Bench::start(project.source(), options);
    bench.built().await;
    save(&project.path("src/a.txt"), "new\n");
    bench.built().await;
    assert_eq!(project.output(), "new\n");
    fs::create_dir(project.path("src/b")).unwrap();
    fs::write(project.path("src/b/c.txt"), "x").unwrap();
    let (changed, ..) = bench.built().await;
    assert_eq!(changed, [Path::new("src/b/c.txt")]);
}
