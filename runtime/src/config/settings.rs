//! The settings of a version: limits of a call, configuration and grants.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Allow, ConfigError, ConfigValue, HttpOrigin, InstanceMode};
use super::{MIB, check_count, check_memory, check_probe, check_state, check_timeout, keys};
use crate::id::Digest;

/// The settings of a version: everything besides the component that decides how a call is answered.
/// Settings are a part of the version. So a change of settings is a swap, and a rollback brings back the
/// settings that the version was published with.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settings {
    /// How instances are used. Default [`InstanceMode::Fresh`], the strongest isolation.
    pub instances: InstanceMode,
    /// Longest time from a call's admission to its end. Default 30 s, beyond which clients and
    /// proxies have given up anyway.
    pub timeout: Duration,
    /// Bytes of linear memory that one instance may grow to. Default 64 MiB: ample for a handler,
    /// and 100 concurrent calls still fit a small machine because untouched pages cost nothing.
    pub memory: u64,
    /// Bytes of state that are handed over at most. Default 16 MiB: what is larger takes callers'
    /// time, and belongs in a store of the host.
    pub max_state: u64,
    /// A request path that a new generation has to answer with a status below 400 before it is
    /// published. Default `None`. HTTP handlers only.
    pub probe: Option<String>,
    /// What the guest reads through `wasi:config/store`. Default empty.
    pub config: BTreeMap<String, ConfigValue>,
    /// What the guest may reach. Default nothing.
    pub allow: Allow,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            instances: InstanceMode::Fresh,
            timeout: Duration::from_secs(30),
            memory: 64 * MIB,
            max_state: 16 * MIB,
            probe: None,
            config: BTreeMap::new(),
            allow: Allow::default(),
        }
    }
}

impl Settings {
    /// Refuses values with which no call could ever succeed.
    ///
    /// # Errors
    ///
    /// The first field that is out of its range.
    pub fn check(&self) -> Result<(), ConfigError> {
        check_timeout("timeout", self.timeout)?;
        check_memory(self.memory)?;
        check_state(self.max_state)?;
        self.probe.as_deref().map_or(Ok(()), check_probe)?;
        match self.instances {
            InstanceMode::Pooled { max_calls, .. } => check_count("max_calls", max_calls),
            InstanceMode::Fresh | InstanceMode::Singleton => Ok(()),
        }
    }

    /// Whether there is one instance, which keeps its memory from call to call.
    pub(crate) fn is_single(&self) -> bool {
        self.instances == InstanceMode::Singleton
    }

    /// The same with the secrets that `now` has for the same keys.
    pub(crate) fn with_secrets_of(&self, now: &Self) -> Self {
        let mut settings = self.clone();
        for (key, value) in settings.config.iter_mut().filter(|(_, value)| value.is_secret()) {
            if let Some(now) = now.config.get(key).filter(|now| now.is_secret()) {
                value.clone_from(now);
            }
        }
        settings
    }

    /// Names these settings: equal settings have equal digests, in every process. The values of secrets are
    /// no part of that, since whoever knows the rest could try passwords with a digest.
    pub(crate) fn digest(&self) -> Digest {
        // Each field, so that whoever adds a field has to add it here.
        let Self { instances, timeout, memory, max_state, probe, config, allow } = self;
        let Allow { http } = allow;
        let config: BTreeMap<_, _> = config
            .iter()
            .map(|(key, value)| (key.as_str(), (!value.is_secret()).then(|| value.expose())))
            .collect();
        // The order in which origins are named means nothing.
        let http: BTreeSet<_> = http.iter().map(ToString::to_string).collect();
        let instances = match instances {
            InstanceMode::Fresh => ("fresh", 0, 0),
            InstanceMode::Pooled { max_calls, max_idle } => {
                ("pooled", *max_calls, max_idle.as_nanos())
            }
            InstanceMode::Singleton => ("singleton", 0, 0),
        };
        let all = (instances, timeout.as_nanos(), memory, max_state, probe, config, http);
        // JSON keeps the fields apart, whatever they hold. Numbers, texts, and lists and maps of texts are
        // all that JSON can hold, so this does not fail.
        let text = serde_json::to_vec(&all).unwrap_or_default();
        Digest::of(&text)
    }

    /// The names of the settings that `before` had otherwise, as the manifest has them.
    pub(crate) fn changed_from(&self, before: &Self) -> Vec<&'static str> {
        let Self { instances, timeout, memory, max_state, probe, config, allow } = self;
        let changed = [
            ("instances", *instances != before.instances),
            ("timeout", *timeout != before.timeout),
            ("memory", *memory != before.memory),
            ("max_state", *max_state != before.max_state),
            ("probe", *probe != before.probe),
            ("config", *config != before.config),
            ("allow", *allow != before.allow),
        ];
        keys(changed)
    }

    /// The settings as they are kept on the disk. The values of secrets are left out.
    pub(crate) fn to_json(&self) -> Vec<u8> {
        let Self { instances, timeout, memory, max_state, probe, config, allow } = self;
        let instances = match instances {
            InstanceMode::Fresh => KeptMode::Fresh,
            InstanceMode::Pooled { max_calls, max_idle } => {
                KeptMode::Pooled { max_calls: *max_calls, max_idle: *max_idle }
            }
            InstanceMode::Singleton => KeptMode::Singleton,
        };
        let value = |value: &ConfigValue| match value.is_secret() {
            true => KeptValue::Secret,
            false => KeptValue::Text(value.expose().to_owned()),
        };
        let kept = Kept {
            instances,
            timeout: *timeout,
            memory: *memory,
            max_state: *max_state,
            probe: probe.clone(),
            config: config.iter().map(|(key, it)| (key.clone(), value(it))).collect(),
            allow_http: allow.http.iter().map(ToString::to_string).collect(),
        };
        // As in `digest`, this does not fail.
        serde_json::to_vec(&kept).unwrap_or_default()
    }

    /// Reads what [`to_json`](Self::to_json) wrote. Secrets have the values that `configured` has for them
    /// now, and those that it does not name are empty. `None` where `text` is something else.
    pub(crate) fn from_json(text: &[u8], configured: &Self) -> Option<Self> {
        let Kept { instances, timeout, memory, max_state, probe, config, allow_http } =
            serde_json::from_slice(text).ok()?;
        let config = config.into_iter().map(|(key, value)| {
            let value = match value {
                KeptValue::Text(text) => ConfigValue::plain(text),
                KeptValue::Secret => {
                    let now = configured.config.get(&key).filter(|it| it.is_secret());
                    now.cloned().unwrap_or_else(|| ConfigValue::secret(""))
                }
            };
            (key, value)
        });
        let http = allow_http.iter().map(|origin| HttpOrigin::parse(origin).ok());
        Some(Self {
            instances: match instances {
                KeptMode::Fresh => InstanceMode::Fresh,
                KeptMode::Pooled { max_calls, max_idle } => {
                    InstanceMode::Pooled { max_calls, max_idle }
                }
                KeptMode::Singleton => InstanceMode::Singleton,
            },
            timeout,
            memory,
            max_state,
            probe,
            config: config.collect(),
            allow: Allow { http: http.collect::<Option<_>>()? },
        })
    }
}

/// [`Settings`] on the disk.
#[derive(Serialize, Deserialize)]
struct Kept {
    instances: KeptMode,
    timeout: Duration,
    memory: u64,
    max_state: u64,
    probe: Option<String>,
    config: BTreeMap<String, KeptValue>,
    allow_http: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum KeptMode {
    Fresh,
    Pooled { max_calls: usize, max_idle: Duration },
    Singleton,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum KeptValue {
    Text(String),
    Secret,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_is_part_of_the_digest() {
        let origin = |text| HttpOrigin::parse(text).unwrap();
        let with = |change: &dyn Fn(&mut Settings)| {
            let mut settings = Settings::default();
            change(&mut settings);
            settings.digest()
        };
        let text = |key: &'static str, value: ConfigValue| {
            move |it: &mut Settings| {
                it.config.insert(key.to_owned(), value.clone());
            }
        };
        let all = [
            with(&|_| {}),
            with(&|it| it.instances = InstanceMode::Singleton),
            with(&|it| it.instances = InstanceMode::pooled()),
            with(&|it| {
                it.instances =
                    InstanceMode::Pooled { max_calls: 7, max_idle: Duration::from_secs(1) };
            }),
            with(&|it| it.timeout = Duration::from_nanos(1)),
            with(&|it| it.memory = 1),
            with(&|it| it.max_state = 1),
            with(&|it| it.probe = Some(String::new())),
            with(&text("a", ConfigValue::plain("b"))),
            with(&text("a", ConfigValue::secret("b"))),
            with(&text("ab", ConfigValue::plain(""))),
            with(&|it| it.allow.http.push(origin("http://a"))),
        ];
        let different: BTreeSet<_> = all.iter().map(Digest::as_bytes).collect();
        assert_eq!(different.len(), all.len());
        let [a, b] = ["http://a", "http://b"].map(origin);
        let in_order = |origins: [&HttpOrigin; 2]| {
            with(&|it| it.allow.http = origins.map(Clone::clone).to_vec())
        };
        assert_eq!(in_order([&a, &b]), in_order([&b, &a]), "the order means nothing");
        let secret = |value| with(&text("a", ConfigValue::secret(value)));
        assert_eq!(secret("b"), secret("c"), "a digest tells nothing of a secret");
    }

    #[test]
    fn settings_come_back_from_the_disk_with_the_secrets_of_now() {
        let settings = Settings {
            instances: InstanceMode::Pooled { max_calls: 7, max_idle: Duration::from_secs(3) },
            timeout: Duration::from_millis(1500),
            memory: 1 << 20,
            max_state: 1 << 10,
            probe: Some("/healthz".to_owned()),
            config: [("a", ConfigValue::plain("1")), ("b", ConfigValue::secret("old"))]
                .map(|(key, value)| (key.to_owned(), value))
                .into(),
            allow: Allow { http: vec![HttpOrigin::parse("http://127.0.0.1:8080").unwrap()] },
        };
        let text = settings.to_json();
        assert!(!String::from_utf8_lossy(&text).contains("old"), "a secret was written");
        assert_eq!(Settings::from_json(&text, &settings), Some(settings.clone()));
        let mut now = Settings::default();
        let without = Settings::from_json(&text, &now).unwrap();
        assert_eq!(without.config["b"].expose(), "", "there is no such secret any more");
        assert_eq!(without.digest(), settings.digest());
        now.config.insert("b".to_owned(), ConfigValue::plain("no secret"));
        assert_eq!(Settings::from_json(&text, &now).unwrap().config["b"].expose(), "");
        now.config.insert("b".to_owned(), ConfigValue::secret("new"));
        let read = Settings::from_json(&text, &now).unwrap();
        assert_eq!(read.config["b"].expose(), "new");
        assert_eq!(read.changed_from(&settings), ["config"]);
        for damaged in ["", "{}", "[]", "{\"instances\":\"many\"}"] {
            assert_eq!(Settings::from_json(damaged.as_bytes(), &now), None, "{damaged}");
        }
    }
}
