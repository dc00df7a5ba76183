//! Reads one `[handler.NAME]` section.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::section::{Reader, Section, to_path, what};
use super::{HandlerSource, parse_duration, parse_size};
use crate::config::{
    Allow, ConfigValue, EventTypePattern, HandlerConfig, HttpOrigin, InstanceMode, Route, Slowdown,
    StatusSet, check_busy_poll, check_guest_memory, check_memory, check_probe, check_state,
    check_timeout,
};
use crate::id::HandlerName;

pub(super) const KEYS: &[&str] = &[
    "source",
    "route",
    "types",
    "instances",
    "timeout",
    "memory",
    "concurrency",
    "outgoing",
    "queue",
    "queue_timeout",
    "drain",
    "hand_over",
    "max_state",
    "probe",
    "probation",
    "max_failures",
    "probation_status",
    "max_slowdown",
    "preload",
    "config",
    "allow",
];

/// The section's configuration, and its source unless that was refused.
pub(super) fn read(
    reader: &mut Reader<'_>,
    section: &Section<'_>,
    name: HandlerName,
    at: Range<usize>,
) -> (HandlerConfig, Option<HandlerSource>) {
    reader.refuse_unknown(section, KEYS, &[]);
    let mut config = HandlerConfig::new(name);
    config.binding.route = reader.parsed(section, "route", Route::parse);
    config.binding.types = reader.list(section, "types", EventTypePattern::parse);
    set(&mut config.settings.instances, reader.parsed(section, "instances", instances));
    set(
        &mut config.settings.timeout,
        reader.parsed(section, "timeout", |text| timeout("timeout", text)),
    );
    set(&mut config.settings.memory, reader.parsed(section, "memory", memory));
    set(&mut config.policy.concurrency, reader.count(section, "concurrency", 1));
    set(&mut config.policy.outgoing, reader.count(section, "outgoing", 1));
    // A queue of none is a choice: refuse at once instead of waiting.
    set(&mut config.policy.queue, reader.count(section, "queue", 0));
    set(&mut config.policy.queue_timeout, reader.parsed(section, "queue_timeout", parse_duration));
    set(&mut config.policy.drain, reader.parsed(section, "drain", parse_duration));
    let hand_over = |text: &str| timeout("hand_over", text);
    set(&mut config.policy.hand_over, reader.parsed(section, "hand_over", hand_over));
    set(&mut config.settings.max_state, reader.parsed(section, "max_state", max_state));
    config.settings.probe = reader.parsed(section, "probe", probe);
    set(&mut config.policy.probation, reader.parsed(section, "probation", parse_duration));
    let max_failures = reader.count(section, "max_failures", 1);
    // A count of calls fits 64 bits wherever wrt runs.
    set(&mut config.policy.max_failures, max_failures.map(|it| it as u64));
    let statuses = reader.parsed(section, "probation_status", str::parse::<StatusSet>);
    set(&mut config.policy.probation_status, statuses);
    if let Some(times) = reader.number(section, "max_slowdown") {
        match Slowdown::new(times) {
            Ok(times) => config.policy.max_slowdown = times,
            Err(error) => {
                let at = section.span_of("max_slowdown");
                reader.report(at, format!("{}: {error}", section.object), None);
            }
        }
    }
    set(&mut config.policy.preload, reader.boolean(section, "preload"));
    if let Some(table) = reader.table(section, "config") {
        let object = format!("`config` of {}", section.object);
        config.settings.config = read_config(reader, &Section::new(object, table));
    }
    if let Some(table) = reader.table(section, "allow") {
        let allow = Section::new(format!("`allow` of {}", section.object), table);
        reader.refuse_unknown(&allow, &["http"], &[]);
        config.settings.allow = Allow { http: reader.list(&allow, "http", HttpOrigin::parse) };
    }
    (config, read_source(reader, section, at))
}

fn set<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

fn instances(text: &str) -> Result<InstanceMode, String> {
    match text {
        "fresh" => Ok(InstanceMode::Fresh),
        "pooled" => Ok(InstanceMode::pooled()),
        "singleton" => Ok(InstanceMode::Singleton),
        _ => Err(format!(
            "expected `fresh`, `pooled` or `singleton`, found `{}`",
            text.escape_debug()
        )),
    }
}

pub(super) fn timeout(field: &'static str, text: &str) -> Result<Duration, String> {
    let duration = parse_duration(text).map_err(|error| error.to_string())?;
    check_timeout(field, duration).map_err(|error| error.to_string())?;
    Ok(duration)
}

pub(super) fn busy_poll(text: &str) -> Result<Duration, String> {
    let pause = parse_duration(text).map_err(|error| error.to_string())?;
    check_busy_poll(pause).map_err(|error| error.to_string())?;
    Ok(pause)
}

fn max_state(text: &str) -> Result<u64, String> {
    let bytes = parse_size(text).map_err(|error| error.to_string())?;
    check_state(bytes).map_err(|error| error.to_string())?;
    Ok(bytes)
}

fn probe(text: &str) -> Result<String, String> {
    check_probe(text).map_err(|error| error.to_string())?;
    Ok(text.to_owned())
}

fn memory(text: &str) -> Result<u64, String> {
    let bytes = parse_size(text).map_err(|error| error.to_string())?;
    check_memory(bytes).map_err(|error| error.to_string())?;
    Ok(bytes)
}

pub(super) fn guest_memory(text: &str) -> Result<u64, String> {
    let bytes = parse_size(text).map_err(|error| error.to_string())?;
    check_guest_memory(bytes).map_err(|error| error.to_string())?;
    Ok(bytes)
}

fn read_source(
    reader: &mut Reader<'_>,
    section: &Section<'_>,
    at: Range<usize>,
) -> Option<HandlerSource> {
    let Some(value) = section.get("source") else {
        let hint = "add `source = \"DIR\"` with a cargo package, or the path of a `.wasm` file";
        reader.report(at, format!("{} has no `source`", section.object), Some(hint.to_owned()));
        return None;
    };
    match value.get_ref() {
        DeValue::String(_) => reader.path(section, "source").map(HandlerSource::Path),
        DeValue::Table(table) => read_command(reader, section, table, value.span()),
        _ => {
            let wanted = "a path or `{ command = …, output = … }`";
            reader.expected(&what(section, "source"), wanted, value);
            None
        }
    }
}

fn read_command(
    reader: &mut Reader<'_>,
    section: &Section<'_>,
    table: &DeTable<'_>,
    at: Range<usize>,
) -> Option<HandlerSource> {
    let source = Section::new(what(section, "source"), table);
    reader.refuse_unknown(&source, &["command", "output", "watch"], &[]);
    for key in ["command", "output"] {
        if source.get(key).is_none() {
            let message = format!("{} has no `{key}`", source.object);
            let hint = "the whole is `{ command = \"make\", output = \"out.wasm\" }`".to_owned();
            reader.report(at.clone(), message, Some(hint));
        }
    }
    let root = reader.around.root;
    let watch = reader.list(&source, "watch", |text| to_path(root, text));
    let command = reader.parsed(&source, "command", |text| match text.trim() {
        "" => Err("expected a command line, found an empty string"),
        command => Ok(command.to_owned()),
    });
    let output = reader.path(&source, "output");
    Some(HandlerSource::Command { command: command?, output: output?, watch })
}

fn read_config(reader: &mut Reader<'_>, section: &Section<'_>) -> BTreeMap<String, ConfigValue> {
    let mut config = BTreeMap::new();
    for (key, value) in section.entries() {
        let what = format!("`{}` of {}", key.escape_debug(), section.object);
        let read = match value.get_ref() {
            DeValue::String(text) => {
                reader.expanded(&what, value.span(), text).map(ConfigValue::plain)
            }
            DeValue::Table(table) => {
                read_secret(reader, &Section::new(what, table), value).map(ConfigValue::secret)
            }
            _ => {
                reader.expected(&what, "a string or a secret", value);
                None
            }
        };
        config.extend(read.map(|read| (key.to_owned(), read)));
    }
    config
}

fn read_secret(
    reader: &mut Reader<'_>,
    secret: &Section<'_>,
    value: &Spanned<DeValue<'_>>,
) -> Option<String> {
    reader.refuse_unknown(secret, &["env", "file"], &[]);
    let (message, hint) = match (secret.get("env"), secret.get("file")) {
        (Some(_), None) => {
            let name = reader.parsed(secret, "env", env_name)?;
            if let Some(found) = (reader.around.env)(&name) {
                return Some(found);
            }
            let message = format!("{}: environment variable `{name}` is not set", secret.object);
            (message, "set it before the start".to_owned())
        }
        (None, Some(_)) => {
            let path = reader.path(secret, "file")?;
            let error = match (reader.around.read_file)(&path) {
                // Editors end a file with a newline that is no part of the secret.
                Ok(text) => return Some(text.trim_end_matches(['\r', '\n']).to_owned()),
                Err(error) => error,
            };
            let path = path.display();
            let message = format!("{}: failed to read `{path}`: {error}", secret.object);
            (message, "the path starts at the manifest's directory".to_owned())
        }
        _ => {
            let message = format!("{}: expected one of `env` and `file`", secret.object);
            (message, "a secret is `{ env = \"NAME\" }` or `{ file = \"path\" }`".to_owned())
        }
    };
    reader.report(value.span(), message, Some(hint));
    None
}

fn env_name(text: &str) -> Result<String, String> {
    // The system's own functions panic on an empty name and on one with `=` or NUL.
    if text.is_empty() || text.contains(['=', '\0']) {
        Err(format!("expected the name of a variable, found `{}`", text.escape_debug()))
    } else {
        Ok(text.to_owned())
    }
}
