//! OTLP in both encodings: tool spans of the GenAI and MCP conventions, and Claude Code's logs.

use serde_json::{Value, json};
use toolwarden::decode::{Format, Ignored, Reason};
use toolwarden::event::{Operation, Quality, Status, ToolCall};

use super::support::{Found, decode_as, decode_auto, to_proto};

const TRACE: &str = include_str!("../../../fixtures/decode/genai_trace.json");
const LOGS: &str = include_str!("../../../fixtures/decode/claude_code_logs.json");

fn parse(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// Decodes a request in both encodings, which must agree.
fn decode_both(request: &Value) -> Found {
    let from_json = decode_auto(request.to_string().as_bytes());
    let proto = to_proto(request);
    assert_eq!(decode_auto(&proto), from_json, "{request:#}");
    assert_eq!(decode_as(&proto, Format::OtlpProto), from_json);
    assert_eq!(decode_as(request.to_string().as_bytes(), Format::OtlpJson), from_json);
    from_json
}

fn text(key: &str, value: &str) -> Value {
    json!({ "key": key, "value": { "stringValue": value } })
}

/// A span of one trace, ending `end` seconds after some time.
fn span(id: &str, parent: &str, end: u64, attributes: impl Into<Value>) -> Value {
    let attributes: Value = attributes.into();
    json!({
        "traceId": "7d3f0c5a91b2e84467aa10c9d2f3b518", "spanId": id, "parentSpanId": parent,
        "name": "a span", "kind": 1, "attributes": attributes,
        "startTimeUnixNano": format!("{}", 1_772_444_400_000_000_000 + (end - 1) * 1_000_000_000),
        "endTimeUnixNano": format!("{}", 1_772_444_400_000_000_000 + end * 1_000_000_000),
    })
}

fn tool(name: &str, call_id: &str) -> Vec<Value> {
    let mut attributes =
        vec![text("gen_ai.operation.name", "execute_tool"), text("gen_ai.tool.name", name)];
    if !call_id.is_empty() {
        attributes.push(text("gen_ai.tool.call.id", call_id));
    }
    attributes
}

fn request(resource: &[Value], spans: &[Value]) -> Value {
    json!({ "resourceSpans": [{
        "resource": { "attributes": resource }, "scopeSpans": [{ "spans": spans }],
    }] })
}

fn calls_of(spans: &[Value]) -> Vec<ToolCall<'static>> {
    let found =
        decode_both(&request(&[text("service.name", "svc"), text("tenant.id", "t")], spans));
    assert_eq!(found.rejected, []);
    found.calls
}

#[test]
fn a_tool_span_takes_its_agent_from_the_resource_and_its_conversation_from_the_trace() {
    let found = decode_both(&parse(TRACE));
    assert_eq!((found.ignored, found.rejected), (vec![Ignored::NotAToolCall], vec![]));
    let [call] = &found.calls[..] else { panic!("{:?}", found.calls) };
    assert_eq!((&*call.tenant_id, &*call.agent_id), ("northwind", "claims-assistant"));
    assert!(call.quality.contains(Quality::DERIVED_AGENT));
    assert_eq!(call.agent_version.as_deref(), Some("3.2.0"));
    assert_eq!((&*call.session_id, &*call.call_id), ("conv-claims-81", "call_pol_1"));
    assert_eq!((&*call.tool_name, call.operation), ("lookup_policy", Operation::Read));
    assert_eq!((call.status, call.duration_ms), (Status::Ok, Some(750)));
    assert_eq!(call.time.to_string(), "2026-03-02T09:40:01.950Z");
    assert_eq!(call.arguments.digest, 0);
}

#[test]
fn every_deviation_of_the_encoding_gives_the_same_calls() {
    let expected = decode_both(&parse(TRACE));
    let check = |request: String| {
        assert_ne!(request, TRACE);
        assert_eq!(decode_auto(request.as_bytes()), expected, "{request}");
    };
    let id = "7d3f0c5a91b2e84467aa10c9d2f3b518";
    check(TRACE.replacen(id, &id.to_uppercase(), 1));
    check(TRACE.replace("\"1772444401950000000\"", "1772444401950000000"));
    check(TRACE.replace("\"intValue\": \"52\"", "\"intValue\": 52"));
    check(TRACE.replace("\"kind\": 1", "\"kind\": \"SPAN_KIND_INTERNAL\""));
    check(TRACE.replace("\"resourceSpans\"", "\"batches\""));
    check(TRACE.replace("\"name\": \"chat example-model-4\"", "\"name\": null, \"events\": []"));
    check(TRACE.replacen(
        "\"attributes\": [",
        "\"attributes\": [{\"key\":\"u\",\"value\":{}},{},",
        3,
    ));
    check(TRACE.replacen(
        "\"attributes\": [",
        "\"attributes\": [{\"key\":\"service.name\",\"value\":{\"stringValue\":\"first\"}},",
        1,
    ));
    check(format!("\n{TRACE}"));
}

#[test]
fn the_nearest_agent_is_believed_and_a_guess_is_not_made() {
    let agent = |id: &str, parent: &str, name: &str| {
        let version = text("gen_ai.agent.version", "v9");
        let operation = text("gen_ai.operation.name", "invoke_agent");
        span(id, parent, 9, vec![operation, text("gen_ai.agent.id", name), version])
    };
    let called = |spans: &[Value]| {
        let calls = calls_of(spans);
        (calls[0].agent_id.to_string(), calls[0].agent_version.clone().map(String::from))
    };
    let version = Some("v9".to_owned());
    let tool_span = span("00000000000000aa", "00000000000000a1", 2, tool("get_x", "c1"));
    let outer = agent("00000000000000b1", "", "outer");
    let inner = agent("00000000000000a1", "00000000000000b1", "inner");
    assert_eq!(
        called(&[tool_span.clone(), outer.clone(), inner]),
        ("inner".into(), version.clone())
    );
    assert_eq!(called(&[tool_span.clone(), outer.clone()]), ("outer".into(), version));
    let other = agent("00000000000000c1", "", "other");
    assert_eq!(called(&[tool_span, outer, other]), ("svc".into(), None));
}

#[test]
fn the_agent_around_an_agent_started_it() {
    let agent = |id: &str, parent: &str, name: &str| {
        let operation = text("gen_ai.operation.name", "invoke_agent");
        span(id, parent, 9, vec![operation, text("gen_ai.agent.id", name)])
    };
    let tool_span = span("00000000000000aa", "00000000000000a1", 2, tool("get_x", "c1"));
    let inner = agent("00000000000000a1", "00000000000000b1", "inner");
    let again = agent("00000000000000b1", "00000000000000c1", "inner");
    let outer = agent("00000000000000c1", "", "outer");
    let parent = |spans: &[Value]| calls_of(spans)[0].parent_agent_id.clone().map(String::from);
    let spans = [tool_span, inner, again, outer];
    assert_eq!(parent(&spans).as_deref(), Some("outer"));
    assert_eq!(parent(&spans[..3]), None, "an agent does not start itself");
    assert_eq!(parent(&spans[..1]), None);
}

#[test]
fn an_agent_with_an_opaque_id_is_of_the_group_its_name_tells() {
    let group = |id: &str, more: &[Value]| {
        let mut attributes = vec![
            text("gen_ai.operation.name", "invoke_agent"),
            text("gen_ai.agent.id", id),
            text("gen_ai.agent.name", "billing"),
        ];
        attributes.extend_from_slice(more);
        let tool_span = span("00000000000000aa", "00000000000000a1", 2, tool("get_x", "c1"));
        let calls = calls_of(&[tool_span, span("00000000000000a1", "", 9, attributes)]);
        calls[0].agent_group.clone().map(String::from)
    };
    let uuid = "8d0a7cf2-30f5-4c1c-8a53-1b6a2f9a6f10";
    assert_eq!(group(uuid, &[]).as_deref(), Some("billing"));
    assert_eq!(group("billing@7", &[]), None, "the id tells");
    assert_eq!(group(uuid, &[text("agent.group", "payments")]).as_deref(), Some("payments"));
    assert_eq!(group("billing@7", &[text("agent.type", "payments")]).as_deref(), Some("payments"));
}

#[test]
fn the_user_is_named_by_the_span_or_one_around_it_or_the_resource() {
    let check = |resource: &[Value], outer: &[Value], inner: &[Value], expected: Option<&str>| {
        let mut base = vec![text("service.name", "svc"), text("tenant.id", "t")];
        base.extend_from_slice(resource);
        let mut attributes = tool("get_x", "c1");
        attributes.extend_from_slice(inner);
        let found = decode_both(&request(
            &base,
            &[
                span("00000000000000aa", "00000000000000a1", 2, attributes),
                span("00000000000000a1", "", 3, outer.to_vec()),
            ],
        ));
        assert_eq!(found.calls[0].user_id.as_deref(), expected);
    };
    let (user, end_user) = (text("user.id", "u1"), text("enduser.id", "u2"));
    check(&[], &[], &[], None);
    check(&[], &[], std::slice::from_ref(&end_user), Some("u2"));
    check(&[], std::slice::from_ref(&user), &[], Some("u1"));
    check(&[end_user], &[], &[], Some("u2"));
    check(&[text("user.id", "u3")], &[], &[user], Some("u1"));
}

#[test]
fn a_ring_of_parents_ends() {
    let calls = calls_of(&[
        span("00000000000000a1", "00000000000000a2", 2, tool("get_x", "")),
        span("00000000000000a2", "00000000000000a1", 3, tool("get_y", "")),
    ]);
    assert_eq!(calls.len(), 2);
}

#[test]
fn one_call_told_by_client_server_and_twice_is_one_call() {
    let client = span("00000000000000a1", "", 3, tool("get_x", "c1"));
    let mut server = span("00000000000000a2", "00000000000000a1", 2, tool("get_x", "c1"));
    server["kind"] = json!(2);
    server["attributes"].as_array_mut().unwrap().push(text("mcp.server.name", "ledger"));
    for spans in [
        vec![client.clone(), server.clone()],
        vec![server.clone(), client.clone()],
        vec![server, client.clone(), client],
    ] {
        let calls = calls_of(&spans);
        assert_eq!(calls.len(), 1);
        assert_eq!(calls[0].tool_server.as_deref(), Some("ledger"));
        assert_eq!(calls[0].time.as_secs(), 1_772_444_403, "the client's time");
    }
    let redelivered = span("00000000000000a1", "", 3, tool("get_x", ""));
    let calls = calls_of(&[redelivered.clone(), redelivered]);
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0].call_id, "7d3f0c5a91b2e84467aa10c9d2f3b518:00000000000000a1");
    assert!(calls[0].quality.contains(Quality::MISSING_CALL_ID));
}

#[test]
fn an_mcp_span_under_its_tool_span_is_the_same_call_and_a_sub_agents_is_not() {
    let outer = span("00000000000000a1", "", 5, tool("task", "c1"));
    let method = text("mcp.method.name", "tools/call");
    let inner = span(
        "00000000000000a2",
        "00000000000000a1",
        4,
        vec![method, text("gen_ai.tool.name", "task")],
    );
    assert_eq!(calls_of(&[inner, outer.clone()]).len(), 1);
    let agent = vec![text("gen_ai.operation.name", "invoke_agent"), text("gen_ai.agent.id", "sub")];
    let agent = span("00000000000000a3", "00000000000000a1", 4, agent);
    let nested = span("00000000000000a4", "00000000000000a3", 3, tool("task", "c2"));
    assert_eq!(calls_of(&[nested, agent, outer]).len(), 2);
}

#[test]
fn only_tool_calls_are_calls() {
    let check = |attributes: Vec<Value>, expected: usize| {
        let shown = format!("{attributes:?}");
        let spans = [span("00000000000000a1", "", 3, attributes)];
        assert_eq!(calls_of(&spans).len(), expected, "{shown}");
    };
    check(tool("x", "c"), 1);
    check(vec![text("gen_ai.tool.name", "x")], 1);
    check(vec![text("mcp.method.name", "tools/call"), text("gen_ai.tool.name", "x")], 1);
    check(vec![text("mcp.method.name", "tools/list"), text("gen_ai.tool.name", "x")], 0);
    check(vec![text("gen_ai.operation.name", "chat"), text("gen_ai.tool.name", "x")], 0);
    check(vec![text("http.route", "/")], 0);
    let found = decode_both(&request(
        &[text("service.name", "svc"), text("tenant.id", "t")],
        &[span("00000000000000a1", "", 3, vec![text("mcp.method.name", "tools/call")])],
    ));
    assert_eq!(found.rejected[0].reason, Reason::MissingTool);
}

#[test]
fn arguments_have_one_digest_however_they_travel() {
    let digest = |arguments: Value| {
        let mut attributes = tool("get_x", "c");
        attributes.push(json!({ "key": "gen_ai.tool.call.arguments", "value": arguments }));
        calls_of(&[span("00000000000000a1", "", 3, attributes)]).swap_remove(0)
    };
    let values = |call: &ToolCall<'_>| {
        let mut values: Vec<_> = call.targets.iter().map(|it| (it.key, it.value)).collect();
        values.sort_unstable();
        values
    };
    let as_text = digest(json!({ "stringValue": r#"{"b":[1,2.5,null],"a":"x"}"# }));
    let as_tree = digest(json!({ "kvlistValue": { "values": [
        text("a", "x"),
        { "key": "b", "value": { "arrayValue": { "values": [
            { "intValue": "1" }, { "doubleValue": 2.5 }, {},
        ] } } },
    ] } }));
    assert_eq!(as_text.arguments.digest, as_tree.arguments.digest);
    let native = r#"{"ts":1772444477,"tenant_id":"t","agent_id":"a","tool_name":"get_x","arguments":{"a":"x","b":[1.0,2.5,null]}}"#;
    let native = decode_auto(native.as_bytes()).call();
    assert_eq!(native.arguments.digest, as_text.arguments.digest);
    assert_eq!(values(&as_text).len(), 1);
    assert_eq!((values(&as_tree), values(&native)), (values(&as_text), values(&as_text)));
}

#[test]
fn a_failed_span_is_an_error_and_an_unset_status_is_not() {
    let check = |code: Value, error_type: Option<&str>, expected: Status| {
        let mut attributes = tool("x", "c");
        attributes.extend(error_type.map(|error| text("error.type", error)));
        let mut span = span("00000000000000a1", "", 3, attributes);
        span["status"] = json!({ "code": code });
        assert_eq!(calls_of(&[span])[0].status, expected, "{code} {error_type:?}");
    };
    check(json!(0), None, Status::Ok);
    check(json!(1), None, Status::Ok);
    check(json!(2), None, Status::Error);
    check(json!(0), Some("tool_error"), Status::Error);
}

#[test]
fn claude_code_results_and_refusals_are_calls_and_the_rest_is_not() {
    let found = decode_both(&parse(LOGS));
    assert_eq!(found.rejected, []);
    assert_eq!(found.ignored, [Ignored::NotAToolCall, Ignored::Decision, Ignored::NotAToolCall]);
    let [mcp, failed, refused] = &found.calls[..] else { panic!("{:?}", found.calls) };
    assert_eq!(mcp.agent_id, "claude-code@0b7e4c1d-6f7a-4f0c-9b59-52d1f8a3c001");
    assert_eq!((mcp.group(), &*mcp.tenant_id), ("claude-code", "org-northwind"));
    assert_eq!((&*mcp.session_id, &*mcp.call_id), ("sess-5512", "toolu_A1"));
    assert_eq!(mcp.tool_name, "mcp__ledger__list_invoices");
    assert_eq!((mcp.tool_server.as_deref(), mcp.operation), (Some("ledger"), Operation::Read));
    assert_eq!((mcp.status, mcp.duration_ms), (Status::Ok, Some(840)));
    assert_eq!((mcp.bytes_in, mcp.bytes_out), (Some(31), Some(4096)));
    assert_eq!(mcp.time.to_string(), "2026-03-02T09:40:02.250Z");
    assert_eq!((mcp.agent_version.as_deref(), mcp.quality), (Some("2.1.7"), Quality::default()));
    assert_ne!(mcp.arguments.digest, 0);
    assert_eq!(mcp.user_id.as_deref(), Some("0b7e4c1d-6f7a-4f0c-9b59-52d1f8a3c001"));

    assert_eq!((&*failed.tool_name, failed.status), ("Bash", Status::Error));
    assert_eq!((failed.duration_ms, failed.bytes_out), (Some(91), None));
    assert_eq!((&*refused.tool_name, refused.status), ("Write", Status::Denied));
}

#[test]
fn a_hidden_mcp_tool_is_flagged() {
    let mut logs = parse(LOGS);
    let attributes = logs["resourceLogs"][0]["scopeLogs"][0]["logRecords"][2]["attributes"]
        .as_array_mut()
        .unwrap();
    attributes.retain(|pair| pair["key"] != "tool_parameters" && pair["key"] != "tool_input");
    let call = &decode_both(&logs).calls[0];
    assert_eq!((&*call.tool_name, &call.tool_server), ("mcp_tool", &None));
    assert!(call.quality.contains(Quality::COLLAPSED_MCP_TOOL));
    assert_eq!(call.arguments.digest, 0);
}

#[test]
fn claude_code_events_are_known_by_any_of_their_names() {
    let check = |edit: &dyn Fn(&mut Value), calls: usize| {
        let mut logs = parse(LOGS);
        let log = logs["resourceLogs"][0]["scopeLogs"][0]["logRecords"][4].clone();
        logs["resourceLogs"][0]["scopeLogs"][0]["logRecords"] = json!([log]);
        edit(&mut logs);
        assert_eq!(decode_both(&logs).calls.len(), calls, "{logs:#}");
    };
    let record = "/resourceLogs/0/scopeLogs/0/logRecords/0";
    let rename = |logs: &mut Value, name: Option<&str>| {
        let attributes = logs.pointer_mut(&format!("{record}/attributes")).unwrap();
        let attributes = attributes.as_array_mut().unwrap();
        attributes.retain(|pair| pair["key"] != "event.name");
        attributes.extend(name.map(|name| text("event.name", name)));
    };
    check(&|_| {}, 1);
    check(&|logs| rename(logs, Some("claude_code.tool_decision")), 1);
    check(&|logs| rename(logs, None), 1);
    check(
        &|logs| {
            rename(logs, None);
            logs.pointer_mut(record).unwrap()["eventName"] = json!("tool_decision");
        },
        1,
    );
    check(
        &|logs| {
            logs["resourceLogs"][0]["resource"]["attributes"] =
                json!([text("service.name", "other")]);
            logs["resourceLogs"][0]["scopeLogs"][0]["scope"]["name"] = json!("other");
        },
        0,
    );
}

#[test]
fn a_log_without_an_id_is_known_by_its_place_in_the_session() {
    let mut logs = parse(LOGS);
    let records = &mut logs["resourceLogs"][0]["scopeLogs"][0]["logRecords"];
    let attributes = records[3]["attributes"].as_array_mut().unwrap();
    attributes.retain(|pair| pair["key"] != "tool_use_id");
    let twice = records[3].clone();
    *records = json!([twice, twice]);
    let found = decode_both(&logs);
    assert_eq!(found.calls.len(), 1, "a redelivered event is one call");
    assert_eq!(found.calls[0].call_id, "sess-5512|4");
    assert!(found.calls[0].quality.contains(Quality::MISSING_CALL_ID));
}

#[test]
fn protobuf_whose_length_byte_is_a_bracket_is_still_protobuf() {
    for (length, bracket) in [(123, b'{'), (91, b'[')] {
        let payload = (0..200)
            .map(|padding| {
                let resource = [text("service.name", &"s".repeat(padding))];
                let logs = json!({ "resourceLogs": [{
                    "resource": { "attributes": resource },
                    "scopeLogs": [{ "logRecords": [{
                        "timeUnixNano": "1772444400000000000",
                        "body": { "stringValue": "hello" },
                    }] }],
                }] });
                to_proto(&logs)
            })
            .find(|payload| payload.len() == length + 2)
            .unwrap();
        assert_eq!(payload[..2], [0x0a, bracket]);
        let found = decode_auto(&payload);
        assert_eq!((found.ignored, found.rejected), (vec![Ignored::NotAToolCall], vec![]));
    }
}

#[test]
fn protobuf_logs_that_also_parse_as_spans_are_logs() {
    let logs = json!({ "resourceLogs": [{
        "resource": { "attributes": [text("service.name", "claude-code"), text("tenant.id", "t")] },
        "scopeLogs": [{ "logRecords": [{ "body": { "stringValue": "claude_code.tool_result" } }] }],
    }] });
    let error = decode_auto(&to_proto(&logs)).error();
    assert_eq!(error.reason, Reason::MissingTool, "it was read as a log of Claude Code");
}

#[test]
fn what_no_span_says_the_resource_says() {
    let check = |resource: &[Value], expected: [&str; 3], derived: bool| {
        let spans = [span("00000000000000a1", "", 3, tool("x", "c"))];
        let found = decode_both(&request(resource, &spans));
        let [call] = &found.calls[..] else { panic!("{found:?}") };
        assert_eq!([&*call.tenant_id, &call.agent_id, &call.session_id], expected);
        assert_eq!(call.quality.contains(Quality::DERIVED_AGENT), derived, "{resource:?}");
    };
    let tenant = text("organization.id", "org");
    let trace_id = "7d3f0c5a91b2e84467aa10c9d2f3b518";
    let service = text("service.name", "svc");
    check(&[tenant.clone(), service.clone()], ["org", "svc", trace_id], true);
    let named = [text("agent.id", "a7"), service, text("session.id", "s9"), tenant];
    check(&named, ["org", "a7", "s9"], false);
    check(
        &[text("tenant.id", "t"), text("organization.id", "org"), text("agent.id", "a")],
        ["t", "a", trace_id],
        false,
    );
}

#[test]
fn spans_that_lack_what_a_call_needs_are_rejected_for_it() {
    let good = [text("service.name", "svc"), text("tenant.id", "t")];
    let check = |resource: &[Value], edit: &dyn Fn(&mut Value), expected: Reason| {
        let mut span = span("00000000000000a1", "", 3, tool("x", "c"));
        edit(&mut span);
        let found = decode_both(&request(resource, &[span]));
        assert_eq!(found.error().reason, expected);
    };
    check(&good[..1], &|_| {}, Reason::MissingTenant);
    check(&good[1..], &|_| {}, Reason::MissingAgent);
    check(
        &good,
        &|span| {
            span["startTimeUnixNano"] = json!("0");
            span["endTimeUnixNano"] = json!(0);
        },
        Reason::BadTime,
    );
    check(&good, &|span| span["endTimeUnixNano"] = json!(u64::MAX), Reason::BadTime);
    check(&good, &|span| span["attributes"] = json!(tool("x\u{7}", "c")), Reason::BadIdentifier);
}
