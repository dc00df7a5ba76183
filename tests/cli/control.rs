//! A running host under the control of commands: what they print, refuse, and leave behind.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;
use wrt_test_support::guests::{self, Profile};
use wrt_test_support::process::{Ready, ServerProcess};

use crate::binary::{Ended, Signalled, run, wait, wrt};
use crate::client::Client;
use crate::project::Project;

/// A user's state directory, and the commands of that user.
struct User {
    state: TempDir,
}

impl User {
    fn new() -> Self {
        Self { state: tempfile::tempdir().unwrap() }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = wrt(arguments);
        // Away from any manifest, which might name another directory.
        command.env("XDG_STATE_HOME", self.state.path()).current_dir(self.state.path());
        command
    }

    fn run(&self, arguments: &[&str]) -> Ended {
        run(&mut self.command(arguments))
    }

    /// What `arguments --json` prints, a value for each line.
    fn json(&self, arguments: &[&str]) -> Vec<Value> {
        let ended = self.run(&[arguments, &["--json"]].concat());
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Serves a handler `h`; its control plane is where it is told in the end.
    fn serve(&self, project: &Project) -> (ServerProcess, SocketAddr) {
        let mut command = self.command(&["serve", "--json", "--listen", ":0", "--admin", ":0"]);
        command.arg(project.root());
        let server = ServerProcess::start(command, Ready::WRT).unwrap();
        wait(&server, "h", "swapped", 0);
        let line = server.wait_for_stderr("control plane on ").unwrap();
        let address = line.strip_prefix("control plane on http://").unwrap().parse().unwrap();
        (server, address)
    }

    /// The digest of what handler `h` of the only host serves.
    fn digest(&self) -> String {
        self.json(&["ps"])[0]["serving"]["digest"].as_str().unwrap().to_owned()
    }

    /// The files that hosts have left.
    fn files(&self) -> Vec<PathBuf> {
        let files = fs::read_dir(self.state.path().join("wrt/hosts")).into_iter().flatten();
        files.map(|file| file.unwrap().path()).collect()
    }
}

/// A project whose handler `h` is the guest `trap`, with another version beside it.
fn project() -> Project {
    let project = Project::empty();
    let component = fs::read(guests::guest("trap").unwrap()).unwrap();
    fs::write(project.path("a.wasm"), &component).unwrap();
    fs::write(project.path("b.wasm"), guests::variant(&component, 2)).unwrap();
    fs::write(project.path("bad.wasm"), wat::parse_str("(component)").unwrap()).unwrap();
    project.write(
        "wrt.toml",
        "[host]\nexpose_generation = true\n[handler.h]\nsource = 'a.wasm'\nroute = '/h/*'\n",
    );
    project
}

#[test]
fn manifest_is_applied_when_a_command_asks_for_it() {
    let (user, project) = (User::new(), project());
    let (server, _) = user.serve(&project);
    let mut client = Client::connect(server.address());
    let manifest = fs::read_to_string(project.path("wrt.toml")).unwrap();
    let more = "timeout = '7s'\n[handler.more]\nsource = 'b.wasm'\nroute = '/more'\n";
    project.write("wrt.toml", &(manifest.clone() + more));
    let dry = user.run(&["apply", "--dry-run"]);
    assert_eq!((dry.code, &*dry.stdout), (Some(0), ""));
    assert_eq!(dry.stderr, "would change:\nh  changed: timeout\nmore  added\n");
    assert_eq!(client.get("/more").status, 404, "nothing is done");
    let applied = user.run(&["apply"]);
    assert_eq!((applied.code, &*applied.stderr), (Some(0), "h  changed: timeout\nmore  added\n"));
    assert_eq!(client.get("/more").status, 200);
    assert_eq!(user.run(&["apply"]).stderr, "the manifest changes no handler\n");
    let answer = &user.json(&["apply", "--dry-run"])[0];
    assert_eq!(answer["outcome"], "unchanged");

    // A part that is refused, a section that waits for a restart, and a whole manifest.
    let text = manifest.replace("a.wasm", "bad.wasm").replace("/h/*", "/new/*");
    project.write("wrt.toml", &text.replace("[host]\n", "[host]\nbusy_poll = '1ms'\n"));
    let refused = user.run(&["apply"]);
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    for words in [
        "`h` was refused: ",
        "generation 2 keeps serving, and goes by the new route",
        "more  removed\n",
        "`[host]` is read at the start",
    ] {
        assert!(refused.stderr.contains(words), "no `{words}` in {}", refused.stderr);
    }
    assert_eq!(client.get("/new/").status, 200);
    project.write("wrt.toml", "[handler.h]\nsource = 'a.wasm'\nrout = '/'\n");
    let refused = user.run(&["apply"]);
    assert_eq!(refused.code, Some(1), "{}", refused.stdout);
    let said = &refused.stderr;
    assert!(said.contains("rout") && said.contains("`route`"), "{said}");
    assert_eq!(client.get("/new/").status, 200);
    assert!(server.terminate().unwrap().success());
}

#[test]
fn handlers_are_listed_and_swapped_while_they_serve() {
    let (user, project) = (User::new(), project());
    let (server, _) = user.serve(&project);
    let mut client = Client::connect(server.address());
    assert_eq!(client.get("/h/").generation(), 1);

    let ended = user.run(&["ps"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    let [header, row] = ended.stdout.lines().collect::<Vec<_>>()[..] else {
        panic!("expected two lines, found {}", ended.stdout)
    };
    assert!(header.starts_with("HANDLER  GENERATION  DIGEST "), "{header}");
    let cells: Vec<_> = row.split_whitespace().collect();
    assert_eq!((cells[0], cells[1], cells[2].len()), ("h", "1", 12), "{row}");
    assert_eq!(cells[3..], ["confirmed", "0", "fresh", "/h/*"]);

    let from = server.n_events();
    let b = project.path("b.wasm");
    let ended = user.run(&["swap", "h", b.to_str().unwrap(), "--cause", "a better one & more"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), ""), "{}", ended.stderr);
    assert!(ended.stderr.starts_with("h  generation 2 serves "), "{}", ended.stderr);
    assert!(ended.stderr.ends_with(" in place of generation 1\n"), "{}", ended.stderr);
    assert_eq!(wait(&server, "h", "swapped", from).text("cause"), "a better one & more");
    assert_eq!(client.get("/h/").generation(), 2);

    let swap = ["swap", "h", b.to_str().unwrap(), "--fresh"];
    let ended = user.run(&swap);
    assert!(ended.stderr.contains("unchanged"), "{}", ended.stderr);
    assert!(ended.stderr.contains("generation 2 keeps serving"), "{}", ended.stderr);
    let answer = &user.json(&swap)[0];
    assert_eq!(
        (&answer["outcome"], &answer["serving"]["generation"]),
        (&"unchanged".into(), &2.into())
    );
    let status = &user.json(&["ps"])[0];
    assert_eq!((&status["name"], &status["serving"]), (&"h".into(), &answer["serving"]));
    assert_eq!(user.run(&["history", "h"]).code, Some(0));

    let ended = user.run(&["rollback", "h"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stderr.starts_with("h  generation 3 serves "), "{}", ended.stderr);
    assert_eq!(client.get("/h/").generation(), 3);
    let ended = user.run(&["swap", "h", b.to_str().unwrap()]);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("was rolled back"), "{}", ended.stderr);
    assert!(ended.stderr.contains("`wrt swap --again`"), "{}", ended.stderr);
    let ended = user.run(&["confirm", "h"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let history = user.run(&["history", "h"]);
    for outcome in ["confirmed", "rolled-back", "rejected"] {
        assert!(history.stdout.contains(outcome), "{outcome} in {}", history.stdout);
    }
}

#[test]
fn commands_say_what_became_of_the_state() {
    let (user, project) = (User::new(), Project::empty());
    fs::copy(guests::plugin("counter", Profile::Dev).unwrap(), project.path("a.wasm")).unwrap();
    let second = guests::plugin_example("counter", "counter_v2").unwrap();
    let second = second.to_str().unwrap();
    project.write(
        "wrt.toml",
        "[handler.h]\nsource = 'a.wasm'\nroute = '/h/*'\ninstances = 'singleton'\n",
    );
    let (server, _) = user.serve(&project);
    let mut client = Client::connect(server.address());
    for expected in ["1", "2"] {
        assert_eq!(client.post("/h/", "", "").body, expected);
    }
    let run = |arguments: &[&str], words: &str| {
        let ended = user.run(arguments);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert!(ended.stderr.contains(words), "`{words}` in {}", ended.stderr);
    };
    run(&["swap", "h", second], ", with its state\n");
    assert!(client.post("/h/", "", "").body.starts_with("3, "));
    run(&["rollback", "h"], ", with an earlier state: what was gathered since is left out (");
    let history = user.json(&["history", "h"]);
    let reason = history[0]["state_reason"].as_str().unwrap();
    assert!(reason.contains("`shown:u64` is gone"), "{reason}");
    assert_eq!(client.get("/h/").body, "2");

    let again = &user.json(&["swap", "h", second, "--again", "--fresh"])[0];
    assert_eq!((&again["outcome"], &again["state"]), (&"swapped".into(), &"reset".into()));
    assert!(client.post("/h/", "", "").body.starts_with("1, "));
    let ended = user.run(&["rollback", "h"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""), "{}", ended.stderr);
    for words in [
        "failed to go back from generation 4 with its state",
        "`shown:u64` is gone",
        "note: generation 4 keeps serving\nhint: go back without the state: `wrt rollback --fresh`",
    ] {
        assert!(ended.stderr.contains(words), "`{words}` in {}", ended.stderr);
    }
    assert!(client.post("/h/", "", "").body.starts_with("2, "));
    run(&["rollback", "h", "--fresh"], ", without its state, which begins anew");
    assert_eq!(client.get("/h/").body, "0");
}

#[test]
fn component_of_another_kind_comes_in_when_it_is_asked_for() {
    let (user, project) = (User::new(), project());
    let (server, _) = user.serve(&project);
    let events = guests::guest("event_echo").unwrap();
    let swap = ["swap", "h", events.to_str().unwrap()];
    let ended = user.run(&swap);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""));
    assert_eq!(
        ended.stderr,
        "error: failed to stage a new generation of `h`: the component takes events, and the \
         generation that serves takes HTTP requests\n\
         note: generation 1 keeps serving\n\
         hint: check that the component belongs to this handler\n\
         hint: or let it take the other's place: `wrt swap --as-other-kind`\n"
    );
    assert_eq!(Client::connect(server.address()).get("/h/").generation(), 1);
    let ended = user.run(&[&swap[..], &["--as-other-kind"]].concat());
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(wait(&server, "h", "kind-changed", 0).text("to"), "events");
}

#[test]
fn host_that_starts_again_goes_back_to_versions_of_the_one_before() {
    let (user, project) = (User::new(), project());
    let (server, _) = user.serve(&project);
    let b = project.path("b.wasm");
    assert_eq!(user.run(&["swap", "h", b.to_str().unwrap()]).code, Some(0));
    server.terminate().unwrap();
    fs::copy(&b, project.path("a.wasm")).unwrap();
    let (_server, _) = user.serve(&project);
    let answer = &user.json(&["rollback", "h"])[0];
    assert_eq!((&answer["outcome"], &answer["from"]), (&"swapped".into(), &3.into()), "{answer}");
    let history = user.json(&["history", "h"]);
    assert_eq!(history[0]["digest"], history[3]["digest"], "{history:?}");
}

#[test]
fn host_that_starts_again_begins_with_what_was_confirmed() {
    let (user, project) = (User::new(), project());
    let (server, _) = user.serve(&project);
    server.terminate().unwrap();
    // The build that comes next is broken, and the handler serves all the same.
    fs::write(project.path("a.wasm"), "no component").unwrap();
    let (server, _) = user.serve(&project);
    wait(&server, "h", "rejected", 0);
    let mut client = Client::connect(server.address());
    assert_eq!(client.get("/h/").generation(), 2);
    let history = user.json(&["history", "h"]);
    let outcomes: Vec<_> = history.iter().map(|record| record["outcome"].clone()).collect();
    assert_eq!(outcomes, ["rejected", "confirmed", "confirmed"]);
}

#[test]
fn refusal_says_why_what_serves_and_what_to_do() {
    let (user, project) = (User::new(), project());
    let (server, _) = user.serve(&project);
    let bad = project.path("bad.wasm");
    let ended = user.run(&["swap", "h", bad.to_str().unwrap()]);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""));
    assert_eq!(
        ended.stderr,
        "error: failed to stage a new generation of `h`: the component does not fit world \
         `wasi:http/proxy@0.2`: export `wasi:http/incoming-handler@0.2.x` or \
         `wrt:plugin/handler@0.1.0` is missing; it exports nothing\n\
         note: generation 1 keeps serving\n\
         hint: mark the handler with `#[wrt_guest::http]` or `#[wrt_guest::event]`, or export the \
         world by hand\n"
    );
    for command in [&["swap", "x", bad.to_str().unwrap()][..], &["history", "x"], &["confirm", "x"]]
    {
        let ended = user.run(command);
        assert_eq!(ended.code, Some(1), "{}", ended.stderr);
        assert_eq!(ended.stderr, "error: unknown handler `x`\nhint: there are `h`\n");
    }
    let ended = user.run(&["rollback", "h", "--to", "7"]);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("note: generation 1 keeps serving\nhint: "), "{}", ended.stderr);
    let ended = user.run(&["swap", "h", "no/such.wasm"]);
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.starts_with("error: failed to read `no/such.wasm`\n"), "{}", ended.stderr);
    assert_eq!(Client::connect(server.address()).get("/h/").generation(), 1);
}

#[test]
fn component_that_is_too_large_is_told_so_although_it_is_still_being_sent() {
    let (user, project) = (User::new(), project());
    let (_server, _) = user.serve(&project);
    let large = fs::File::create(project.path("large.wasm")).unwrap();
    large.set_len(90 << 20).unwrap();
    let path = project.path("large.wasm");
    for (handler, expected) in [("h", "more than 67108864 bytes"), ("x", "unknown handler `x`")] {
        let ended = user.run(&["swap", handler, path.to_str().unwrap()]);
        assert_eq!(ended.code, Some(1), "{}", ended.stderr);
        assert!(ended.stderr.contains(expected), "{}", ended.stderr);
    }
}

#[test]
fn command_without_a_host_says_how_to_start_one() {
    let user = User::new();
    for command in [&["ps"][..], &["confirm", "h"], &["history", "h", "--json"]] {
        let ended = user.run(command);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""));
        assert_eq!(
            ended.stderr,
            "error: no host of yours is running\nhint: start one with `wrt dev` or `wrt serve`\n"
        );
    }
    let ended = user.run(&["ps", "--admin", "127.0.0.1:9"]);
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.starts_with("error: no host of yours runs at `127.0.0.1:9`\nhint: start"));
}

#[test]
fn host_that_was_killed_is_no_host() {
    let (user, project) = (User::new(), project());
    let (server, address) = user.serve(&project);
    server.kill().unwrap();
    assert_eq!(user.files().len(), 1, "nobody was there to remove it");
    let ended = user.run(&["ps", "--admin", &address.to_string()]);
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.contains("hint: start one with "), "{}", ended.stderr);
    let (_server, _) = user.serve(&project);
    assert_eq!(user.files().len(), 1, "the next host removes it");
    assert_eq!(user.json(&["ps"]).len(), 1);
}

#[test]
fn of_several_hosts_one_has_to_be_named() {
    let (user, project) = (User::new(), project());
    let (_one, first) = user.serve(&project);
    let (_two, second) = user.serve(&project);
    let ended = user.run(&["ps"]);
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.starts_with("error: more than one host of yours is running\nhint: "));
    for address in [first, second] {
        assert!(ended.stderr.contains(&format!("`{address}`")), "{}", ended.stderr);
        assert_eq!(user.json(&["ps", "--admin", &address.to_string()]).len(), 1);
        let by_name = format!("localhost:{}", address.port());
        assert_eq!(user.json(&["ps", "--admin", &by_name]).len(), 1);
    }
}

#[test]
fn token_is_private_and_gone_with_its_host() {
    let (user, project) = (User::new(), project());
    let (server, address) = user.serve(&project);
    let [file] = &user.files()[..] else { panic!("expected one file") };
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(file), mode(file.parent().unwrap())), (0o600, 0o700));
    let left: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    assert_eq!(left["address"], address.to_string());
    let token = left["token"].as_str().unwrap();
    assert!(!server.stderr().contains(token), "the terminal is no place for it");

    let answer = Client::connect(address).get("/healthz");
    assert_eq!(answer.status, 403, "`test` is not a name of this machine");
    assert!(server.terminate().unwrap().success());
    assert!(user.files().is_empty());
}

#[test]
fn manifest_may_keep_the_state_elsewhere() {
    let (user, project) = (User::new(), project());
    project.write(
        "wrt.toml",
        "[host]\nstate_dir = 'state'\n[handler.h]\nsource = 'a.wasm'\nroute = '/'\n",
    );
    let (_server, _) = user.serve(&project);
    assert!(user.files().is_empty());
    assert_eq!(fs::read_dir(project.path("state/hosts")).unwrap().count(), 1);
    assert_eq!(user.run(&["ps"]).code, Some(2));
    let ended = run(user.command(&["ps", "--json"]).current_dir(project.root()));
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}

#[test]
fn address_comes_first_and_the_control_plane_can_be_off() {
    let (user, project) = (User::new(), project());
    let mut command = user.command(&["serve", "--listen", ":0", "--admin", "off"]);
    command.arg(project.root());
    let server = Signalled::start(command);
    assert_eq!(Client::connect(server.address).get("/h/").status, 200);
    assert!(user.files().is_empty());
    server.signal(Signal::TERM);
    assert_eq!(server.end().code(), Some(0));
}

#[test]
fn second_signal_leaves_no_token_behind() {
    let (user, project) = (User::new(), project());
    fs::copy(guests::guest("slow_stream").unwrap(), project.path("a.wasm")).unwrap();
    let mut command = user.command(&["serve", "--listen", ":0", "--admin", ":0"]);
    command.arg(project.root());
    let mut server = Signalled::start(command);
    server.wait_for_line("control plane on ");
    let mut client = Client::connect(server.address);
    // Longer than any test waits.
    client.send("GET", "/h/?chunks=2&ms=600000", "", "");
    assert_eq!(client.head().0, 200);
    server.signal(Signal::TERM);
    server.wait_for_line("stopping");
    assert_eq!(user.json(&["ps"]).len(), 1, "while calls finish, it answers");
    assert_eq!(server.stop_at_once(), Some(0));
    assert!(user.files().is_empty());
}

#[test]
fn open_control_plane_is_announced_loudly() {
    let (user, project) = (User::new(), project());
    let mut command = user.command(&["serve", "--listen", ":0", "--admin", "0.0.0.0:0"]);
    command.arg(project.root());
    let mut server = Signalled::start(command);
    server.wait_for_line("warning: the control plane is open to the network");
    assert_eq!(user.json(&["ps"]).len(), 1, "its user reaches it over loopback");
}

#[test]
fn a_swapped_version_serves_after_a_restart_until_the_file_changes() {
    let (user, project) = (User::new(), project());
    let (server, _) = user.serve(&project);
    let file = user.digest();
    let b = project.path("b.wasm");
    assert_eq!(user.run(&["swap", "h", b.to_str().unwrap()]).code, Some(0));
    let swapped = user.digest();
    assert_ne!(file, swapped);
    server.terminate().unwrap();

    let (server, _) = user.serve(&project);
    // The handler's own file is looked at, too, before this.
    wait(&server, "h", "unchanged", 0);
    assert_eq!(user.digest(), swapped);
    server.terminate().unwrap();

    let third = guests::variant(&fs::read(project.path("a.wasm")).unwrap(), 3);
    fs::write(project.path("a.wasm"), third).unwrap();
    let (server, _) = user.serve(&project);
    let booted = wait(&server, "h", "swapped", 0);
    assert_eq!(booted.text("digest"), swapped);
    wait(&server, "h", "drained", 0);
    let now = user.digest();
    assert!(now != swapped && now != file, "{now}");
}

#[test]
fn a_component_that_is_missing_at_a_restart_is_served_from_the_history() {
    let (user, project) = (User::new(), project());
    let (server, _) = user.serve(&project);
    let digest = user.digest();
    server.terminate().unwrap();
    fs::remove_file(project.path("a.wasm")).unwrap();
    for (watch, is_directory) in [(false, false), (true, false), (false, true), (true, true)] {
        if is_directory && !project.path("a.wasm").exists() {
            fs::create_dir(project.path("a.wasm")).unwrap();
        }
        let mut command = user.command(&["serve", "--json", "--listen", ":0", "--admin", ":0"]);
        command.arg(project.root()).args(watch.then_some("--watch"));
        let server = ServerProcess::start(command, Ready::WRT).unwrap();
        assert_eq!(wait(&server, "h", "swapped", 0).text("digest"), digest);
        assert!(wait(&server, "h", "rejected", 0).text("error").contains("a.wasm"));
        assert_eq!(Client::connect(server.address()).get("/h/").status, 200);
        server.terminate().unwrap();
    }
}

#[test]
fn a_second_host_of_a_project_says_who_has_its_history() {
    let (user, project) = (User::new(), project());
    let (server, admin) = user.serve(&project);
    let (second, second_admin) = user.serve(&project);
    let line = second.wait_for_stderr("is in use by").unwrap();
    assert!(line.contains(&format!("process {}", server.id())), "{line}");
    let b = project.path("b.wasm");
    let swap = |admin: SocketAddr| {
        user.run(&["swap", "h", b.to_str().unwrap(), "--admin", &admin.to_string()])
    };
    let ended = swap(second_admin);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stderr.contains("is not kept for the next start"), "{}", ended.stderr);
    let ended = user.run(&["confirm", "h", "--admin", &second_admin.to_string()]);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("is confirmed in this process only"), "{}", ended.stderr);
    second.terminate().unwrap();
    let ended = swap(admin);
    assert!(!ended.stderr.contains("warning"), "{}", ended.stderr);
    // The lock goes with its process, however that ends.
    server.kill().unwrap();
    let (third, _) = user.serve(&project);
    assert!(!third.stderr().contains("is in use by"), "{}", third.stderr());
}
