//! Reads `wrt.toml` into plain configuration, and reports everything that is wrong with it at once.
//!
//! Pure but for [`Project::open`]: the environment and files of secrets come in as functions, so
//! the library itself reads neither and a test needs neither.

mod expand;
mod handler;
mod nearest;
mod problem;
mod project;
mod quantity;
mod section;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::de::{DeTable, DeValue};

use crate::config::{HandlerConfig, ListenAddress};
use crate::id::HandlerName;

pub use problem::{ManifestError, Position, Problem};
pub use project::{Project, ProjectError, is_component, library_name};
pub use quantity::{InvalidDuration, InvalidSize, parse_duration, parse_size};

use section::{Reader, Section};

const HOST_KEYS: &[&str] = &[
    "listen",
    "busy_poll",
    "expose_generation",
    "wasi03",
    "max_outgoing",
    "guest_memory",
    "compile_timeout",
    "compile_memory",
    "state_dir",
    "pre_stop",
];

const CACHE_KEYS: &[&str] = &["memory", "disk", "dir"];

/// What a manifest says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Manifest {
    /// `[host]`.
    pub host: HostSection,
    /// `[cache]`.
    pub cache: CacheSection,
    /// `[handler.NAME]`, in the order of the file.
    pub handlers: Vec<HandlerEntry>,
}

/// `[host]`: the process as a whole. An absent key is `None`, so that an argument can come first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HostSection {
    /// Where the data plane listens.
    pub listen: Option<ListenAddress>,
    /// How long threads look for requests after each answer before they sleep.
    pub busy_poll: Option<Duration>,
    /// Whether answers carry the `wrt-generation` header.
    pub expose_generation: Option<bool>,
    /// Whether handlers may use WASI 0.3.
    pub wasi03: Option<bool>,
    /// Outgoing requests that are open at once over all handlers.
    pub max_outgoing: Option<usize>,
    /// Bytes of memory that all guests may use together.
    pub guest_memory: Option<u64>,
    /// Longest time a compilation may take.
    pub compile_timeout: Option<Duration>,
    /// Bytes of memory that the compilation of one function may take.
    pub compile_memory: Option<u64>,
    /// Where the host leaves what outlives it.
    pub state_dir: Option<PathBuf>,
    /// How long connections are still accepted after the host was asked to stop.
    pub pre_stop: Option<Duration>,
}

/// `[cache]`: room for compiled code.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheSection {
    /// Bytes in memory.
    pub memory: Option<u64>,
    /// Bytes in the cache directory; none of it switches the directory off.
    pub disk: Option<u64>,
    /// The cache directory.
    pub dir: Option<PathBuf>,
}

/// `[handler.NAME]`: a handler and where its component comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HandlerEntry {
    /// Everything that is chosen about the handler.
    pub config: HandlerConfig,
    /// Where its component comes from.
    pub source: HandlerSource,
}

/// Where a handler's component comes from; paths start at the manifest's directory.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum HandlerSource {
    /// The directory of a cargo package, or a `.wasm` file.
    Path(PathBuf),
    /// A command that makes the component.
    Command {
        /// The command line, run by the shell in the manifest's directory.
        command: String,
        /// The file that it makes.
        output: PathBuf,
        /// Files and directories whose change makes it run again.
        watch: Vec<PathBuf>,
    },
}

/// What a manifest refers to beyond its own text.
pub struct Surroundings<'a> {
    /// The directory that relative paths start at.
    pub root: &'a Path,
    /// Looks up an environment variable.
    pub env: &'a dyn Fn(&str) -> Option<String>,
    /// Reads a secret's file.
    pub read_file: &'a dyn Fn(&Path) -> io::Result<String>,
}

impl Manifest {
    /// Reads the text of a manifest.
    ///
    /// # Errors
    ///
    /// Every [`Problem`] found, in the order of the text.
    pub fn parse(text: &str, around: &Surroundings<'_>) -> Result<Self, Vec<Problem>> {
        let (document, errors) = DeTable::parse_recoverable(text);
        let mut reader = Reader::new(text, around);
        if !errors.is_empty() {
            for error in &errors {
                let message = format!("not valid TOML: {}", error.message());
                reader.report(error.span().unwrap_or_default(), message, None);
            }
            return Err(reader.into_problems());
        }
        let manifest = read_document(&mut reader, document.get_ref());
        let problems = reader.into_problems();
        if problems.is_empty() { Ok(manifest) } else { Err(problems) }
    }
}

fn read_document(reader: &mut Reader<'_>, document: &DeTable<'_>) -> Manifest {
    let top = Section::new("the manifest", document);
    reader.refuse_unknown(&top, &["host", "cache", "handler"], &[]);
    let mut manifest = Manifest::default();
    if let Some(table) = reader.table(&top, "host") {
        manifest.host = read_host(reader, &Section::new("`[host]`", table));
    }
    if let Some(table) = reader.table(&top, "cache") {
        manifest.cache = read_cache(reader, &Section::new("`[cache]`", table));
    }
    if let Some(table) = reader.table(&top, "handler") {
        manifest.handlers = read_handlers(reader, table);
    }
    // A handler that was refused has its own problem.
    let none = |value: &toml::Spanned<DeValue<'_>>| {
        value.get_ref().as_table().is_some_and(|table| table.is_empty())
    };
    if document.get("handler").is_none_or(none) {
        let hint = "add a section such as `[handler.hello]` with `source = \"plugins/hello\"`";
        reader.report(0..0, "the manifest names no handler".to_owned(), Some(hint.to_owned()));
    }
    manifest
}

fn read_host(reader: &mut Reader<'_>, host: &Section<'_>) -> HostSection {
    let later = [
        ("admin", "leave it out and pass `--admin HOST:PORT`"),
        ("tls", "leave it out and put a proxy that speaks TLS in front"),
    ];
    reader.refuse_unknown(host, HOST_KEYS, &later);
    HostSection {
        listen: reader.parsed(host, "listen", ListenAddress::parse),
        busy_poll: reader.parsed(host, "busy_poll", handler::busy_poll),
        expose_generation: reader.boolean(host, "expose_generation"),
        wasi03: reader.boolean(host, "wasi03"),
        max_outgoing: reader.count(host, "max_outgoing", 1),
        guest_memory: reader.parsed(host, "guest_memory", handler::guest_memory),
        compile_timeout: reader
            .parsed(host, "compile_timeout", |text| handler::timeout("compile_timeout", text)),
        compile_memory: reader.parsed(host, "compile_memory", parse_size),
        state_dir: reader.path(host, "state_dir"),
        pre_stop: reader.parsed(host, "pre_stop", parse_duration),
    }
}

fn read_cache(reader: &mut Reader<'_>, cache: &Section<'_>) -> CacheSection {
    reader.refuse_unknown(cache, CACHE_KEYS, &[]);
    CacheSection {
        memory: reader.parsed(cache, "memory", parse_size),
        disk: reader.parsed(cache, "disk", parse_size),
        dir: reader.path(cache, "dir"),
    }
}

fn read_handlers(reader: &mut Reader<'_>, table: &DeTable<'_>) -> Vec<HandlerEntry> {
    // The table is sorted by name; messages and start-up follow the order of the file.
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    let mut handlers = Vec::new();
    let (mut routes, mut outputs) = (BTreeMap::new(), BTreeMap::new());
    for (key, value) in entries {
        let name = match HandlerName::new(key.get_ref()) {
            Ok(name) => name,
            Err(error) => {
                reader.report(key.span(), error.to_string(), None);
                continue;
            }
        };
        let DeValue::Table(table) = value.get_ref() else {
            reader.expected(&format!("`handler.{name}`"), "a table", value);
            continue;
        };
        let section = Section::new(format!("handler `{name}`"), table);
        let (config, source) = handler::read(reader, &section, name.clone(), key.span());
        if let Some(route) = &config.binding.route
            && let Some(first) = routes.insert(route.clone(), name.clone())
        {
            let message = format!("handlers `{first}` and `{name}` have the same route `{route}`");
            let hint = format!("give `{name}` a route of its own, such as `/{name}/*`");
            reader.report(section.span_of("route"), message, Some(hint));
        }
        if let Some(HandlerSource::Command { command, output, .. }) = &source
            && let Some((first, others)) =
                outputs.insert(output.clone(), (name.clone(), command.clone()))
            // One command for two handlers writes one component for both.
            && others != *command
        {
            let output = output.display();
            let message =
                format!("handlers `{first}` and `{name}` write the same `output` `{output}`");
            let hint = format!("give `{name}` a file of its own, such as `{name}.wasm`");
            reader.report(section.span_of("source"), message, Some(hint));
        }
        handlers.extend(source.map(|source| HandlerEntry { config, source }));
    }
    handlers
}
