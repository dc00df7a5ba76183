//! The command line as it is typed; its help texts are the documentation of the commands.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use wrt::HandlerName;
use wrt::config::{InvalidListenAddress, ListenAddress};
use wrt::manifest::parse_duration;

/// Said under the list of commands.
const AFTER_HELP: &str = "\
Messages for people go to stderr, data to stdout. Colour is used on a terminal only, and not when
`NO_COLOR` is set.

Exit status:
  0  success, also after SIGINT or SIGTERM, and when a host's output could not be written
  1  the input is at fault: a handler does not build or does not fit, the manifest is bad, or a
     running host refused what it was asked for
  2  bad arguments, no running host, or an unexpected failure";

/// Said under `dev`, `serve` and `build`.
const PATH_HELP: &str = "\
PATH is one of
  a directory with `wrt.toml`    the handlers that this manifest names
  a directory with `Cargo.toml`  one handler at `/`, named after the package
  a `.wasm` file                 one handler at `/`, named after the file";

/// Run WebAssembly handlers and replace them while they run.
#[derive(Debug, Parser)]
#[command(name = "wrt", version, after_help = AFTER_HELP, max_term_width = 100)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Cli {
    /// Whether the command serves until it is told to stop.
    pub(crate) fn is_host(&self) -> bool {
        matches!(&self.command, Command::Dev(_) | Command::Serve(_))
    }

    /// Whether data goes to stdout as JSON lines.
    pub(crate) fn json(&self) -> bool {
        match &self.command {
            Command::Dev(args) => args.project.json,
            Command::Serve(args) => args.project.json,
            Command::Build(args) => args.project.json,
            Command::Cache(args) => args.json,
            Command::Apply(args) => args.client.json,
            Command::Ps(args) => args.client.json,
            Command::Swap(args) => args.client.json,
            Command::Rollback(args) => args.client.json,
            Command::Confirm(args) => args.client.json,
            Command::History(args) => args.client.json,
            Command::Completions(_) => false,
        }
    }
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Build, serve and watch: each save is built and swapped in while requests go on.
    ///
    /// A handler that does not build or does not fit is reported, and the generation before it
    /// keeps serving. Answers carry the header `wrt-generation`, and failures show their details.
    #[command(after_help = PATH_HELP)]
    Dev(DevArgs),
    /// Serve handlers that are built already; needs no compiler of theirs.
    ///
    /// SIGINT and SIGTERM stop accepting, let the calls in flight of each handler finish within its
    /// `drain`, say what was cut, and exit with 0; a second one exits at once. `/readyz` of the control
    /// plane answers 503 from the first one on. SIGHUP does the same when a terminal closes, or when
    /// there is no manifest that could be read again.
    #[command(after_help = PATH_HELP)]
    Serve(ServeArgs),
    /// Build every handler, in parallel, and compile what was built into the cache.
    ///
    /// `wrt serve` then starts without compiling anything.
    #[command(after_help = PATH_HELP)]
    Build(BuildArgs),
    /// List the handlers of a running host.
    ///
    /// The host is a `wrt dev` or `wrt serve` of the same user; without `--admin`, it is the one at
    /// 127.0.0.1:3001, or the only one.
    Ps(PsArgs),
    /// Replace what a handler of a running host runs.
    ///
    /// Prints what became of it. A component that is refused changes nothing.
    Swap(SwapArgs),
    /// Have a running host do what its manifest says now.
    ///
    /// `wrt dev` and `wrt serve --watch` do that by themselves when the manifest is saved, and `wrt serve`
    /// does at SIGHUP. The command exits with 1 where a handler was refused, or the manifest as a whole.
    Apply(ApplyArgs),
    /// Go back to an earlier version of a handler of a running host.
    Rollback(RollbackArgs),
    /// Make what a handler of a running host runs the version that a restart begins with.
    Confirm(ConfirmArgs),
    /// List what became of each version of a handler of a running host.
    History(HistoryArgs),
    /// Look at the directory of compiled code, check it, or make it smaller.
    ///
    /// It is `$XDG_CACHE_HOME/wrt` or `~/.cache/wrt`, unless `cache.dir` of the manifest in PATH
    /// names another. Everything in it can be made again: deleting it costs time and nothing else.
    Cache(CacheArgs),
    /// Print a completion script for a shell.
    ///
    /// For example `wrt completions bash > ~/.local/share/bash-completion/completions/wrt`.
    Completions(CompletionsArgs),
}

/// What `dev`, `serve` and `build` work on, and how they report.
#[derive(Debug, Args)]
pub(crate) struct ProjectArgs {
    /// What to run: a directory or a `.wasm` file; see below.
    #[arg(default_value = ".")]
    pub(crate) path: PathBuf,
    /// Write each event to stdout as one JSON object per line.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Where `dev` and `serve` listen.
#[derive(Debug, Args)]
pub(crate) struct ListenArgs {
    /// Address to listen on, before that of the manifest; `:0` lets the system choose a port
    /// [default: 127.0.0.1:3000].
    #[arg(long, value_name = "HOST:PORT", value_parser = ListenAddress::parse)]
    pub(crate) listen: Option<ListenAddress>,
    /// Address of the control plane that `wrt ps`, `wrt swap` and their like talk to, or `off`
    /// [default: 127.0.0.1:3001, if it is free].
    #[arg(long, value_name = "HOST:PORT", value_parser = AdminAddress::parse)]
    pub(crate) admin: Option<AdminAddress>,
    /// How long connections are still accepted after the first SIGINT or SIGTERM, while `/readyz` of
    /// the control plane answers 503 already, so that a load balancer can notice [default: that of
    /// the manifest, or 0s].
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) pre_stop: Option<Duration>,
}

/// Where the control plane listens, if it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AdminAddress {
    /// Nowhere.
    Off,
    /// There.
    At(ListenAddress),
}

impl AdminAddress {
    fn parse(text: &str) -> Result<Self, InvalidListenAddress> {
        if text == "off" { Ok(Self::Off) } else { ListenAddress::parse(text).map(Self::At) }
    }
}

/// How `dev` and `build` build.
#[derive(Debug, Args)]
pub(crate) struct CompilerArgs {
    /// Build with the release profile: slower to build, faster to run.
    #[arg(long)]
    pub(crate) release: bool,
    /// Do not add the `wasm32-wasip2` target with `rustup` when it is missing.
    #[arg(long)]
    pub(crate) no_add_target: bool,
}

/// `wrt dev`.
#[derive(Debug, Args)]
pub(crate) struct DevArgs {
    #[command(flatten)]
    pub(crate) project: ProjectArgs,
    #[command(flatten)]
    pub(crate) listen: ListenArgs,
    #[command(flatten)]
    pub(crate) compiler: CompilerArgs,
}

/// `wrt serve`.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    pub(crate) project: ProjectArgs,
    #[command(flatten)]
    pub(crate) listen: ListenArgs,
    /// Watch the component files, and swap in each that is replaced.
    #[arg(long)]
    pub(crate) watch: bool,
}

/// `wrt build`.
#[derive(Debug, Args)]
pub(crate) struct BuildArgs {
    #[command(flatten)]
    pub(crate) project: ProjectArgs,
    #[command(flatten)]
    pub(crate) compiler: CompilerArgs,
}

/// Which running host a command talks to, and how it reports.
#[derive(Debug, Args)]
pub(crate) struct ClientArgs {
    /// Address of the host's control plane.
    #[arg(long, value_name = "HOST:PORT", value_parser = ListenAddress::parse)]
    pub(crate) admin: Option<ListenAddress>,
    /// Write data to stdout as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// `wrt ps`.
#[derive(Debug, Args)]
pub(crate) struct PsArgs {
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

/// `wrt swap`.
#[derive(Debug, Args)]
pub(crate) struct SwapArgs {
    /// The handler.
    pub(crate) handler: HandlerName,
    /// The component.
    #[arg(value_name = "FILE.wasm")]
    pub(crate) file: PathBuf,
    /// Begin without the state of the version before.
    #[arg(long)]
    pub(crate) fresh: bool,
    /// Try bytes once more that were rolled back.
    #[arg(long)]
    pub(crate) again: bool,
    /// Let events take the place of HTTP requests, or HTTP requests that of events.
    #[arg(long)]
    pub(crate) as_other_kind: bool,
    /// Why, for the events and the history.
    #[arg(long, value_name = "TEXT")]
    pub(crate) cause: Option<String>,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

/// `wrt rollback`.
#[derive(Debug, Args)]
pub(crate) struct RollbackArgs {
    /// The handler.
    pub(crate) handler: HandlerName,
    /// The version, by its number in `wrt history` [default: the one before].
    #[arg(long, value_name = "N")]
    pub(crate) to: Option<u64>,
    /// Begin without the state of the version that serves.
    #[arg(long)]
    pub(crate) fresh: bool,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

/// `wrt confirm`.
#[derive(Debug, Args)]
pub(crate) struct ConfirmArgs {
    /// The handler.
    pub(crate) handler: HandlerName,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

/// `wrt apply`.
#[derive(Debug, Args)]
pub(crate) struct ApplyArgs {
    /// Only say what would change, as far as no component has to be loaded to tell.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Also try what was rolled back, with the same component and the same settings.
    #[arg(long)]
    pub(crate) again: bool,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

/// `wrt history`.
#[derive(Debug, Args)]
pub(crate) struct HistoryArgs {
    /// The handler.
    pub(crate) handler: HandlerName,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

/// `wrt cache`.
#[derive(Debug, Args)]
pub(crate) struct CacheArgs {
    /// What to do with it.
    #[arg(value_enum)]
    pub(crate) verb: CacheVerb,
    /// A directory whose `wrt.toml` may name another cache directory.
    #[arg(default_value = ".")]
    pub(crate) path: PathBuf,
    /// Write data to stdout as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// The verbs of `wrt cache`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum CacheVerb {
    /// Entries and bytes, by kind.
    Stat,
    /// Each entry, most recently used first.
    Ls,
    /// Read and check each entry, and remove those that are damaged.
    Verify,
    /// Remove everything that was compiled.
    Prune,
}

/// `wrt completions`.
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell.
    pub(crate) shell: clap_complete::Shell,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn parse(line: &str) -> Result<Command, clap::Error> {
        Cli::try_parse_from(line.split_whitespace()).map(|cli| cli.command)
    }

    #[test]
    fn definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn path_is_the_current_directory_unless_given() {
        let Command::Dev(args) = parse("wrt dev").unwrap() else { panic!("expected `dev`") };
        assert_eq!(args.project.path, PathBuf::from("."));
        assert!(args.listen.listen.is_none() && !args.project.json && !args.compiler.release);
        let Command::Serve(args) = parse("wrt serve x.wasm --listen :0 --watch --json").unwrap()
        else {
            panic!("expected `serve`")
        };
        assert_eq!(args.project.path, PathBuf::from("x.wasm"));
        assert_eq!(args.listen.listen.unwrap().as_str(), "127.0.0.1:0");
        assert!(args.watch && args.project.json);
    }

    #[test]
    fn control_plane_is_at_an_address_or_off() {
        let admin = |flags: &str| match parse(&format!("wrt serve {flags}")).unwrap() {
            Command::Serve(args) => args.listen.admin,
            other => panic!("expected `serve`, found {other:?}"),
        };
        assert_eq!(admin(""), None);
        assert_eq!(admin("--admin off"), Some(AdminAddress::Off));
        let address = ListenAddress::parse("127.0.0.1:0").unwrap();
        assert_eq!(admin("--admin :0"), Some(AdminAddress::At(address)));
    }

    #[test]
    fn bad_arguments_are_refused_with_status_2() {
        let check = |line: &str, expect: &str| {
            let error = parse(line).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{line}");
            assert!(error.to_string().contains(expect), "{error}");
        };
        check("wrt dev --lisen :0", "--listen");
        check("wrt dev --listen localhost", "expected an address such as `127.0.0.1:3000`");
        check("wrt serve --release", "--release");
        check("wrt completions klingon", "bash");
        check("wrt serve --admin on", "expected an address such as `127.0.0.1:3000`");
        check("wrt ps --admin off", "expected an address");
        check("wrt swap h", "<FILE.wasm>");
        check("wrt swap a/b x.wasm", "expected a handler name");
        check("wrt rollback h --to first", "--to");
    }

    #[test]
    fn help_names_every_command_and_the_exit_statuses() {
        let help = Cli::command().render_long_help().to_string();
        for expect in [
            "dev ",
            "serve ",
            "build ",
            "ps ",
            "swap ",
            "rollback ",
            "confirm ",
            "history ",
            "cache ",
            "completions ",
            "Exit status",
            "NO_COLOR",
        ] {
            assert!(help.contains(expect), "`{expect}` in {help}");
        }
    }
}
