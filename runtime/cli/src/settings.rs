//! Arguments and project, resolved into what a command does: arguments come before the manifest.

use std::path::{Path, PathBuf};
use std::time::Duration;

use wrt::config::ListenAddress;
use wrt::dev::Options;
use wrt::manifest::{HostSection, Manifest, Project, ProjectError};
use wrt::{Digest, RuntimeConfig};

use crate::args::{
    AdminAddress, BuildArgs, CacheArgs, ClientArgs, CompilerArgs, DevArgs, ListenArgs, ProjectArgs,
    ServeArgs,
};

/// The manifest's file name.
const MANIFEST: &str = "wrt.toml";

/// Looks up an environment variable.
pub(crate) type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// How guests are built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BuildSettings {
    /// With the release profile.
    pub(crate) release: bool,
    /// Adding the WebAssembly target where it is missing.
    pub(crate) add_target: bool,
}

impl BuildSettings {
    /// The same as the library takes it.
    pub(crate) fn options(self) -> Options {
        Options { release: self.release, add_target: self.add_target, ..Options::default() }
    }
}

/// Where the control plane listens unless somebody says otherwise: beside the data plane's port.
const ADMIN_PORT: u16 = 3001;

/// The control plane of `wrt dev` and `wrt serve`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AdminSettings {
    /// There is none.
    Off,
    /// There is one at the usual address, if that can be had.
    IfFree(ListenAddress),
    /// There is one at this address, which somebody asked for.
    At(ListenAddress),
}

/// How a command finds a running host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClientSettings {
    /// Its address, if somebody said which.
    pub(crate) admin: Option<ListenAddress>,
    /// The usual one.
    pub(crate) usual: ListenAddress,
    /// Where hosts leave their tokens; `None` where the user has no such place.
    pub(crate) state_dir: Option<PathBuf>,
}

/// What `wrt dev` and `wrt serve` do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostSettings {
    /// What to run.
    pub(crate) project: Project,
    /// Where to listen.
    pub(crate) listen: ListenAddress,
    /// The control plane.
    pub(crate) admin: AdminSettings,
    /// Where the token of the control plane is left; `None` where the user has no such place.
    pub(crate) state_dir: Option<PathBuf>,
    /// The runtime's own settings.
    pub(crate) runtime: RuntimeConfig,
    /// Whether a replaced file is swapped in.
    pub(crate) watch: bool,
    /// How long connections are still accepted after a signal has asked to stop.
    pub(crate) pre_stop: Duration,
    /// The path that the command was given, which is opened again for a plan.
    pub(crate) path: PathBuf,
    /// Whether there is a manifest, which SIGHUP asks to be read again.
    pub(crate) has_manifest: bool,
    /// How to build; `None` serves what is built already.
    pub(crate) build: Option<BuildSettings>,
}

/// Settings of `wrt dev`.
pub(crate) fn dev(args: &DevArgs, env: Env<'_>) -> Result<HostSettings, ProjectError> {
    let project = open(&args.project, env)?;
    // The header is there in `dev` whatever the manifest says: it is how an author sees a swap.
    let runtime = runtime(RuntimeConfig::for_dev(), &project.manifest, env);
    let build = Some(build_settings(&args.compiler));
    Ok(host(project, &args.project, &args.listen, runtime, env, true, build))
}

/// Settings of `wrt serve`.
pub(crate) fn serve(args: &ServeArgs, env: Env<'_>) -> Result<HostSettings, ProjectError> {
    let project = open(&args.project, env);
    let project = project.or_else(|error| without_file(&args.project.path, env, error))?;
    let mut runtime = runtime(RuntimeConfig::default(), &project.manifest, env);
    runtime.expose_generation = project.manifest.host.expose_generation.unwrap_or_default();
    // A developer's host begins with what the sources give; one that serves, with what was confirmed.
    let state_dir = state_dir(&project.manifest.host, env);
    runtime.state_dir = state_dir.map(|dir| project_dir(&dir, &args.project.path));
    Ok(host(project, &args.project, &args.listen, runtime, env, args.watch, None))
}

/// The project of a component file that is missing, or is no file, at this start: where a history of it
/// is kept, the version that was confirmed can be served without the file.
///
/// # Errors
///
/// `error`, why the file was not opened, where there is no history.
fn without_file(path: &Path, env: Env<'_>, error: ProjectError) -> Result<Project, ProjectError> {
    let Ok(project) = Project::from_component(path) else { return Err(error) };
    let state_dir = state_dir(&project.manifest.host, env);
    let is_known = state_dir.is_some_and(|dir| project_dir(&dir, path).is_dir());
    if is_known { Ok(project) } else { Err(error) }
}

/// The project of a running host as it is on the disk now.
pub(crate) fn open_again(settings: &HostSettings, env: Env<'_>) -> Result<Project, ProjectError> {
    if let Some(path) = settings.project.manifest_path.as_ref().filter(|path| path.is_dir()) {
        let source = std::io::ErrorKind::IsADirectory.into();
        return Err(ProjectError::Read { path: path.clone(), source });
    }
    let project = Project::open(&settings.path, env)?;
    // A directory without a manifest may be a package, which is another project.
    if let (Some(path), None) = (&settings.project.manifest_path, &project.manifest_path) {
        let source = std::io::ErrorKind::NotFound.into();
        return Err(ProjectError::Read { path: path.clone(), source });
    }
    project.check_sources()?;
    Ok(project)
}

/// Settings of `wrt build`; the runtime is the one that `serve` would have, so that it finds what
/// is compiled.
pub(crate) fn build(
    args: &BuildArgs,
    env: Env<'_>,
) -> Result<(Project, BuildSettings, RuntimeConfig), ProjectError> {
    let project = open(&args.project, env)?;
    let runtime = runtime(RuntimeConfig::default(), &project.manifest, env);
    Ok((project, build_settings(&args.compiler), runtime))
}

/// Settings of `wrt cache`: the cache directory of the project, or of the user where there is none.
pub(crate) fn cache(args: &CacheArgs, env: Env<'_>) -> Result<RuntimeConfig, ProjectError> {
    Ok(runtime(RuntimeConfig::default(), &manifest_if_there(&args.path, env)?, env))
}

/// Settings of the commands that talk to a running host. A manifest in the current directory may
/// name another place for tokens, as it does for the host.
pub(crate) fn client(args: &ClientArgs, env: Env<'_>) -> Result<ClientSettings, ProjectError> {
    let manifest = manifest_if_there(Path::new("."), env)?;
    let state_dir = state_dir(&manifest.host, env);
    Ok(ClientSettings { admin: args.admin.clone(), usual: usual_admin(), state_dir })
}

fn manifest_if_there(dir: &Path, env: Env<'_>) -> Result<Manifest, ProjectError> {
    if dir.join(MANIFEST).is_file() {
        Ok(Project::open(dir, env)?.manifest)
    } else {
        Ok(Manifest::default())
    }
}

fn host(
    project: Project,
    at: &ProjectArgs,
    args: &ListenArgs,
    runtime: RuntimeConfig,
    env: Env<'_>,
    watch: bool,
    build: Option<BuildSettings>,
) -> HostSettings {
    let section = &project.manifest.host;
    let (listen, state_dir) = (listen(args, section), state_dir(section, env));
    let admin = match &args.admin {
        Some(AdminAddress::Off) => AdminSettings::Off,
        Some(AdminAddress::At(address)) => AdminSettings::At(address.clone()),
        None => AdminSettings::IfFree(usual_admin()),
    };
    let pre_stop = args.pre_stop.or(section.pre_stop).unwrap_or_default();
    let has_manifest = project.manifest_path.is_some();
    HostSettings {
        project,
        listen,
        admin,
        state_dir,
        runtime,
        watch,
        pre_stop,
        path: at.path.clone(),
        has_manifest,
        build,
    }
}

fn usual_admin() -> ListenAddress {
    ListenAddress::loopback(ADMIN_PORT)
}

fn open(args: &ProjectArgs, env: Env<'_>) -> Result<Project, ProjectError> {
    let project = Project::open(&args.path, env)?;
    project.check_sources()?;
    Ok(project)
}

fn build_settings(args: &CompilerArgs) -> BuildSettings {
    BuildSettings { release: args.release, add_target: !args.no_add_target }
}

fn listen(args: &ListenArgs, host: &HostSection) -> ListenAddress {
    args.listen.clone().or_else(|| host.listen.clone()).unwrap_or_default()
}

fn runtime(mut config: RuntimeConfig, manifest: &Manifest, env: Env<'_>) -> RuntimeConfig {
    let cache = &manifest.cache;
    config.wasi03 = manifest.host.wasi03.unwrap_or(config.wasi03);
    config.busy_poll = manifest.host.busy_poll.unwrap_or(config.busy_poll);
    config.max_outgoing = manifest.host.max_outgoing.unwrap_or(config.max_outgoing);
    config.guest_memory = manifest.host.guest_memory.unwrap_or(config.guest_memory);
    config.compile_timeout = manifest.host.compile_timeout.unwrap_or(config.compile_timeout);
    config.compile_memory = manifest.host.compile_memory.unwrap_or(config.compile_memory);
    config.cache_memory = cache.memory.unwrap_or(config.cache_memory);
    config.cache_disk = cache.disk.unwrap_or(config.cache_disk);
    // No room is the way to say that there shall be no directory.
    let has_room = config.cache_disk > 0;
    config.cache_dir = cache.dir.clone().or_else(|| user_cache_dir(env)).filter(|_| has_room);
    config
}

/// Where the user's programs keep what can be made again: `$XDG_CACHE_HOME/wrt`, or `~/.cache/wrt`.
fn user_cache_dir(env: Env<'_>) -> Option<PathBuf> {
    user_dir(env, "XDG_CACHE_HOME", ".cache")
}

/// Where a host leaves what outlives a command: the manifest's directory, `$XDG_STATE_HOME/wrt`, or
/// `~/.local/state/wrt`.
fn state_dir(host: &HostSection, env: Env<'_>) -> Option<PathBuf> {
    host.state_dir.clone().or_else(|| user_dir(env, "XDG_STATE_HOME", ".local/state"))
}

/// Where the history of the project at `path` is kept: one directory for each, below `state_dir`.
fn project_dir(state_dir: &Path, path: &Path) -> PathBuf {
    // By the name of a file, not by what it leads to: a component may be missing at a start, or be a
    // link that leads to another version each time.
    let (dir, name) = match (path.is_dir(), path.parent(), path.file_name()) {
        (false, Some(parent), Some(name)) => (parent, Some(name)),
        _ => (path, None),
    };
    let dir = if dir == Path::new("") { Path::new(".") } else { dir };
    // A path that leads nowhere is told when it is opened.
    let path = std::fs::canonicalize(dir).unwrap_or_else(|_| dir.to_owned());
    let path = name.map_or_else(|| path.clone(), |name| path.join(name));
    let digest = Digest::of(path.as_os_str().as_encoded_bytes());
    state_dir.join("projects").join(digest.short())
}

/// `wrt` in one of the XDG base directories: that of `variable`, or `below` the user's home.
fn user_dir(env: Env<'_>, variable: &str, below: &str) -> Option<PathBuf> {
    // The convention says to ignore relative paths.
    let absolute = |name| env(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || Some(absolute("HOME")?.join(below));
    Some(absolute(variable).or_else(home)?.join("wrt"))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{Cli, Command};

    const MANIFEST: &str = "\
[host]
listen = '127.0.0.1:4000'
wasi03 = true
expose_generation = false
busy_poll = '2ms'
compile_timeout = '9s'
compile_memory = '512MiB'
[cache]
memory = '1MiB'
[handler.a]
source = 'a.wasm'
";

    /// Settings of `command` with `flags` in a project with `manifest`.
    fn resolve(command: &str, flags: &str, manifest: &str) -> HostSettings {
        let temp = tempfile::tempdir().unwrap();
        std::fs::write(temp.path().join("wrt.toml"), manifest).unwrap();
        let path = temp.path().to_str().unwrap();
        let line = ["wrt", command, path].into_iter().chain(flags.split_whitespace());
        match Cli::try_parse_from(line).unwrap().command {
            Command::Dev(args) => dev(&args, &|_| None).unwrap(),
            Command::Serve(args) => serve(&args, &|_| None).unwrap(),
            other => panic!("expected a command that serves, found {other:?}"),
        }
    }

    #[test]
    fn argument_comes_before_manifest_before_default() {
        let bare = "[handler.a]\nsource = 'a.wasm'";
        let listen = |flags, manifest| resolve("serve", flags, manifest).listen.to_string();
        assert_eq!(listen("--listen :5000", MANIFEST), "127.0.0.1:5000");
        assert_eq!(listen("", MANIFEST), "127.0.0.1:4000");
        assert_eq!(listen("", bare), "127.0.0.1:3000");
    }

    #[test]
    fn manifest_reaches_the_runtime() {
        let runtime = resolve("serve", "", MANIFEST).runtime;
        assert_eq!((runtime.wasi03, runtime.cache_memory, runtime.dev), (true, 1 << 20, false));
        assert_eq!((runtime.busy_poll.as_millis(), runtime.compile_timeout.as_secs()), (2, 9));
        assert_eq!(runtime.compile_memory, 512 * 1024 * 1024);
    }

    #[test]
    fn cache_directory_is_the_manifests_or_the_users_or_none() {
        let dir = |manifest: &str, vars: &[(&str, &str)]| {
            let around = wrt::manifest::Surroundings {
                root: "/project".as_ref(),
                env: &|_| None,
                read_file: &|_| unreachable!("there are no secrets"),
            };
            let manifest = format!("{manifest}\n[handler.a]\nsource = 'a.wasm'");
            let manifest = Manifest::parse(&manifest, &around).unwrap();
            let env = |name: &str| {
                let found = vars.iter().find(|(key, _)| *key == name);
                found.map(|(_, value)| (*value).to_owned())
            };
            let dir = runtime(RuntimeConfig::default(), &manifest, &env).cache_dir;
            dir.map(|dir| dir.to_str().unwrap().to_owned())
        };
        let (home, xdg) = (("HOME", "/users/me"), ("XDG_CACHE_HOME", "/var/cache/me"));
        assert_eq!(dir("", &[home]).unwrap(), "/users/me/.cache/wrt");
        assert_eq!(dir("", &[home, xdg]).unwrap(), "/var/cache/me/wrt");
        assert_eq!(
            dir("", &[home, ("XDG_CACHE_HOME", "relative")]).unwrap(),
            "/users/me/.cache/wrt"
        );
        assert_eq!(dir("[cache]\ndir = 'c'", &[home]).unwrap(), "/project/c");
        assert_eq!(dir("[cache]\ndisk = '0B'", &[home]), None);
        assert_eq!(dir("", &[]), None);
    }

    #[test]
    fn control_plane_is_at_the_usual_address_unless_somebody_says_otherwise() {
        let admin = |flags| resolve("serve", flags, MANIFEST).admin;
        assert_eq!(usual_admin().as_str(), "127.0.0.1:3001");
        assert_eq!(admin(""), AdminSettings::IfFree(usual_admin()));
        assert_eq!(admin("--admin 127.0.0.1:3001"), AdminSettings::At(usual_admin()));
        assert_eq!(admin("--admin off"), AdminSettings::Off);
    }

    #[test]
    fn state_directory_is_the_manifests_or_the_users() {
        let home = |name: &str| (name == "HOME").then(|| "/users/me".to_owned());
        let dir = |host: &HostSection| state_dir(host, &home).unwrap();
        assert_eq!(dir(&HostSection::default()), Path::new("/users/me/.local/state/wrt"));
        let with = MANIFEST.replace("[host]", "[host]\nstate_dir = 'state'");
        let dir = resolve("serve", "", &with).state_dir.unwrap();
        assert!(dir.ends_with("state") && dir.is_absolute(), "{dir:?}");
        assert!(state_dir(&HostSection::default(), &|_| None).is_none());
    }

    #[test]
    fn generation_is_exposed_in_dev_and_by_choice_in_serve() {
        let exposed = |command, manifest| resolve(command, "", manifest).runtime.expose_generation;
        assert!(exposed("dev", MANIFEST));
        assert!(!exposed("serve", MANIFEST));
        assert!(exposed("serve", &MANIFEST.replace("= false", "= true")));
    }

    #[test]
    fn only_dev_builds() {
        let dev = resolve("dev", "--no-add-target", MANIFEST);
        assert!(dev.watch);
        assert_eq!(dev.build, Some(BuildSettings { release: false, add_target: false }));
        let serve = resolve("serve", "", MANIFEST);
        assert!(!serve.watch && serve.build.is_none());
        assert!(resolve("serve", "--watch", MANIFEST).watch);
    }
}
