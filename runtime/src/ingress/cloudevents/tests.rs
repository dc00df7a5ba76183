//! What the binding reads, refuses and writes, and that both modes bring an event back unchanged.

use std::error::Error as _;

use proptest::prelude::*;

use super::*;

const BINARY: &[(&str, &str)] = &[
    ("ce-specversion", "1.0"),
    ("ce-id", "17"),
    ("ce-source", "/shop"),
    ("ce-type", "order.created"),
];

fn event() -> CloudEvent {
    CloudEvent::new("17", "/shop", "order.created")
}

fn request(headers: &[(&str, &[u8])], body: &[u8]) -> Result<CloudEvent, DecodeError> {
    let mut request = http::Request::builder().method("POST");
    for (name, value) in headers {
        request = request.header(*name, HeaderValue::from_bytes(value).unwrap());
    }
    let (parts, ()) = request.body(()).unwrap().into_parts();
    match decode(&parts, Bytes::copy_from_slice(body))? {
        Sent::Event(event) => Ok(*event),
        Sent::Batch(_) => panic!("it is a batch"),
    }
}

/// A valid binary event with further headers.
fn binary(more: &[(&str, &str)], body: &str) -> Result<CloudEvent, DecodeError> {
    let headers: Vec<_> = BINARY.iter().chain(more).map(|(n, v)| (*n, v.as_bytes())).collect();
    request(&headers, body.as_bytes())
}

fn structured(body: &str) -> Result<CloudEvent, DecodeError> {
    request(&[("content-type", b"Application/CloudEvents+JSON; charset=utf-8")], body.as_bytes())
}

/// A valid JSON event with further members.
fn members(more: &str) -> Result<CloudEvent, DecodeError> {
    structured(&format!(
        r#" {{"specversion":"1.0","id":"17","source":"/shop","type":"order.created"{more}}} "#
    ))
}

#[track_caller]
fn check(found: Result<CloudEvent, DecodeError>, expected: CloudEvent) {
    assert_eq!(found.unwrap(), expected);
}

#[track_caller]
fn check_refused(found: Result<CloudEvent, DecodeError>, status: u16, message: &str) {
    let error = found.unwrap_err();
    assert_eq!((error.to_string().as_str(), error.status().as_u16()), (message, status));
}

#[test]
fn binary_event_is_read_from_headers_and_body() {
    check(binary(&[], ""), event());
    check(
        binary(
            &[
                ("content-type", "application/json; charset=utf-8"),
                ("CE-Time", "2018-04-05T03:56:24Z"),
                ("ce-subject", "order-9"),
                ("ce-dataschema", "https://example.com/order"),
                ("ce-tenant", "eu"),
                ("user-agent", "curl"),
            ],
            "{}",
        ),
        event()
            .with_time("2018-04-05T03:56:24Z")
            .with_subject("order-9")
            .with_dataschema("https://example.com/order")
            .with_data("application/json; charset=utf-8", "{}")
            .with_extension("tenant", "eu"),
    );
    let mut untyped = event();
    untyped.data = Some(Bytes::from("x"));
    check(binary(&[], "x"), untyped);
}

#[test]
fn header_values_are_unquoted_and_percent_decoded_once() {
    for (value, expected) in [
        ("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),
        ("%e2%82%ac", "€"),
        ("%41%2541", "A%41"),
        ("100%", "100%"),
        ("a \"b\" c", "a \"b\" c"),
        (r#""a \"b\" \\ c""#, r#"a "b" \ c"#),
        ("\"%22%20\"", "\" "),
        ("\"\"", ""),
        ("", ""),
    ] {
        check(binary(&[("ce-note", value)], ""), event().with_extension("note", expected));
    }
    for value in ["%C0%A0", "%FF", "%ED%A0%80"] {
        check_refused(
            binary(&[("ce-note", value)], ""),
            400,
            "header `ce-note` is not UTF-8 once it is percent-decoded",
        );
    }
    for value in ["\"", "\"a", "\"a\\\"", "\"a\" b", "\"\\"] {
        check_refused(
            binary(&[("ce-note", value)], ""),
            400,
            "header `ce-note` starts with a quote that is not closed at its end",
        );
    }
    check_refused(
        binary(&[("ce-subject", "a%0D%0Ab")], ""),
        400,
        "attribute `subject` contains a control character",
    );
}

#[test]
fn request_that_is_no_event_learns_what_is_missing_and_how_to_send_one() {
    let found = request(&[("content-type", b"application/json")], b"{}");
    let hints = found.as_ref().unwrap_err().hints();
    check_refused(
        found,
        400,
        "expected a CloudEvent, found a request without the headers `ce-specversion`, \
         `ce-id`, `ce-source`, `ce-type`",
    );
    assert_eq!(hints.len(), 1);
    for (name, _) in BINARY {
        assert!(hints[0].contains(&format!("-H '{name}: ")), "{name} in {hints:?}");
    }
    let headers: Vec<_> = BINARY[..3].iter().map(|(n, v)| (*n, v.as_bytes())).collect();
    check_refused(
        request(&headers, b""),
        400,
        "expected a CloudEvent, found a request without the header `ce-type`",
    );
    check_refused(
        structured(r#"{"specversion":"1.0","type":"order.created","id":null}"#),
        400,
        "expected a CloudEvent, found a request without the members `id`, `source`",
    );
}

#[test]
fn headers_against_the_binding_are_refused() {
    for (header, message) in [
        (("ce-id", "18"), "expected one header `ce-id`, found several"),
        (
            ("ce-datacontenttype", "text/plain"),
            "header `ce-datacontenttype` does not exist in CloudEvents",
        ),
        (("ce-data", "x"), "extension `data` has a name that CloudEvents reserves"),
        (
            ("ce-tenant-id", "x"),
            "expected an extension name of lower-case letters and digits, found `tenant-id`",
        ),
        (("content-type", "täxt/plain"), "header `content-type` is not ASCII"),
        (
            ("content-type", "json"),
            "expected a media type such as `application/json` as `datacontenttype`, \
             found `json`",
        ),
        (
            ("ce-time", "noon"),
            "expected an RFC 3339 time such as `2026-01-31T09:30:00Z`, found `noon`",
        ),
    ] {
        check_refused(binary(&[header], ""), 400, message);
    }
    check_refused(
        binary(&[("content-type", "text/plain"), ("content-type", "text/html")], ""),
        400,
        "expected one header `content-type`, found several",
    );
    let mut headers: Vec<_> = BINARY.iter().map(|(n, v)| (*n, v.as_bytes())).collect();
    headers[0].1 = b"0.3";
    check_refused(request(&headers, b""), 400, "unknown CloudEvents version `0.3`, expected `1.0`");
    headers[0].1 = b"1.0";
    headers[1].1 = b"";
    check_refused(request(&headers, b""), 400, "attribute `id` is empty");
}

#[test]
fn other_formats_are_unsupported_media_types() {
    for media_type in [
        "application/cloudevents+avro",
        "application/cloudevents",
        "application/cloudevents-batch",
        "application/cloudevents-batch+avro",
    ] {
        let message = format!(
            "unknown CloudEvents format `{media_type}`, expected `application/cloudevents+json` or \
             `application/cloudevents-batch+json`"
        );
        check_refused(binary(&[("content-type", media_type)], "[]"), 415, &message);
    }
}

/// What a body of a batch is read as.
fn batch(body: &str) -> Result<Vec<CloudEvent>, DecodeError> {
    let media_type = "Application/CloudEvents-Batch+JSON; charset=utf-8";
    let (mut parts, ()) = http::Request::new(()).into_parts();
    parts.headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    match decode(&parts, Bytes::copy_from_slice(body.as_bytes()))? {
        Sent::Batch(events) => Ok(events),
        Sent::Event(event) => panic!("it is one event: {event:?}"),
    }
}

/// An event of a batch.
const ELEMENT: &str = r#"{"specversion":"1.0","id":"17","source":"/shop","type":"order.created"}"#;

#[test]
fn batch_is_read_whole_and_may_be_empty() {
    assert_eq!(batch("[]").unwrap(), []);
    assert_eq!(batch(&format!("[{ELEMENT}, {ELEMENT}]")).unwrap(), [event(), event()]);
}

#[test]
fn batch_with_one_wrong_event_is_wrong_and_names_it() {
    let error = batch(&format!("[{ELEMENT}, {{}}, {ELEMENT}]")).unwrap_err();
    assert_eq!(
        crate::error::chain(&error),
        "event 2 of 3 in the batch is wrong, so that none was handled: expected a CloudEvent, found \
         a request without the members `specversion`, `id`, `source`, `type`"
    );
    assert_eq!(error.status(), 400);
    let too_large = ELEMENT.replace("order", &"o".repeat(40_000));
    assert_eq!(batch(&format!("[{too_large}]")).unwrap_err().status(), 413);
}

#[test]
fn batch_is_an_array_of_bounded_length() {
    for body in ["", "{}", "null", "[", "[1", "[,]", "[] []", ELEMENT] {
        let error = batch(body).unwrap_err();
        assert!(matches!(error, DecodeError::BatchJson { .. }), "{body}: {error}");
        assert_eq!(error.status(), 400);
    }
    let of = |n| format!("[{}]", vec![ELEMENT; n].join(","));
    assert_eq!(batch(&of(MAX_BATCH)).unwrap().len(), MAX_BATCH);
    let error = batch(&of(MAX_BATCH + 1)).unwrap_err();
    assert!(matches!(error, DecodeError::LargeBatch), "{error}");
    assert_eq!(error.status(), 413);
}

#[test]
fn answer_is_structured_where_that_is_asked_for_by_name() {
    let wanted = |values: &[&str]| {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(ACCEPT, HeaderValue::from_str(value).unwrap());
        }
        wanted(&headers)
    };
    for accept in [
        &["application/cloudevents+json"][..],
        &["Application/CloudEvents+JSON; charset=utf-8"],
        &["text/html, application/cloudevents+json;q=0.5"],
        &["*/*", "application/cloudevents+json"],
    ] {
        assert_eq!(wanted(accept), Mode::Structured, "{accept:?}");
    }
    for accept in [
        &[][..],
        &["*/*"],
        &["application/*"],
        &["application/json"],
        &["application/cloudevents-batch+json"],
        &["application/cloudevents+json; q=0"],
        &["application/cloudevents+json; Q=0.000"],
    ] {
        assert_eq!(wanted(accept), Mode::Binary, "{accept:?}");
    }
}

/// The data of an answer in structured mode, as it is written.
fn written(event: &CloudEvent) -> String {
    let response = json::structured(event).unwrap();
    assert_eq!(response.headers()[CONTENT_TYPE], "application/cloudevents+json; charset=utf-8");
    String::from_utf8(response.body().to_vec()).unwrap()
}

#[test]
fn structured_answer_has_each_attribute_and_data_by_its_kind() {
    let written = |event: CloudEvent| {
        let text = written(&event);
        assert_eq!(structured(&text).unwrap(), event, "{text}");
        text
    };
    let text = written(event().with_subject("a€b").with_extension("tenant", "eu"));
    let start = r#"{"specversion":"1.0","id":"17","source":"/shop","type":"order.created""#;
    assert_eq!(text, format!(r#"{start},"subject":"a€b","tenant":"eu"}}"#));
    for (media_type, data, member) in [
        ("application/json", &br#"{"n": 0.10}"#[..], r#""data":{"n": 0.10}"#),
        ("application/problem+json", b"null", r#""data":null"#),
        ("application/json", b"not JSON", r#""data_base64":"bm90IEpTT04=""#),
        ("application/json", b"", r#""data_base64":"""#),
        ("text/plain", "a\"b€".as_bytes(), r#""data":"a\"b€""#),
        ("text/plain", b"", r#""data":"""#),
        ("image/png", b"\x89PNG\xff", r#""data_base64":"iVBOR/8=""#),
    ] {
        let text = written(event().with_data(media_type, data.to_vec()));
        assert!(text.ends_with(&format!("{member}}}")), "{text}");
    }
    // An event as data is no obstacle here.
    written(event().with_data("application/cloudevents+json", "{}"));
    // Data without a media type is JSON.
    let mut untyped = event();
    untyped.data = Some(Bytes::from("[1]"));
    assert!(self::written(&untyped).ends_with(r#""data":[1]}"#));
}

#[test]
fn batch_of_answers_is_an_array_in_their_order() {
    let events = [event(), event().with_data("text/plain", "x")];
    let response = json::batch(&events).unwrap();
    let media_type = "application/cloudevents-batch+json; charset=utf-8";
    assert_eq!(response.headers()[CONTENT_TYPE], media_type);
    let text = std::str::from_utf8(response.body()).unwrap();
    assert_eq!(batch(text).unwrap(), events);
    assert!(json::batch(&[event(), CloudEvent::new("", "", "")]).is_err());
}

#[test]
fn structured_event_is_read_from_its_members() {
    check(members(""), event());
    check(
        members(
            r#", "subject": "a\u20acb", "time": "2018-04-05T17:31:00Z", "dataschema": null,
            "tenant": "eu", "retries": -5, "urgent": true, "unset": null"#,
        ),
        event()
            .with_subject("a€b")
            .with_time("2018-04-05T17:31:00Z")
            .with_extension("tenant", "eu")
            .with_extension("retries", "-5")
            .with_extension("urgent", "true"),
    );
}

#[test]
fn structured_data_follows_its_media_type() {
    // Numbers and the order of members stay as they were sent.
    let exact = r#"{"b": 12345678901234567890123, "a": 1.10}"#;
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    for (more, media_type, data) in [
        (format!(r#","data":{exact}"#), "application/json", exact),
        (format!(r#","data":{deep}"#), "application/json", &deep),
        (r#","data":"text""#.to_owned(), "application/json", r#""text""#),
        (r#","data":null"#.to_owned(), "application/json", "null"),
        (r#","data":[1],"datacontenttype":"A/B+JSON; v=1""#.to_owned(), "A/B+JSON; v=1", "[1]"),
        (
            r#","datacontenttype":"text/xml","data":"<a b=\"c\"/>""#.to_owned(),
            "text/xml",
            r#"<a b="c"/>"#,
        ),
    ] {
        check(members(&more), event().with_data(media_type, data.to_owned()));
    }
    check_refused(
        members(r#","data_base64":"e30=","data":null"#),
        400,
        "expected one of the members `data` and `data_base64`, found both",
    );
    let bytes = r#","datacontenttype":"image/png","data_base64":"/wA=""#;
    check(members(bytes), event().with_data("image/png", &b"\xff\0"[..]));
    let mut empty = event();
    empty.data = Some(Bytes::new());
    check(members(r#","data_base64":"""#), empty);
}

#[test]
fn members_of_the_wrong_type_are_named() {
    for (more, message) in [
        (r#","subject":7"#, "expected a string as member `subject`"),
        (r#","time":1522949460"#, "expected a string as member `time`"),
        (r#","data_base64":[1]"#, "expected a string as member `data_base64`"),
        (
            r#","datacontenttype":"text/plain","data":{}"#,
            "expected a string, because `datacontenttype` is not JSON, as member `data`",
        ),
        (
            r#","datacontenttype":"text/plain","data":null"#,
            "expected a string, because `datacontenttype` is not JSON, as member `data`",
        ),
        (
            r#","retries":1.5"#,
            "expected a string, a boolean or a 32-bit integer as member `retries`",
        ),
        (
            r#","retries":4294967296"#,
            "expected a string, a boolean or a 32-bit integer as member `retries`",
        ),
        (r#","a":{}"#, "expected a string, a boolean or a 32-bit integer as member `a`"),
        (r#","data_base64":"?""#, "failed to decode member `data_base64`"),
        (
            r#","Tenant":"eu""#,
            "expected an extension name of lower-case letters and digits, found `Tenant`",
        ),
    ] {
        check_refused(members(more), 400, message);
    }
}

#[test]
fn body_that_is_no_json_event_says_where_it_breaks() {
    for (body, cause) in [
        ("", "EOF while parsing a value at line 1 column 0"),
        ("[]", "invalid type: sequence, expected an event as a JSON object"),
        (r#"{"id":"1","id":"2"}"#, "member `id` appears twice at line 1 column 14"),
        (r#"{"id":"1"} x"#, "trailing characters at line 1 column 12"),
    ] {
        let error = structured(body).unwrap_err();
        let source = error.source().unwrap().to_string();
        assert!(source.starts_with(cause), "{body}: {source}");
        check_refused(Err(error), 400, "failed to read the body as a JSON event");
    }
}

#[test]
fn extensions_and_attributes_are_bounded_in_both_modes() {
    let names: Vec<_> = (0..65).map(|i| format!("ce-x{i}")).collect();
    let headers: Vec<_> = names.iter().map(|name| (name.as_str(), "1")).collect();
    assert_eq!(binary(&headers[..64], "").unwrap().extensions.len(), 64);
    let too_many = "the event has 65 extensions, more than the limit of 64";
    check_refused(binary(&headers, ""), 413, too_many);

    let json = |n| (0..n).map(|i| format!(r#","x{i}":1"#)).collect::<String>();
    assert_eq!(members(&json(64)).unwrap().extensions.len(), 64);
    check_refused(members(&json(65)), 413, too_many);
    let error = members(&json(1000)).unwrap_err();
    let source = error.source().unwrap().to_string();
    assert!(source.starts_with("more than 74 members"), "{source}");

    let long = "s".repeat(40_000);
    for found in [binary(&[("ce-subject", &long)], ""), members(&format!(r#","subject":"{long}""#))]
    {
        let message = "the event has 40039 bytes of attributes, more than the limit of 32768";
        check_refused(found, 413, message);
    }
}

#[test]
fn response_has_the_attributes_as_headers() {
    let response = encode(
        &event()
            .with_data("text/plain", "hi")
            .with_subject("Euro € 😀")
            .with_extension("note", "100 %\""),
    )
    .unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.body(), "hi");
    let headers: BTreeMap<_, _> = response
        .headers()
        .iter()
        .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
        .collect();
    let expected: BTreeMap<_, _> = BINARY
        .iter()
        .copied()
        .chain([
            ("content-type", "text/plain"),
            ("ce-subject", "Euro%20%E2%82%AC%20%F0%9F%98%80"),
            ("ce-note", "100%20%25%22"),
        ])
        .collect();
    assert_eq!(headers, expected);
}

#[test]
fn answer_that_cannot_be_told_from_another_is_not_sent() {
    for (event, message) in [
        (CloudEvent::new("", "/shop", "t"), "attribute `id` is empty"),
        (event().with_extension("id", "18"), "extension `id` has a name that CloudEvents reserves"),
        (
            event().with_data("Application/CloudEvents+json", "{}"),
            "expected data that is not itself a CloudEvent, \
             found `Application/CloudEvents+json`",
        ),
    ] {
        assert_eq!(encode(&event).unwrap_err().to_string(), message);
    }
}

/// Text without control characters, of any other kind.
fn text(min: usize) -> impl Strategy<Value = String> {
    proptest::collection::vec(any::<char>().prop_filter("control", |c| !c.is_control()), min..20)
        .prop_map(String::from_iter)
}

fn time() -> impl Strategy<Value = String> {
    (0i64..4_000_000_000, 0i32..1_000_000_000)
        .prop_map(|(second, ns)| jiff::Timestamp::new(second, ns).unwrap().to_string())
}

fn any_event() -> impl Strategy<Value = CloudEvent> {
    use proptest::option::of;
    let media_type = proptest::sample::select(vec!["text/plain", "a/b+json; charset=utf-8"]);
    let name = "[a-z0-9]{1,20}".prop_filter("reserved", |n| !RESERVED.contains(&n.as_str()));
    (
        (text(1), text(1), text(1), of(text(1)), of(time()), of(media_type), of(text(1))),
        of(proptest::collection::vec(any::<u8>(), 1..64)),
        proptest::collection::btree_map(name, text(0), 0..8),
    )
        .prop_map(|((id, source, ty, subject, time, media_type, schema), data, extensions)| {
            let mut event = CloudEvent::new(id, source, ty);
            event.subject = subject;
            event.time = time;
            event.datacontenttype = media_type.map(str::to_owned);
            event.dataschema = schema;
            event.data = data.map(Bytes::from);
            event.extensions = extensions;
            event
        })
}

proptest! {
    #[test]
    fn event_comes_back_from_its_response(event in any_event()) {
        let (response, body) = encode(&event).unwrap().into_parts();
        let (mut parts, ()) = http::Request::new(()).into_parts();
        parts.headers = response.headers;
        prop_assert_eq!(decode(&parts, body).unwrap(), Sent::Event(Box::new(event)));
    }

    #[test]
    fn event_comes_back_from_json(event in any_event()) {
        let mut json: serde_json::Map<_, _> =
            event.attributes().map(|(name, value)| (name.to_owned(), value.into())).collect();
        json.insert("specversion".to_owned(), SPEC_VERSION.into());
        if let Some(data) = &event.data {
            json.insert("data_base64".to_owned(), STANDARD.encode(data).into());
        }
        prop_assert_eq!(structured(&serde_json::to_string(&json).unwrap()).unwrap(), event);
    }

    #[test]
    fn whatever_is_decoded_is_valid_and_can_be_answered(
        attributes in proptest::collection::vec(("[a-z-]{1,4}", "[ -~]{0,12}"), 0..6),
        id in "[ -~]{0,12}",
    ) {
        let named: Vec<_> =
            attributes.iter().map(|(name, value)| (format!("ce-{name}"), value)).collect();
        let headers: Vec<_> = BINARY
            .iter()
            .map(|(name, value)| (*name, if *name == "ce-id" { id.as_str() } else { value }))
            .chain(named.iter().map(|(name, value)| (name.as_str(), value.as_str())))
            .map(|(name, value)| (name, value.as_bytes()))
            .collect();
        if let Ok(event) = request(&headers, b"") {
            prop_assert!(encode(&event).is_ok());
        }
    }
}
