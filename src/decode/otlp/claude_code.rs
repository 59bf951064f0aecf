//! Log events of Claude Code: results of tool calls, and the permissions asked before them.

use std::borrow::Cow;

use crate::decode::calls::Calls;
use crate::decode::otlp::merge::{Draft, Drafts};
use crate::decode::otlp::view::{Attributes, Batch, Log};
use crate::decode::stamp::Stamp;
use crate::decode::targets::Lens;
use crate::decode::{Ignored, native};
use crate::event::{Quality, Status, ToolCall};

/// The product, which is also the peer group of all its instances.
const PRODUCT: &str = "claude-code";

/// The name under which every MCP tool is logged.
const MCP_TOOL: &str = "mcp_tool";

/// Reads every log record of `batch`.
pub(super) fn read(batch: &Batch<'_>, calls: &mut Calls<'_>) {
    let (nothing, lens) = (Attributes::default(), calls.options.lens());
    let mut drafts = Drafts::default();
    for log in &batch.logs {
        let resource = batch.resource(log.resource).unwrap_or(&nothing);
        match event_of(log, resource).as_deref() {
            Some("tool_result") => {
                let status = status_of(&log.attributes);
                drafts.add(key_of(log, resource), draft(log, resource, status, lens));
            }
            Some("tool_decision") if is_rejection(&log.attributes) => {
                drafts.add(key_of(log, resource), draft(log, resource, Status::Denied, lens));
            }
            Some("tool_decision") => calls.ignore(Ignored::Decision),
            _ => calls.ignore(Ignored::NotAToolCall),
        }
    }
    drafts.hand_in(calls);
}

/// The name of a Claude Code event, without its prefix; none for logs of others.
fn event_of<'b>(log: &'b Log<'_>, resource: &Attributes<'_>) -> Option<Cow<'b, str>> {
    let name = log
        .attributes
        .text("event.name")
        .or_else(|| (!log.event_name.is_empty()).then_some(Cow::Borrowed(&*log.event_name)))
        .or_else(|| log.body.text())?;
    if let Some(short) = name.strip_prefix("claude_code.") {
        return Some(Cow::Owned(short.to_owned()));
    }
    let is_ours = log.scope.starts_with("com.anthropic.claude_code")
        || resource.text("service.name").as_deref() == Some(PRODUCT);
    is_ours.then_some(name)
}

fn is_rejection(attributes: &Attributes<'_>) -> bool {
    attributes.text("decision").is_some_and(|decision| decision.eq_ignore_ascii_case("reject"))
}

fn status_of(attributes: &Attributes<'_>) -> Status {
    let refused = attributes.text("decision_type").as_deref() == Some("reject");
    match attributes.text("success") {
        _ if refused => Status::Denied,
        Some(success) => native::status_of(&success),
        None if attributes.first(&["error", "error_type"]).is_some() => Status::Error,
        None => Status::Unknown,
    }
}

/// A decision and a result of the same use are one call, and a redelivered one is the same.
fn key_of(log: &Log<'_>, resource: &Attributes<'_>) -> Option<(String, String)> {
    let session = either(log, resource, &["session.id"]).unwrap_or_default();
    let id = log.attributes.text("tool_use_id").or_else(|| call_id_of(log, resource))?;
    Some((session.into_owned(), id.into_owned()))
}

/// The id of a call without one of its own, from its place in the session.
fn call_id_of<'b>(log: &'b Log<'_>, resource: &'b Attributes<'_>) -> Option<Cow<'b, str>> {
    let session = either(log, resource, &["session.id"])?;
    let sequence = log.attributes.text("event.sequence")?;
    Some(Cow::Owned(format!("{session}|{sequence}")))
}

/// The first of `keys` that the log says, else the first that its resource says.
fn either<'b>(
    log: &'b Log<'_>,
    resource: &'b Attributes<'_>,
    keys: &[&str],
) -> Option<Cow<'b, str>> {
    log.attributes.first(keys).or_else(|| resource.first(keys))
}

fn draft<'b>(
    log: &'b Log<'_>,
    resource: &'b Attributes<'_>,
    status: Status,
    lens: Lens,
) -> Draft<'b> {
    let attributes = &log.attributes;
    let mut call = ToolCall {
        tenant_id: either(log, resource, &["organization.id", "tenant.id"]).unwrap_or_default(),
        agent_version: either(log, resource, &["service.version", "app.version"]),
        session_id: either(log, resource, &["session.id"]).unwrap_or_default(),
        user_id: either(log, resource, &["user.account_uuid", "user.id", "user.email"]),
        status,
        duration_ms: attributes.count("duration_ms"),
        bytes_in: attributes.count("tool_input_size_bytes"),
        bytes_out: attributes.count("tool_result_size_bytes"),
        ..ToolCall::default()
    };
    if let Some(id) = attributes.text("tool_use_id") {
        call.call_id = id;
    } else {
        call.call_id = call_id_of(log, resource).unwrap_or_default();
        call.quality.insert(Quality::MISSING_CALL_ID);
    }
    identify(&mut call, log, resource);
    name_tool(&mut call, attributes, lens);
    let said = attributes.text("event.timestamp").map_or(Stamp::Missing, |t| Stamp::from_text(&t));
    let stamp = said.or(Stamp::from_otlp_nanos(log.time)).or(Stamp::from_otlp_nanos(log.observed));
    Draft { call, stamp, distance: 0 }
}

/// Says whose Claude Code it is: a person's before a machine's.
fn identify<'b>(call: &mut ToolCall<'b>, log: &'b Log<'_>, resource: &'b Attributes<'_>) {
    let person = either(log, resource, &["user.account_uuid", "user.id"]);
    if person.is_none() {
        call.quality.insert(Quality::DERIVED_AGENT);
    }
    let machine = || either(log, resource, &["service.instance.id", "host.name", "host.id"]);
    call.agent_id = match person.or_else(machine) {
        Some(instance) => Cow::Owned(format!("{PRODUCT}@{instance}")),
        None => Cow::Borrowed(PRODUCT),
    };
}

/// What an MCP call's parameters say of it, where the details are logged.
#[derive(Default, serde::Deserialize)]
struct Parameters {
    mcp_server_name: Option<String>,
    mcp_tool_name: Option<String>,
}

/// Names the tool and digests its input.
fn name_tool<'b>(call: &mut ToolCall<'b>, attributes: &'b Attributes<'_>, lens: Lens) {
    call.tool_name = attributes.text("tool_name").unwrap_or_default();
    let parameters = attributes.text("tool_parameters");
    let is_mcp = call.tool_name == MCP_TOOL;
    if is_mcp {
        let names: Parameters = parameters
            .as_deref()
            .and_then(|text| serde_json::from_str(text).ok())
            .unwrap_or_default();
        if let (Some(server), Some(tool)) = (names.mcp_server_name, names.mcp_tool_name) {
            call.tool_name = Cow::Owned(format!("mcp__{server}__{tool}"));
            call.tool_server = Some(Cow::Owned(server));
        } else {
            call.quality.insert(Quality::COLLAPSED_MCP_TOOL);
        }
    }
    // An MCP call's parameters are its names alone: taken for arguments, every call would look
    // like a repetition of the last.
    let key = if attributes.get("tool_input").is_some() { "tool_input" } else { "tool_parameters" };
    if let Some(input) = attributes.get(key).filter(|_| !is_mcp || key == "tool_input") {
        input.arguments(lens).fill(call);
    }
}
