//! Decoding from outside: what whole records of every format come to, good, odd and hostile.

mod canonical;
mod hostile;
mod otlp;
mod properties;
pub(crate) mod support;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use support::{decode_as, decode_auto, decode_with, record};
use toolwarden::decode::{Format, Ignored, Options, Reason, Record};
use toolwarden::event::{Operation, Quality, Status};

const NATIVE: &str = include_str!("../../../fixtures/decode/native_404.json");
const CLOUD_EVENT: &str = include_str!("../../../fixtures/decode/cloudevent.json");
const TRAILING_COMMA: &str = include_str!("../../../fixtures/decode/trailing_comma.txt");

#[test]
fn a_native_event_is_read_field_by_field() {
    let call = decode_auto(NATIVE.as_bytes()).call();
    assert_eq!(call.time.to_string(), "2026-03-02T09:41:17.382Z");
    assert_eq!((&*call.tenant_id, &*call.agent_id), ("northwind", "claude-code@build-07"));
    assert_eq!((&*call.session_id, &*call.call_id), ("4f1c9a70d2be", "toolu_01H8XN5Q2RZT7"));
    assert_eq!((&*call.tool_name, call.operation), ("Grep", Operation::Read));
    assert_eq!(
        (call.status, call.duration_ms, call.bytes_out, call.bytes_in),
        (Status::Ok, Some(212), Some(1834), None)
    );
    assert_eq!(call.arguments.bytes, 101);
    assert_eq!(call.quality, Quality::default());
    assert_eq!((call.position.partition, call.position.offset, call.position.index), (3, 41, 0));
    assert_eq!(decode_as(NATIVE.as_bytes(), Format::Native).call(), call);
}

#[test]
fn a_native_event_declares_its_group_and_only_without_one_its_type() {
    let group = |fields: &str| {
        let event = format!(
            r#"{{"ts":1767571200,"tenant_id":"t","agent_id":"a","tool_name":"x"{fields}}}"#
        );
        decode_auto(event.as_bytes()).call().agent_group.map(String::from)
    };
    assert_eq!(group(r#","agent_type":"kind","agent_group":"g""#).as_deref(), Some("g"));
    assert_eq!(group(r#","agent_group":"g","agent_type":"kind""#).as_deref(), Some("g"));
    assert_eq!(group(r#","agent_group":"","agent_type":"kind""#).as_deref(), Some("kind"));
    assert_eq!(group(""), None);
}

#[test]
fn wrong_types_are_read_all_the_same_and_flagged() {
    let check = |field: &str, flagged: bool| {
        let text = format!(
            r#"{{"ts":1772444477,"tenant_id":"t","agent_id":"a","tool_name":"x","call_id":"c",{field}}}"#
        );
        let call = decode_auto(text.as_bytes()).call();
        assert_eq!(call.quality.contains(Quality::COERCED), flagged, "{field}");
    };
    check(r#""session_id":"17""#, false);
    check(r#""session_id":17"#, true);
    check(r#""session_id":null"#, false);
    check(r#""status":true"#, true);
    check(r#""duration_ms":12.5"#, false);
    check(r#""duration_ms":"12""#, true);
    check(r#""bytes_out":-4"#, true);
}

#[test]
fn what_a_record_leaves_out_is_derived_and_flagged() {
    let text = r#"{"ts":1772444477,"agent_id":"a","tool_name":"mcp__ledger__create_invoice"}"#;
    let options = Options { default_tenant: Some("home".into()), ..Options::default() };
    let call = decode_with(&record(text.as_bytes()), &options).call();
    assert_eq!((&*call.tenant_id, &*call.call_id), ("home", "calls:3:41:0"));
    assert!(call.quality.contains(Quality::MISSING_CALL_ID));
    assert_eq!(&*call.tool_name, "mcp__ledger__create_invoice");
    assert_eq!((call.tool_server.as_deref(), call.operation), (Some("ledger"), Operation::Write));
    let declared = text.replace("}", r#","operation":"read"}"#);
    let call = decode_with(&record(declared.as_bytes()), &options).call();
    assert_eq!(call.operation, Operation::Read);
}

#[test]
fn lines_and_lists_are_handed_out_in_the_order_of_their_times() {
    let event = |id: &str, second: u32| {
        format!(
            r#"{{"ts":"2026-03-02T09:00:{second:02}Z","tenant_id":"t","agent_id":"a","tool_name":"x","call_id":"{id}"}}"#
        )
    };
    let events = [event("late", 30), event("early", 10), event("tie 1", 20), event("tie 2", 20)];
    let check = |text: String| {
        let found = decode_auto(text.as_bytes());
        let ids: Vec<_> =
            found.calls.iter().map(|call| (&*call.call_id, call.position.index)).collect();
        assert_eq!(ids, [("early", 0), ("tie 1", 1), ("tie 2", 2), ("late", 3)], "{text}");
        assert_eq!(found.rejected, []);
    };
    check(events.join("\n"));
    check(events.join("\n\n") + "\n");
    check(format!("[{}]", events.join(",")));
    check(format!("\n[{}]\n", events.join(" , ")));
    let wrapped = events.map(|event| {
        let data = BASE64_STANDARD.encode(event);
        format!(r#"{{"specversion":"1.0","data_base64":"{data}"}}"#)
    });
    check(format!("[{}]", wrapped.join(",")));
}

#[test]
fn a_broken_line_costs_only_itself() {
    let good = |id: &str| {
        format!(
            r#"{{"ts":1772444477,"tenant_id":"t","agent_id":"a","tool_name":"x","call_id":"{id}"}}"#
        )
    };
    for broken in [
        "{\"ts\":",
        "{\"a\":tru}",
        "{\"a\":\"",
        "{]",
        &"{\"a\":".repeat(500),
        "{\"message\":\"plain\"}",
    ] {
        let text = format!("{}\n{broken}\n{}\n", good("1"), good("2"));
        let found = decode_auto(text.as_bytes());
        let ids: Vec<_> = found.calls.iter().map(|call| &*call.call_id).collect();
        assert_eq!((ids, found.rejected.len()), (vec!["1", "2"], 1), "{broken}");
        assert!(found.rejected[0].detail.contains("byte"), "{}", found.rejected[0]);
    }
    let found = decode_auto(format!("[{},7,{}]", good("1"), good("2")).as_bytes());
    assert_eq!((found.calls.len(), found.rejected.len()), (2, 1));
    assert!(found.rejected[0].detail.contains("element 1"), "{}", found.rejected[0]);
}

#[test]
fn malformed_json_is_rejected_with_its_place() {
    let error = decode_auto(TRAILING_COMMA.as_bytes()).error();
    assert_eq!(error.reason, Reason::Parse);
    assert!(error.detail.contains("line 6 column 1"), "{error}");
    assert!(error.detail.contains("byte 121"), "{error}");
    assert_eq!(TRAILING_COMMA.as_bytes()[121], b'}');
}

#[test]
fn an_error_repeats_no_more_than_a_little_of_the_record() {
    let secret = "hunter2 ".repeat(200);
    let check = |text: String| {
        let error = decode_auto(text.as_bytes()).error();
        assert!(error.detail.len() < 250, "{error}");
        assert!(!error.detail.contains('\n') && !error.detail.contains('\u{1b}'), "{error}");
    };
    check(format!(r#"{{"tool_name":"x","duration_ms":"{secret}"}}"#));
    check(format!(r#"{{"tool_name":["{secret}"]}}"#));
    check(format!(r#"{{"resourceSpans":"\u001b[31m{secret}"}}"#));
    check(format!(r#"{{"specversion":"1.0","data_base64":"{secret}"}}"#));
    check(secret);
}

#[test]
fn cloud_events_are_unwrapped_once_whatever_the_case_of_their_content_type() {
    let inner = decode_auto(
        &serde_json::to_vec(
            &serde_json::from_str::<serde_json::Value>(CLOUD_EVENT).unwrap()["data"],
        )
        .unwrap(),
    )
    .call();
    let with_type = |payload: &str, content_type: &'static str| {
        let record = Record { content_type: Some(content_type), ..record(payload.as_bytes()) };
        decode_with(&record, &Options::default())
    };
    assert_eq!(decode_auto(CLOUD_EVENT.as_bytes()).call(), inner);
    let upper = "Application/CloudEvents+JSON; charset=UTF-8";
    assert_eq!(with_type(CLOUD_EVENT, upper).call(), inner);
    assert_eq!(decode_as(CLOUD_EVENT.as_bytes(), Format::CloudEvents).call(), inner);

    let data = serde_json::from_str::<serde_json::Value>(CLOUD_EVENT).unwrap()["data"].to_string();
    let base64 = BASE64_STANDARD.encode(&data);
    let encoded = format!(r#"{{"specversion":"1.0","data_base64":"{base64}"}}"#);
    assert_eq!(decode_auto(encoded.as_bytes()).call(), inner);
    let quoted = serde_json::json!({ "specversion": "1.0", "data": data }).to_string();
    assert_eq!(decode_auto(quoted.as_bytes()).call(), inner);
    // In binary mode the attributes are headers and the value is the data itself.
    assert_eq!(with_type(&data, "application/json").call(), inner);

    let empty = decode_auto(br#"{"specversion":"1.0","data":null}"#);
    assert_eq!(empty.ignored, [Ignored::Tombstone]);
    let twice = format!(r#"{{"specversion":"1.0","data":{CLOUD_EVENT}}}"#);
    assert_eq!(decode_auto(twice.as_bytes()).error().reason, Reason::UnknownFormat);
}

#[test]
fn a_shippers_envelope_is_opened_once() {
    let wrapped = serde_json::json!({ "@timestamp": "2026-03-02T10:00:00Z", "message": NATIVE });
    let call = decode_auto(wrapped.to_string().as_bytes()).call();
    assert_eq!(call, decode_auto(NATIVE.as_bytes()).call());
    let twice = serde_json::json!({ "message": wrapped.to_string() });
    assert_eq!(decode_auto(twice.to_string().as_bytes()).error().reason, Reason::UnknownFormat);
    let with_message = NATIVE.replacen('{', r#"{"message":"{}","#, 1);
    assert_eq!(decode_auto(with_message.as_bytes()).call(), call);
}

#[test]
fn formats_that_are_not_read_are_named() {
    let check = |payload: &[u8], word: &str| {
        let error = decode_auto(payload).error();
        assert_eq!(error.reason, Reason::UnknownFormat, "{error}");
        assert!(error.detail.contains(word), "{error}");
    };
    check(br#"{"class_uid":6003,"status":null}"#, "OCSF");
    check(br#"{"jsonrpc":"2.0","id":1,"method":"tools/call"}"#, "MCP");
    check(br#"{"Records":[]}"#, "CloudTrail");
    check(br#"{"hello":"world"}"#, "agent_id");
    check(b"\x1f\x8b\x08\x00rest", "gzip");
    check(b"\x28\xb5\x2f\xfdrest", "zstd");
    check(b"\x00\x00\x00\x00\x07{}", "Schema Registry");
    check(b"null", "6e 75 6c 6c");
    check(b"claude_code.tool_result", "neither JSON");
}
