//! Routes, event types, origins and the checks of whole configurations.

use proptest::prelude::*;

use super::*;

fn route(text: &str) -> Route {
    Route::parse(text).unwrap()
}

fn handler() -> HandlerConfig {
    HandlerConfig::new(HandlerName::new("hello").unwrap())
}

#[test]
fn route_matches_what_it_describes() {
    let check = |pattern: &str, matching: &[&str], other: &[&str]| {
        let route = route(pattern);
        for path in matching {
            assert!(route.matches(path), "`{pattern}` should match `{path}`");
        }
        for path in other {
            assert!(!route.matches(path), "`{pattern}` should not match `{path}`");
        }
    };
    check("/orders", &["/orders"], &["/", "/orders/", "/orders/1", "/ordersx", "/order"]);
    check("/orders/", &["/orders/"], &["/orders", "/orders/1"]);
    check("/hello/*", &["/hello", "/hello/", "/hello/a/b"], &["/", "/hellox", "/hell", "/x/hello"]);
    check("/", &["/", "/a", "/a/b", "//"], &["*", "a"]);
    check("/*", &["/", "/a", "/a/b"], &["*"]);
    check("/a%20b", &["/a%20b"], &["/a b"]);
}

#[test]
fn bad_route_says_what_is_wrong() {
    let check = |text: &str, expect: &str| {
        let found = Route::parse(text).unwrap_err().to_string();
        assert!(found.contains(expect), "`{text}`: {found}");
    };
    check("", "start with `/`");
    check("hello", "start with `/`");
    check("/a/*/b", "`*` may only stand at the end");
    check("/a*", "`*` may only stand at the end");
    check("/a?b", "query");
    check("/a b", "percent-encoded");
    check("/ä", "percent-encoded");
    check("/a\n", "found `/a\\n`");
    check("//", "empty segment");
    check("//*", "empty segment");
    check("/a//b", "empty segment");
    check("/a/../b", "`.` and `..`");
}

#[test]
fn sorted_routes_put_the_most_specific_first() {
    let mut routes = ["/", "/a/*", "/a/b/*", "/a", "/a/b/c"].map(route);
    routes.sort();
    let order: Vec<_> = routes.iter().map(Route::to_string).collect();
    assert_eq!(order, ["/a/b/c", "/a", "/a/b/*", "/a/*", "/*"]);
    let first = |path: &str| routes.iter().find(|route| route.matches(path)).unwrap().to_string();
    assert_eq!(first("/a"), "/a");
    assert_eq!(first("/a/b"), "/a/b/*");
    assert_eq!(first("/a/x"), "/a/*");
    assert_eq!(first("/x"), "/*");
}

#[test]
fn only_routes_of_the_same_paths_conflict() {
    assert!(route("/").conflicts_with(&route("/*")));
    assert!(route("/a/*").conflicts_with(&route("/a/*")));
    assert!(!route("/a").conflicts_with(&route("/a/*")));
    assert!(!route("/a/*").conflicts_with(&route("/")));
}

proptest! {
    #[test]
    fn any_text_is_a_route_that_reads_back_or_an_error(text in "\\PC{0,20}") {
        if let Ok(route) = Route::parse(&text) {
            prop_assert_eq!(&Route::parse(&route.to_string()).unwrap(), &route);
        }
    }

    #[test]
    fn a_prefix_matches_exactly_itself_and_what_is_below(
        prefix in "(/[a-c]{1,2}){1,3}", path in "(/[a-c]{0,2}){1,4}",
    ) {
        let below = format!("{prefix}/");
        let expect = path == prefix || path.starts_with(&below);
        prop_assert_eq!(route(&format!("{prefix}/*")).matches(&path), expect);
        prop_assert_eq!(route(&prefix).matches(&path), path == prefix);
    }

    #[test]
    fn two_matching_routes_that_do_not_conflict_are_ordered_by_what_they_include(
        one in "(/[ab]){1,3}(/\\*)?", two in "(/[ab]){1,3}(/\\*)?", path in "(/[ab]){1,4}",
    ) {
        let (one, two) = (route(&one), route(&two));
        if one < two && one.matches(&path) && two.matches(&path) {
            // The winner describes a part of what the loser describes: its own stem lies there.
            prop_assert!(two.matches(one.to_string().trim_end_matches("/*")));
        }
    }
}

#[test]
fn event_type_pattern_matches_what_it_describes() {
    let check = |pattern: &str, matching: &[&str], other: &[&str]| {
        let pattern = EventTypePattern::parse(pattern).unwrap();
        for event_type in matching {
            assert!(pattern.matches(event_type), "`{pattern}` should match `{event_type}`");
        }
        for event_type in other {
            assert!(!pattern.matches(event_type), "`{pattern}` should not match `{event_type}`");
        }
    };
    check("order.created", &["order.created"], &["order.created.eu", "order", "xorder.created"]);
    check("order.*", &["order.created", "order.a.b"], &["order", "order.", "orders.created"]);
    check("*", &["order", "a.b"], &[""]);
    for bad in ["", ".*", "a*", "*.a", "a b", "a.*.b", "a\n"] {
        assert!(EventTypePattern::parse(bad).is_err(), "`{bad}` should be refused");
    }
}

#[test]
fn handler_without_types_accepts_every_event() {
    assert!(handler().binding.accepts_type("anything"));
    let orders = handler().with_types([EventTypePattern::parse("order.*").unwrap()]);
    assert!(orders.binding.accepts_type("order.created"));
    assert!(!orders.binding.accepts_type("user.created"));
}

#[test]
fn origin_allows_its_own_scheme_host_and_port_only() {
    let check = |origin: &str, allowed: &[&str], denied: &[&str]| {
        let origin = HttpOrigin::parse(origin).unwrap();
        for uri in allowed {
            assert!(origin.allows(&uri.parse().unwrap()), "`{origin}` should allow `{uri}`");
        }
        for uri in denied {
            assert!(!origin.allows(&uri.parse().unwrap()), "`{origin}` should deny `{uri}`");
        }
    };
    check(
        "https://API.example.com",
        &[
            "https://api.example.com/x?y",
            "https://api.example.com:443/",
            "https://u@api.Example.com/",
        ],
        &[
            "http://api.example.com/",
            "https://api.example.com:8443/",
            "https://api.example.com.evil.org/",
            "https://api.example.com@evil.org/",
            "/api.example.com",
        ],
    );
    check("http://127.0.0.1:8080/", &["http://127.0.0.1:8080/a"], &["http://127.0.0.1/a"]);
    check("http://[::1]:8080", &["http://[::1]:8080/a"], &["http://[::2]:8080/a"]);
}

#[test]
fn bad_origin_says_what_is_wrong() {
    let check = |text: &str, expect: &str| {
        let found = HttpOrigin::parse(text).unwrap_err().to_string();
        assert!(found.contains(expect), "`{text}`: {found}");
    };
    check("", "not a URL");
    check("api.example.com", "`http://` or `https://`");
    check("ftp://example.com", "`http://` or `https://`");
    check("https://example.com/v1", "path or query");
    check("https://u:p@example.com", "user name");
    check("https://*.example.com", "without `*`");
    check("https://example.com:", "`http://` or `https://`");
}

#[test]
fn origin_is_shown_without_a_default_port() {
    assert_eq!(HttpOrigin::parse("https://a.org:443").unwrap().to_string(), "https://a.org");
    assert_eq!(HttpOrigin::parse("http://a.org:81").unwrap().to_string(), "http://a.org:81");
}

#[test]
fn defaults_pass_their_own_check() {
    handler().check().unwrap();
    handler().with_instances(InstanceMode::pooled()).check().unwrap();
    RuntimeConfig::default().check().unwrap();
    RuntimeConfig::for_dev().check().unwrap();
}

#[test]
fn value_that_cannot_work_is_refused() {
    let check = |config: HandlerConfig, expect: &str| {
        assert_eq!(config.check().unwrap_err().to_string(), expect);
    };
    check(handler().with_timeout(Duration::ZERO), "expected `timeout` to be longer than zero");
    check(handler().with_concurrency(0), "expected `concurrency` to be 1 or more, found 0");
    check(handler().with_memory(1), "expected `memory` between 64KiB and 4GiB, found 1 bytes");
    let most = "expected `outgoing` to be 1000000 or less, found 1000001";
    check(handler().with_outgoing(MAX_COUNT + 1), most);
    let pooled = InstanceMode::Pooled { max_calls: 0, max_idle: Duration::ZERO };
    check(handler().with_instances(pooled), "expected `max_calls` to be 1 or more, found 0");
    let default = RuntimeConfig::default;
    let check = |config: RuntimeConfig, expect: &str| {
        assert_eq!(config.check().unwrap_err().to_string(), expect);
    };
    let runtime = RuntimeConfig { compile_memory: 0, ..default() };
    check(runtime, "expected `compile_memory` to be 1 or more, found 0");
    let runtime = RuntimeConfig { max_connections: usize::MAX, ..default() };
    let found = usize::MAX;
    check(runtime, &format!("expected `max_connections` to be 1000000 or less, found {found}"));
    let runtime = RuntimeConfig { guest_memory: 1, ..default() };
    check(runtime, "expected `guest_memory` of 64KiB or more, found 1 bytes");
    let runtime = RuntimeConfig { busy_poll: Duration::from_secs(2), ..default() };
    check(runtime, "expected `busy_poll` of at most 1s, found 2s");
}

#[test]
fn secret_is_exposed_to_its_guest_but_never_shown() {
    let config = handler()
        .with_config("greeting", "hello".into())
        .with_config("token", ConfigValue::secret("hunter2"));
    let shown = format!("{config:?}");
    assert!(shown.contains("hello") && shown.contains("<secret>"), "{shown}");
    assert!(!shown.contains("hunter2"), "{shown}");
    assert_eq!(config.settings.config["token"].expose(), "hunter2");
}

#[test]
fn listen_address_needs_a_port_and_defaults_to_loopback() {
    let check = |text: &str, expect: Option<&str>| {
        let found = ListenAddress::parse(text).ok().map(|address| address.to_string());
        assert_eq!(found.as_deref(), expect, "`{text}`");
    };
    check("127.0.0.1:3000", Some("127.0.0.1:3000"));
    check("localhost:0", Some("localhost:0"));
    check("[::1]:80", Some("[::1]:80"));
    check(":0", Some("127.0.0.1:0"));
    for bad in
        ["", "3000", "localhost", "localhost:", "a:70000", "a:+80", "::1:80x", "[x]:1", "a b:1"]
    {
        check(bad, None);
    }
    assert_eq!(ListenAddress::default(), ListenAddress::parse(":3000").unwrap());
}
