//! What holds for every record there could be.

use proptest::prelude::*;
use serde_json::{Value, json};
use toolwarden::decode::Format;
use toolwarden::event::Status;

use super::support::{decode_as, decode_auto};

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1e9..1e9_f64).prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map("[a-e]{1,3}", inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// The same value with the keys of every object the other way round.
fn reversed(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let members: Vec<_> = members
                .iter()
                .rev()
                .map(|(key, value)| format!("{} : {}", json!(key), reversed(value)))
                .collect();
            format!("{{ {} }}", members.join(" , "))
        }
        Value::Array(values) => {
            format!("[{}]", values.iter().map(reversed).collect::<Vec<_>>().join(", "))
        }
        scalar => scalar.to_string(),
    }
}

fn event(arguments: &str) -> String {
    format!(
        r#"{{"ts":1772444477,"tenant_id":"t","agent_id":"a","tool_name":"x","arguments":{arguments}}}"#
    )
}

proptest! {
    #[test]
    fn no_bytes_make_any_format_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        for format in Format::ALL {
            let found = decode_as(&bytes, format);
            prop_assert!(found.calls.len() + found.ignored.len() + found.rejected.len() > 0);
        }
    }

    #[test]
    fn no_damage_to_a_good_record_makes_any_format_panic(
        which in 0..4_usize,
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let trace = include_str!("../../../fixtures/decode/genai_trace.json");
        let logs = include_str!("../../../fixtures/decode/claude_code_logs.json");
        let mut bytes = match which {
            0 => trace.as_bytes().to_vec(),
            1 => logs.as_bytes().to_vec(),
            2 => super::support::to_proto(&serde_json::from_str(trace).unwrap()),
            _ => super::support::to_proto(&serde_json::from_str(logs).unwrap()),
        };
        let place = at.index(bytes.len());
        bytes[place] = byte;
        bytes.truncate(cut.index(bytes.len()) + 1);
        for format in Format::ALL {
            let found = decode_as(&bytes, format);
            prop_assert!(found.calls.len() + found.ignored.len() + found.rejected.len() > 0);
        }
    }

    #[test]
    fn the_order_of_keys_and_white_space_do_not_change_the_arguments(value in any_json()) {
        prop_assume!(!value.is_string() && !value.is_null());
        let plain = decode_auto(event(&value.to_string()).as_bytes()).call().arguments;
        prop_assert_eq!(decode_auto(event(&reversed(&value)).as_bytes()).call().arguments, plain);
        let quoted = json!(value.to_string()).to_string();
        prop_assert_eq!(decode_auto(event(&quoted).as_bytes()).call().arguments, plain);
    }

    #[test]
    fn arguments_that_differ_have_digests_that_differ(left in any_json(), right in any_json()) {
        prop_assume!(left != right && !left.is_string() && !right.is_string());
        let digest = |value: &Value| {
            decode_auto(event(&value.to_string()).as_bytes()).call().arguments.digest
        };
        // An integer and the float that equals it are the same number on purpose.
        prop_assume!(left.as_f64().is_none() || left.as_f64() != right.as_f64());
        prop_assert_ne!(digest(&left), digest(&right));
    }

    #[test]
    fn a_native_event_comes_back_as_it_was_written(
        texts in prop::collection::vec("[a-zA-Z0-9 ._:@/äß中\"\\\\-]{1,40}", 5),
        millis in 0..1_772_444_000_000_i64,
        counts in prop::collection::vec(prop::option::of(any::<u64>()), 3),
    ) {
        let event = json!({
            "ts": toolwarden::event::Timestamp::from_millis(millis).to_string(),
            "tenant_id": texts[0], "agent_id": texts[1], "session_id": texts[2],
            "call_id": texts[3], "tool_name": texts[4], "status": "denied",
            "duration_ms": counts[0], "bytes_in": counts[1], "bytes_out": counts[2],
        });
        let call = decode_auto(event.to_string().as_bytes()).call();
        prop_assert_eq!(call.time.as_millis(), millis);
        let read = [call.tenant_id, call.agent_id, call.session_id, call.call_id, call.tool_name];
        prop_assert_eq!(read.map(String::from).to_vec(), texts);
        prop_assert_eq!(call.status, Status::Denied);
        prop_assert_eq!(vec![call.duration_ms, call.bytes_in, call.bytes_out], counts);
    }
}
