//! Tool spans of the OpenTelemetry GenAI and MCP conventions. A tool span does not say which agent
//! made the call, so that is looked for around it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::decode::Ignored;
use crate::decode::calls::Calls;
use crate::decode::otlp::merge::{Draft, Drafts};
use crate::decode::otlp::view::{Attributes, Batch, Span};
use crate::decode::stamp::Stamp;
use crate::decode::targets::Lens;
use crate::event::{Quality, Status, ToolCall};

const OPERATION: &str = "gen_ai.operation.name";
const METHOD: &str = "mcp.method.name";
const TOOL: &str = "gen_ai.tool.name";
const CALL_IDS: [&str; 2] = ["gen_ai.tool.call.id", "gen_ai.tool.call_id"];
const AGENT: &str = "gen_ai.agent.id";
const CONVERSATION: &str = "gen_ai.conversation.id";
const USERS: [&str; 2] = ["user.id", "enduser.id"];

/// How many ancestors of a span are looked at: parents come from the record and may form a ring.
const ANCESTORS_MAX: usize = 32;

/// Reads every span of `batch`.
pub(super) fn read(batch: &Batch<'_>, calls: &mut Calls<'_>) {
    let (traces, lens) = (Traces::new(batch), calls.options.lens());
    let mut drafts = Drafts::default();
    for span in &batch.spans {
        if is_tool_call(&span.attributes) {
            let outer = traces.outermost(span);
            drafts.add(key_of(span, outer), draft(batch, &traces, (span, outer), lens));
        } else {
            calls.ignore(Ignored::NotAToolCall);
        }
    }
    drafts.hand_in(calls);
}

/// Whether a span tells of a tool call.
fn is_tool_call(attributes: &Attributes<'_>) -> bool {
    if let Some(method) = attributes.text(METHOD) {
        return method == "tools/call";
    }
    match attributes.text(OPERATION).as_deref() {
        // Some libraries leave the operation out; `tool_call` is what Gemini CLI writes.
        Some(operation) => matches!(operation, "execute_tool" | "tool_call"),
        None => attributes.text(TOOL).is_some() || attributes.first(&CALL_IDS).is_some(),
    }
}

/// The tool a span names, by attribute or, in MCP, in the name of the span.
fn tool_of<'b>(span: &'b Span<'_>) -> Option<Cow<'b, str>> {
    let named = || span.name.strip_prefix("tools/call ").map(Cow::Borrowed);
    span.attributes.first(&[TOOL, "mcp.tool.name"]).or_else(named)
}

/// What makes this span and others the same call.
fn key_of(span: &Span<'_>, outer: &Span<'_>) -> Option<(String, String)> {
    let id = outer.attributes.first(&CALL_IDS).or_else(|| span.attributes.first(&CALL_IDS));
    match id {
        Some(id) => Some((span.trace_id.to_string(), format!("call {id}"))),
        None if outer.span_id.is_empty() => None,
        None => Some((span.trace_id.to_string(), format!("span {}", outer.span_id))),
    }
}

fn draft<'b>(
    batch: &'b Batch<'_>,
    traces: &Traces<'b>,
    (span, outer): (&'b Span<'_>, &'b Span<'_>),
    lens: Lens,
) -> Draft<'b> {
    let attributes = &span.attributes;
    let mut call = ToolCall {
        tool_name: tool_of(span).unwrap_or_default(),
        tool_server: attributes.first(&["mcp.server.name", "mcp.target", "mcp.provider.name"]),
        status: status_of(span),
        duration_ms: span
            .end
            .checked_sub(span.start)
            .filter(|_| span.start > 0)
            .map(|ns| ns / 1_000_000),
        bytes_out: attributes.get("gen_ai.tool.call.result").and_then(super::view::Value::bytes),
        ..ToolCall::default()
    };
    if let Some(arguments) = attributes.get("gen_ai.tool.call.arguments") {
        arguments.arguments(lens).fill(&mut call);
    }
    identify(&mut call, batch, traces, span);
    if let Some(id) = attributes.first(&CALL_IDS) {
        call.call_id = id;
    } else {
        call.quality.insert(Quality::MISSING_CALL_ID);
        // A redelivered span has the same ids, at another place in the topic.
        if !span.span_id.is_empty() {
            call.call_id = Cow::Owned(format!("{}:{}", span.trace_id, span.span_id));
        }
    }
    let stamp = Stamp::from_otlp_nanos(span.end).or(Stamp::from_otlp_nanos(span.start));
    let is_inner = !std::ptr::eq(span, outer);
    Draft { call, stamp, distance: 2 * u8::from(span.is_server) + u8::from(is_inner) }
}

/// Says who made the call: the span itself, an ancestor, the trace, and last the resource.
fn identify<'b>(
    call: &mut ToolCall<'b>,
    batch: &'b Batch<'_>,
    traces: &Traces<'b>,
    span: &'b Span<'_>,
) {
    let resource = batch.resource(span.resource);
    let from_resource = |keys: &[&str]| resource.and_then(|resource| resource.first(keys));
    call.tenant_id = from_resource(&["tenant.id", "organization.id"]).unwrap_or_default();
    call.session_id = traces
        .carrier(span, CONVERSATION)
        .and_then(|carrier| carrier.attributes.text(CONVERSATION))
        .or_else(|| span.attributes.text("session.id"))
        .or_else(|| from_resource(&["session.id"]))
        .unwrap_or(Cow::Borrowed(&span.trace_id));
    call.user_id = USERS
        .iter()
        .find_map(|key| traces.carrier(span, key)?.attributes.text(key))
        .or_else(|| from_resource(&USERS));
    if let Some(carrier) = traces.carrier(span, AGENT) {
        call.agent_id = carrier.attributes.text(AGENT).unwrap_or_default();
        call.parent_agent_id = traces.agent_above(span, &call.agent_id);
        call.agent_version = carrier.attributes.text("gen_ai.agent.version");
        call.agent_group = group_of(&call.agent_id, &carrier.attributes);
    } else if let Some(agent) = from_resource(&[AGENT, "agent.id"]) {
        call.agent_id = agent;
        call.agent_version = from_resource(&["gen_ai.agent.version", "service.version"]);
    } else {
        call.agent_id = from_resource(&["service.name"]).unwrap_or_default();
        call.agent_version = from_resource(&["service.version"]);
        call.quality.insert(Quality::DERIVED_AGENT);
    }
}

/// The group an agent is declared to be in: by a name for it, else by the agent's own name when its
/// id is an opaque one, which many instances of one agent have each for itself.
fn group_of<'b>(agent_id: &str, attributes: &'b Attributes<'_>) -> Option<Cow<'b, str>> {
    let declared = attributes.text("agent.group").or_else(|| attributes.text("agent.type"));
    declared.or_else(|| attributes.text("gen_ai.agent.name").filter(|_| is_opaque(agent_id)))
}

/// Whether an id is a UUID or another long number, and so says nothing of what the agent is.
fn is_opaque(id: &str) -> bool {
    let digits = id.bytes().filter(u8::is_ascii_hexdigit).count();
    let rest = id.bytes().filter(|byte| !byte.is_ascii_hexdigit() && *byte != b'-').count();
    rest == 0 && digits >= 16
}

/// How a span ended. Instrumentation that behaves leaves the status of a success unset.
fn status_of(span: &Span<'_>) -> Status {
    let is_error = span.is_error || span.attributes.text("error.type").is_some();
    if is_error { Status::Error } else { Status::Ok }
}

/// The spans of a record, by trace.
struct Traces<'b> {
    spans: BTreeMap<(&'b str, &'b str), &'b Span<'b>>,
    /// The one span that has a value for a key in a trace; `None` when values differ.
    only: BTreeMap<(&'b str, &'static str), Option<&'b Span<'b>>>,
}

impl<'b> Traces<'b> {
    fn new(batch: &'b Batch<'_>) -> Self {
        let mut traces = Self { spans: BTreeMap::new(), only: BTreeMap::new() };
        for span in batch.spans.iter().filter(|span| !span.trace_id.is_empty()) {
            traces.spans.insert((&span.trace_id, &span.span_id), span);
            for key in [AGENT, CONVERSATION].iter().chain(&USERS) {
                traces.note(span, key);
            }
        }
        traces
    }

    fn note(&mut self, span: &'b Span<'b>, key: &'static str) {
        let Some(value) = span.attributes.text(key) else { return };
        let known = self.only.entry((&span.trace_id, key)).or_insert(Some(span));
        if known.is_some_and(|known| known.attributes.text(key).as_ref() != Some(&value)) {
            *known = None;
        }
    }

    /// The nearest span that has a value for `key`: the span, an ancestor, or any span of the
    /// trace when the trace knows one value only. With several, guessing would blame the wrong one.
    fn carrier(&self, span: &'b Span<'b>, key: &'static str) -> Option<&'b Span<'b>> {
        std::iter::once(span)
            .chain(self.ancestors(span))
            .find(|span| span.attributes.text(key).is_some())
            .or_else(|| self.only.get(&(&*span.trace_id, key)).copied().flatten())
    }

    /// The nearest agent around a span that is not `agent`, which it then started.
    fn agent_above(&self, span: &'b Span<'b>, agent: &str) -> Option<Cow<'b, str>> {
        self.ancestors(span)
            .filter_map(|above| above.attributes.text(AGENT))
            .find(|above| above != agent)
    }

    fn ancestors(&self, span: &'b Span<'b>) -> impl Iterator<Item = &'b Span<'b>> {
        let parent =
            |span: &&'b Span<'b>| self.spans.get(&(&*span.trace_id, &*span.parent_id)).copied();
        std::iter::successors(parent(&span), parent).take(ANCESTORS_MAX)
    }

    /// The outermost span that tells of the same call: a span of the same tool above this one,
    /// with no agent or model between them.
    fn outermost(&self, span: &'b Span<'b>) -> &'b Span<'b> {
        let tool = tool_of(span);
        self.ancestors(span)
            .take_while(|above| {
                is_tool_call(&above.attributes) || above.attributes.text(OPERATION).is_none()
            })
            .filter(|above| is_tool_call(&above.attributes) && tool_of(above) == tool)
            .last()
            .unwrap_or(span)
    }
}
