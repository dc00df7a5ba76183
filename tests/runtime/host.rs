//! What the host gives a guest: configuration, logs and listed origins, and nothing else.

use tokio::net::TcpListener;
use wrt::config::ConfigValue;
use wrt::events::LogLevel;
use wrt::{EventKind, HttpOrigin};

use crate::fixture::{Fixture, config, guest, next_event};

#[tokio::test]
async fn settings_are_read_by_key_and_absent_ones_are_absent() {
    let config = config()
        .with_config("greeting", "hello".into())
        .with_config("password", ConfigValue::secret("hunter2"));
    let (fixture, _) = Fixture::serving_as(config, &guest("config_reader")).await;
    assert_eq!(fixture.get("/?key=greeting").await.text(), "hello");
    assert_eq!(fixture.get("/?key=password").await.text(), "hunter2");
    assert_eq!(fixture.get("/?key=other").await.status, 404);
}

#[tokio::test]
async fn guest_output_becomes_events_without_power_over_a_terminal() {
    let (fixture, _) = Fixture::serving(&guest("log_noise")).await;
    let mut events = fixture.runtime.events();
    assert_eq!(fixture.get("/").await.text(), "ok");
    // Standard error comes last; the streams are flushed with the store at the latest.
    let mut logged = Vec::new();
    while !logged.iter().any(|(_, message, _): &(_, String, _)| message.starts_with("stderr")) {
        let line = next_event(&mut events, "a log line", |event| match event {
            EventKind::Log { level, message, fields, generation } => {
                assert_eq!(generation.get(), 1);
                Some((level, message, fields.get("stream").cloned()))
            }
            _ => None,
        });
        logged.push(line.await);
    }
    let level_of = |text: &str| {
        let found = logged.iter().find(|(_, message, _)| message.contains(text));
        found.unwrap_or_else(|| panic!("`{text}` is not in {logged:?}")).0
    };
    assert_eq!(level_of("traced"), LogLevel::Trace);
    assert_eq!(level_of("debugged"), LogLevel::Debug);
    assert_eq!(level_of("first line"), LogLevel::Info);
    assert_eq!(level_of("cleared"), LogLevel::Warn);
    assert_eq!(level_of("failed"), LogLevel::Error);
    assert_eq!(level_of("lost"), LogLevel::Critical);
    for (_, message, _) in &logged {
        let raw = message.chars().find(|c| c.is_control() && *c != '\n' && *c != '\t');
        assert_eq!(raw, None, "in {message:?}");
    }
    let stdout = logged.iter().find(|(_, message, _)| message.starts_with("stdout")).unwrap();
    assert_eq!(stdout.2.as_deref(), Some("stdout"));
    assert!(stdout.1.contains(r"\u{1b}[31mred"), "{}", stdout.1);
}

#[tokio::test]
async fn guest_has_no_variables_arguments_directories_or_sockets() {
    let (fixture, _) = Fixture::serving(&guest("env_reader")).await;
    // Something listens, so only the host can be the reason that it is not reached.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let answer = fixture.get(&format!("/?tcp={address}")).await;
    let lines: Vec<_> = answer.text().lines().collect();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].starts_with("tcp ") && lines[0] != "tcp connected", "{lines:?}");
}

#[tokio::test]
async fn outgoing_requests_reach_listed_origins_alone() {
    let (there, _) = Fixture::serving(&guest("trap")).await;
    let (elsewhere, _) = Fixture::serving(&guest("trap")).await;
    let component = guest("outbound");
    let url = |to: &Fixture| format!("/?url=http://{}/", to.address);

    let (fixture, _) = Fixture::serving(&component).await;
    let denied = fixture.get(&url(&there)).await;
    assert!(denied.text().starts_with("error: "), "{}", denied.text());

    let origin = HttpOrigin::parse(&format!("http://{}", there.address)).unwrap();
    let (fixture, _) = Fixture::serving_as(config().with_allowed_http(origin), &component).await;
    assert_eq!(fixture.get(&url(&there)).await.text(), "200");
    let denied = fixture.get(&url(&elsewhere)).await;
    assert!(denied.text().starts_with("error: "), "{}", denied.text());
}
