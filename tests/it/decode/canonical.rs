//! Calls as ingest writes them: everything comes back as it was, and nothing else is read.

use std::borrow::Cow;
use std::sync::Arc;

use proptest::prelude::*;
use toolwarden::decode::{DecodeError, HashKey, Item, Options, Reason, Record, canonical};
use toolwarden::event::{
    Arguments, Operation, Origin, Position, Quality, Shown, Status, Target, TargetKind, Timestamp,
    ToolCall,
};

/// What a record of the calls topic is read as.
fn read(bytes: &[u8], options: &Options) -> Result<ToolCall<'static>, DecodeError> {
    let record = Record {
        position: Position { topic: "keyed", partition: 9, offset: 700, index: 0 },
        append_time: Timestamp::MAX,
        key: None,
        content_type: None,
        payload: Some(bytes),
    };
    let mut found = None;
    canonical::decode(&record, options, &mut |item| {
        assert!(found.is_none(), "one record is one call");
        found = Some(match item {
            Item::Call(call) => Ok(call.into_owned("keyed")),
            Item::Rejected(error) => Err(error),
            Item::Ignored(ignored) => panic!("{ignored:?}"),
        });
    });
    found.unwrap()
}

fn written(call: &ToolCall<'_>) -> Vec<u8> {
    canonical::encode(call, Some(1_772_444_500_000), HashKey::BUILT_IN).unwrap()
}

fn call() -> ToolCall<'static> {
    ToolCall {
        position: Position { topic: "spans", partition: 3, offset: 41, index: 2 },
        time: "2026-03-02T09:41:17.382Z".parse().unwrap(),
        tenant_id: "acme".into(),
        agent_id: "billing@1".into(),
        call_id: "c-1".into(),
        tool_name: "pay".into(),
        ..ToolCall::default()
    }
}

/// As it comes back: read from the calls topic, with its place in the source as its origin.
fn returned(call: &ToolCall<'static>, append_ms: i64) -> ToolCall<'static> {
    let Position { topic, partition, offset, index } = call.position;
    let origin =
        Origin { topic: topic.into(), partition, offset, index, append_ms: Some(append_ms) };
    ToolCall {
        position: Position { topic: "keyed", partition: 9, offset: 700, index: 0 },
        origin: Some(Arc::new(origin)),
        ..call.clone()
    }
}

fn refused(bytes: &[u8]) -> DecodeError {
    read(bytes, &Options::default()).unwrap_err()
}

#[test]
fn a_call_comes_back_with_its_place_in_the_source() {
    let back = read(&written(&call()), &Options::default()).unwrap();
    assert_eq!(back, returned(&call(), 1_772_444_500_000));
    assert_eq!(back.source(), call().position, "what people are shown");
    assert_eq!(back.position.offset, 700);
}

#[test]
fn hashes_of_another_key_are_refused_with_both_fingerprints() {
    let other = HashKey::of_secret("a key of sixteen or more");
    let options = Options { hash_key: other, ..Options::default() };
    let error = read(&written(&call()), &options).unwrap_err();
    assert_eq!(error.reason, Reason::HashKey);
    for words in [&*HashKey::BUILT_IN.fingerprint(), &*other.fingerprint(), "hash_key_file"] {
        assert!(error.detail.contains(words), "{error}");
    }
}

#[test]
fn what_ingest_did_not_write_is_refused() {
    let good = written(&call());
    assert_eq!(refused(br#"{"agent_id":"a"}"#).reason, Reason::UnknownFormat);
    let mut newer = good.clone();
    newer[4] += 1;
    let error = refused(&newer);
    assert_eq!(error.reason, Reason::UnknownFormat);
    assert!(error.detail.contains("layout 2"), "{error}");
    for end in 5..good.len() {
        assert_eq!(refused(&good[..end]).reason, Reason::Parse, "cut at {end}");
    }
    for place in 13..good.len() {
        let mut damaged = good.clone();
        damaged[place] ^= 0x10;
        assert_eq!(refused(&damaged).reason, Reason::Parse, "damaged at {place}");
    }
}

#[test]
fn a_call_beyond_the_bounds_of_a_source_is_refused() {
    let with = |change: &dyn Fn(&mut ToolCall<'static>)| {
        let mut call = call();
        change(&mut call);
        refused(&written(&call)).reason
    };
    assert_eq!(with(&|it| it.agent_id = "".into()), Reason::MissingAgent);
    assert_eq!(with(&|it| it.tenant_id = "".into()), Reason::MissingTenant);
    assert_eq!(with(&|it| it.tool_name = "".into()), Reason::MissingTool);
    assert_eq!(with(&|it| it.call_id = "".into()), Reason::BadIdentifier);
    assert_eq!(with(&|it| it.session_id = "a\u{202e}b".into()), Reason::BadIdentifier);
    assert_eq!(with(&|it| it.agent_id = "a".repeat(257).into()), Reason::BadIdentifier);
    assert_eq!(with(&|it| it.words = Cow::Owned(vec![1; 65])), Reason::TooLarge);
    assert_eq!(with(&|it| it.targets = vec![Target::default(); 25].into()), Reason::TooLarge);
    assert_eq!(with(&|it| it.time = Timestamp::from_secs(-1)), Reason::BadTime);
    assert_eq!(with(&|it| it.time = it.time.plus_secs(86_400)), Reason::BadTime);
    let huge = ToolCall { session_id: "s".repeat(70_000).into(), ..call() };
    let error = canonical::encode(&huge, None, HashKey::BUILT_IN).unwrap_err();
    assert_eq!(error.reason, Reason::TooLarge);
}

#[test]
fn short_forms_are_shown_only_where_detect_may_show_them() {
    let target = Target { shown: Shown::new("eve@example.com"), ..Target::default() };
    let call = ToolCall { targets: vec![target].into(), ..call() };
    let shown = |show_targets| {
        let options = Options { show_targets, ..Options::default() };
        read(&written(&call), &options).unwrap().targets[0].shown
    };
    assert_eq!(shown(true).as_str(), "eve@example.com");
    assert_eq!(shown(false).as_str(), "");
}

#[test]
fn the_layout_of_a_call_does_not_change_unnoticed() {
    // Another layout needs another version, or a rolling update would read one as the other.
    let full = ToolCall {
        agent_version: Some("v1".into()),
        targets: vec![Target { kind: TargetKind::Email, value: 7, ..Target::default() }].into(),
        words: Cow::Owned(vec![5]),
        operation: Operation::Write,
        status: Status::Ok,
        duration_ms: Some(300),
        quality: Quality::COERCED,
        arguments: Arguments { digest: 1, bytes: 2, shape: 3 },
        ..call()
    };
    let hex: String = written(&full).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, GOLDEN);
}

const GOLDEN: &str = "\
    7477636c013031383861616565057370616e7306520201c080e6de956780f6a7a790b7fe9831\
    0461636d650962696c6c696e67403101027631000003632d3103706179000101020301000007\
    0000000000000000010500000001ac02000010ad67bdcc\
";

prop_compose! {
    fn targets()(
        kind in 0..TargetKind::ALL.len(),
        numbers in any::<(u32, u64, u64, [u32; 2], u32)>(),
        flags in any::<(bool, bool, bool)>(),
        shown in "\\PC{0,30}",
    ) -> Target {
        let (key, value, domain, near, stem) = numbers;
        let (is_freemail, is_whole, is_reserved) = flags;
        let (kind, shown) = (TargetKind::ALL[kind], Shown::new(&shown));
        Target {
            kind, key, value, domain, is_freemail, is_whole, is_reserved, near, stem, shown,
        }
    }
}

prop_compose! {
    fn calls()(
        names in prop::array::uniform5("[a-z0-9/@:._äöü-]{1,40}"),
        optional in prop::array::uniform5(prop::option::of("[a-z0-9/@:._-]{0,40}")),
        place in (0_i32..1_000, 0_i64..i64::MAX, any::<u32>()),
        time in 0_i64..1_772_444_500_000_000_000,
        targets in prop::collection::vec(targets(), 0..24),
        words in prop::collection::vec(any::<u32>(), 0..64),
        numbers in any::<(Option<u64>, Option<u64>, Option<u64>, u64, u64, u32)>(),
        kinds in (0_usize..6, 0_usize..6, any::<bool>()),
    ) -> ToolCall<'static> {
        let [tenant_id, agent_id, session_id, call_id, tool_name] = names.map(Cow::Owned);
        let [agent_version, agent_group, tool_server, user_id, parent_agent_id] =
            optional.map(|text| text.map(Cow::Owned));
        let (partition, offset, index) = place;
        let (duration_ms, bytes_in, bytes_out, digest, bytes, shape) = numbers;
        let operations = [
            Operation::Read, Operation::Write, Operation::Delete, Operation::Execute,
            Operation::Auth, Operation::Unknown,
        ];
        let statuses = [
            Status::Ok, Status::Error, Status::Denied, Status::Cancelled, Status::Timeout,
            Status::Unknown,
        ];
        let mut quality = Quality::default();
        if kinds.2 {
            quality.insert(Quality::MANY_TARGETS);
        }
        ToolCall {
            position: Position { topic: "spans", partition, offset, index },
            origin: None,
            time: Timestamp::from_nanos(time),
            tenant_id, agent_id, agent_version, agent_group, session_id, call_id, tool_name,
            tool_server, user_id, parent_agent_id,
            operation: operations[kinds.0],
            status: statuses[kinds.1],
            arguments: Arguments { digest, bytes, shape },
            targets: Cow::Owned(targets),
            words: Cow::Owned(words),
            duration_ms, bytes_in, bytes_out, quality,
        }
    }
}

proptest! {
    #[test]
    fn every_call_comes_back_as_it_was(call in calls()) {
        let back = read(&written(&call), &Options::default()).unwrap();
        prop_assert_eq!(back, returned(&call, 1_772_444_500_000));
    }

    #[test]
    fn no_bytes_make_it_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..400),
        change in (0_usize..400, any::<u8>()),
        call in calls(),
    ) {
        // Whatever it says, it says one thing.
        if !bytes.is_empty() {
            prop_assert!(read(&bytes, &Options::default()).is_err());
        }
        let mut known = written(&call);
        let end = known.len() - 4;
        if let Some(byte) = known[..end].get_mut(13 + change.0) {
            *byte = change.1;
        }
        let sum = crc(&known[..end]);
        known[end..].copy_from_slice(&sum.to_le_bytes());
        drop(read(&known, &Options::default()));
    }
}

/// The checksum of the house, so that a changed call is looked at and not refused for its sum.
fn crc(bytes: &[u8]) -> u32 {
    let mut sum = !0_u32;
    for byte in bytes {
        sum ^= u32::from(*byte);
        for _ in 0..8 {
            sum = if sum & 1 == 1 { sum >> 1 ^ 0xedb8_8320 } else { sum >> 1 };
        }
    }
    !sum
}
