//! Streams that nobody reads, that are full or that fail: they cost lines, and nothing else.

use std::fs;
#[cfg(target_os = "linux")]
use std::fs::File;
use std::process::{Command, Stdio};

use rustix::process::Signal;
use wrt_test_support::files::WriteStyle;
use wrt_test_support::guests;

use crate::binary::{Signalled, wrt};
use crate::client::Client;
use crate::project::Project;

/// Calls that fail, each of which is told on both streams in some 300 bytes: several times what a
/// pipe holds, which is 64 KiB.
const CALLS: usize = 1000;

/// A project that serves the guest `trap`, with a second version of it.
fn project() -> (Project, Vec<u8>) {
    let project = Project::empty();
    let component = fs::read(guests::guest("trap").unwrap()).unwrap();
    fs::write(project.path("page.wasm"), &component).unwrap();
    let text =
        "[host]\nexpose_generation = true\n[handler.page]\nsource = 'page.wasm'\nroute = '/*'\n";
    project.write("wrt.toml", text);
    (project, guests::variant(&component, 2))
}

fn serve(project: &Project) -> Command {
    let mut command = wrt(["serve", "--json", "--watch", "--listen", ":0", "--admin", "off"]);
    command.arg(project.root());
    command
}

/// Makes the host say more than anybody takes, and expects that it goes on: it answers, it swaps the
/// file that is replaced, and it ends in order.
fn goes_on(mut server: Signalled, project: &Project, second: &[u8]) {
    let mut client = Client::connect(server.address);
    for _ in 0..CALLS {
        assert_eq!(client.get("/trap").status, 500);
    }
    WriteStyle::Rename.write(&project.path("page.wasm"), second).unwrap();
    while client.get("/").generation() != 2 {}
    server.signal(Signal::TERM);
    assert_eq!(server.wait(), Some(0));
}

#[test]
fn host_goes_on_when_nobody_reads_its_output() {
    let (project, second) = project();
    let mut command = serve(&project);
    command.stdout(Stdio::piped());
    // Both pipes stay open, and nothing is read but the first line.
    goes_on(Signalled::start(command), &project, &second);
}

#[test]
fn host_goes_on_when_nobody_listens_any_more() {
    let (project, second) = project();
    let mut command = serve(&project);
    command.stdout(Stdio::piped());
    let mut server = Signalled::start(command);
    drop(server.stdout());
    server.close_stderr();
    goes_on(server, &project, &second);
}

#[test]
#[cfg(target_os = "linux")]
fn full_disk_is_told_once_and_costs_events_only() {
    let (project, _) = project();
    let mut command = serve(&project);
    command.stdout(full());
    let mut server = Signalled::start(command);
    server.wait_for_line("warning: stdout takes no events: No space left on device");
    let mut client = Client::connect(server.address);
    for _ in 0..10 {
        assert_eq!(client.get("/trap").status, 500);
    }
    assert_eq!(client.get("/").body, "ok");
    server.signal(Signal::TERM);
    let rest = server.rest();
    assert!(!rest.contains("takes no events"), "{rest}");
    assert!(rest.contains("lines for stdout were not written"), "{rest}");
    assert_eq!(server.wait(), Some(0));
}

#[test]
#[cfg(target_os = "linux")]
fn full_disk_under_the_log_stops_nothing() {
    let (project, second) = project();
    let mut command = serve(&project);
    command.stdout(Stdio::piped()).stderr(full());
    goes_on(Signalled::start_by_events(command), &project, &second);
}

#[test]
#[cfg(target_os = "linux")]
fn command_that_ends_reports_a_full_disk() {
    let project = Project::empty();
    project.write("wrt.toml", "[handler.h]\nsource = 'a.wasm'\n");
    let mut command = wrt(["cache", "stat"]);
    command.arg(project.root()).stdout(full()).stderr(Stdio::piped());
    reports_a_full_disk(command);
    let mut version = wrt(["--version"]);
    version.stdout(full()).stderr(Stdio::piped());
    reports_a_full_disk(version);
}

/// Expects that `command` fails since its standard output is on a full disk, and says so.
#[cfg(target_os = "linux")]
#[track_caller]
fn reports_a_full_disk(mut command: Command) {
    let ended = command.output().unwrap();
    assert_eq!(ended.status.code(), Some(2));
    let said = String::from_utf8(ended.stderr).unwrap();
    assert!(said.starts_with("error: failed to write to stdout\n"), "{said}");
    assert!(said.contains("No space left on device"), "{said}");
}

/// A file on a disk without room.
#[cfg(target_os = "linux")]
fn full() -> File {
    File::options().write(true).open("/dev/full").unwrap()
}
