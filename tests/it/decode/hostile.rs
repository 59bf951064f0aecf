//! What an attacker or a broken producer sends: each has its reason, and nothing else suffers.

use toolwarden::decode::{
    Format, IDENTIFIER_BYTES_MAX, ITEMS_MAX, Ignored, Options, Reason, Record,
};
use toolwarden::event::Quality;

use super::support::{decode_as, decode_auto, decode_with, record};

const GOOD: &str =
    r#"{"ts":"2026-03-02T11:59:59Z","tenant_id":"t","agent_id":"a","tool_name":"x","call_id":"c"}"#;

/// A good event with `from` replaced.
fn event(from: &str, to: &str) -> Vec<u8> {
    assert!(GOOD.contains(from), "{from}");
    GOOD.replacen(from, to, 1).into_bytes()
}

fn with_field(field: &str) -> Vec<u8> {
    event("}", &format!(",{field}}}"))
}

#[test]
fn row_34_hostile_records_are_rejected_for_their_reason_and_their_neighbours_are_read() {
    let good = decode_auto(GOOD.as_bytes()).call();
    let deep = |open: &str, close: &str| open.repeat(10_000) + "1" + &close.repeat(10_000);
    let long = "i".repeat(IDENTIFIER_BYTES_MAX + 1);
    let check = |what: &str, payload: Vec<u8>, expected: Reason| {
        for format in [Format::Auto, Format::Native] {
            assert_eq!(decode_auto(GOOD.as_bytes()).call(), good);
            let found = decode_as(&payload, format);
            let reasons: Vec<_> = found.rejected.iter().map(|error| error.reason).collect();
            assert_eq!((reasons, found.calls.len()), (vec![expected], 0), "{what}");
            assert!(found.rejected[0].detail.len() < 400, "{what}");
            assert_eq!(decode_auto(GOOD.as_bytes()).call(), good);
        }
    };
    let nested = format!("\"arguments\":{}", deep("{\"a\":", "}"));
    check("deep arguments", with_field(&nested), Reason::TooDeep);
    check("deep list", with_field(&format!("\"x\":{}", deep("[", "]"))), Reason::TooDeep);
    check("never closed", format!("{{\"x\":{}", "[".repeat(10_000)).into_bytes(), Reason::TooDeep);
    check("10 MB", with_field(&format!("\"x\":\"{}\"", "x".repeat(10 << 20))), Reason::TooLarge);
    check(
        "many objects",
        with_field(&format!("\"x\":[{}1]", "{},".repeat(600_000))),
        Reason::TooLarge,
    );
    check("duplicate agent", with_field(r#""agent_id":"b""#), Reason::DuplicateField);
    check("duplicate time", with_field(r#""ts":1"#), Reason::DuplicateField);
    check("escaped duplicate", with_field(r#""tool\u005fname":"y""#), Reason::DuplicateField);
    check("infinite argument", with_field(r#""arguments":{"n":1e999}"#), Reason::Parse);
    check("infinite time", event("\"2026-03-02T11:59:59Z\"", "1e999"), Reason::Parse);
    check("infinite size", with_field(r#""bytes_out":-1e999"#), Reason::Parse);
    check("NaN", with_field(r#""bytes_out":NaN"#), Reason::Parse);
    check("lone surrogate", event("\"a\"", r#""\ud800""#), Reason::Parse);
    check("cut short", GOOD.as_bytes()[..40].to_vec(), Reason::Parse);
    check("before 1970", event("2026", "1969"), Reason::BadTime);
    check("year 2300", event("2026", "2300"), Reason::BadTime);
    check("no time", event("\"ts\"", "\"t\""), Reason::BadTime);
    check("words for a time", event("2026-03-02", "monday"), Reason::BadTime);
    check("no agent", event("\"agent_id\"", "\"agent\""), Reason::MissingAgent);
    check("empty agent", event("\"a\"", "\"\""), Reason::MissingAgent);
    check("null agent", event("\"a\"", "null"), Reason::MissingAgent);
    check("no tool", event("\"x\"", "\"\""), Reason::MissingTool);
    check("no tenant", event("\"t\"", "\"\""), Reason::MissingTenant);
    check("long agent", event("\"a\"", &format!("\"{long}\"")), Reason::BadIdentifier);
    check("control character", event("\"x\"", r#""x\u0007""#), Reason::BadIdentifier);
    check("turned text", event("\"c\"", r#""c\u202e""#), Reason::BadIdentifier);
    check("agent is a list", event("\"a\"", "[1]"), Reason::Parse);
    let mut invalid = GOOD.as_bytes().to_vec();
    invalid.insert(50, 0xff);
    check("invalid UTF-8", invalid, Reason::Utf8);
    check("white space", b"\n \n".to_vec().repeat(3), Reason::Parse);
}

#[test]
fn a_time_from_long_ago_is_kept_and_one_from_the_future_is_the_brokers() {
    let old = decode_auto(&event("2026", "1970")).call();
    assert_eq!(old.time.to_string(), "1970-03-02T11:59:59.000Z");
    assert_eq!(old.quality, Quality::default());
    let future = decode_auto(&event("2026", "2100")).call();
    assert_eq!(future.time, record(b"").append_time);
    assert!(future.quality.contains(Quality::FUTURE_TIME));
}

#[test]
fn a_record_without_a_value_is_a_tombstone_in_every_format() {
    for format in Format::ALL {
        assert_eq!(decode_as(b"", format).ignored, [Ignored::Tombstone]);
        let none = Record { payload: None, ..record(b"") };
        let options = Options { format, ..Options::default() };
        assert_eq!(decode_with(&none, &options).ignored, [Ignored::Tombstone]);
    }
}

#[test]
fn what_is_too_large_is_not_even_looked_at() {
    let options = Options { record_bytes_max: 10, ..Options::default() };
    let error = decode_with(&record(b"not a format"), &options).error();
    assert_eq!(error.reason, Reason::TooLarge);
    assert!(error.detail.contains("12 bytes"), "{error}");
}

#[test]
fn one_record_holds_no_more_than_so_many_events() {
    let limit = usize::try_from(ITEMS_MAX).unwrap();
    let check = |payload: Vec<u8>, calls: usize, rejected: usize| {
        let found = decode_auto(&payload);
        assert_eq!((found.calls.len(), found.rejected.len()), (calls, rejected));
        assert_eq!(found.rejected.last().unwrap().reason, Reason::TooLarge);
    };
    let event = format!("{GOOD}\n");
    check(event.repeat(limit + 5).into_bytes(), limit, 1);
    check(format!("[{}{GOOD}]", format!("{GOOD},").repeat(limit + 5)).into_bytes(), limit, 1);
    check("{}\n".repeat(limit + 5).into_bytes(), 0, limit + 1);
}

#[test]
fn protobuf_that_is_small_to_send_and_large_to_hold_is_rejected_unread() {
    let wrap = |tag: u8, content: &[u8]| {
        let mut message = vec![tag];
        prost::encoding::encode_varint(u64::try_from(content.len()).unwrap(), &mut message);
        message.extend_from_slice(content);
        message
    };
    let check = |what: &str, payload: Vec<u8>| {
        assert_eq!(decode_auto(&payload).error().reason, Reason::TooLarge, "{what}");
    };
    let many = usize::try_from(ITEMS_MAX).unwrap() * 3 + 1;
    check("empty spans", wrap(0x0a, &wrap(0x12, &[0x12, 0x00].repeat(many))));
    check("empty scopes", wrap(0x0a, &[0x12, 0x00].repeat(many)));
    check("empty resources", [0x0a, 0x00].repeat(many));
    check("attributes", wrap(0x0a, &wrap(0x12, &wrap(0x12, &[0x4a, 0x00].repeat(5_000)))));
    check("resource attributes", wrap(0x0a, &wrap(0x0a, &[0x0a, 0x00].repeat(5_000))));
}
