//! Where every format hands in what it found: bounds are checked, order and ids are given here.

use std::borrow::Cow;

use crate::decode::operation::operation_of;
use crate::decode::stamp::{self, Stamp};
use crate::decode::targets::Scratch;
use crate::decode::{DecodeError, Ignored, Item, Options, Reason, Record, digest, identifier};
use crate::event::{Operation, Position, Quality, ToolCall};

/// The most things read from one record; the rest is rejected as one.
pub const ITEMS_MAX: u32 = 10_000;

/// Collects what one record holds.
pub(super) struct Calls<'r> {
    pub(super) record: &'r Record<'r>,
    pub(super) options: &'r Options,
    sink: &'r mut dyn FnMut(Item<'_>),
    /// What is used again from one call to the next.
    pub(super) scratch: &'r mut Scratch,
    waiting: Vec<ToolCall<'r>>,
    items: u32,
}

impl<'r> Calls<'r> {
    pub(super) fn new(
        record: &'r Record<'r>,
        options: &'r Options,
        (scratch, sink): (&'r mut Scratch, &'r mut dyn FnMut(Item<'_>)),
    ) -> Self {
        Self { record, options, sink, scratch, waiting: Vec::new(), items: 0 }
    }

    /// Whether the record has held more than [`ITEMS_MAX`] things, so that reading should stop.
    pub(super) const fn is_full(&self) -> bool {
        self.items > ITEMS_MAX
    }

    pub(super) fn ignore(&mut self, ignored: Ignored) {
        (self.sink)(Item::Ignored(ignored));
    }

    pub(super) fn reject(&mut self, error: DecodeError) {
        if self.admit() {
            (self.sink)(Item::Rejected(error));
        }
    }

    /// Takes the only call left in a record, and hands it on without keeping it.
    pub(super) fn only(&mut self, call: ToolCall<'_>) {
        if !self.waiting.is_empty() {
            return self.push(call);
        }
        // Bound anew, so that its lifetime can shrink to that of the topic.
        let mut call = call;
        place(&mut call, Position { index: 0, ..self.record.position });
        // Lent, so that the next call can have their room.
        let targets = std::mem::take(&mut call.targets).into_owned();
        let words = std::mem::take(&mut call.words).into_owned();
        let lent =
            ToolCall { targets: Cow::Borrowed(&targets), words: Cow::Borrowed(&words), ..call };
        (self.sink)(Item::Call(lent));
        self.scratch.take_back(targets, words);
    }

    /// Takes one of several calls; they are handed on in the order of their times by
    /// [`Calls::flush`].
    pub(super) fn push(&mut self, call: ToolCall<'_>) {
        if self.admit() {
            self.waiting.push(call.into_owned(self.record.position.topic));
        }
    }

    /// Hands on every waiting call.
    pub(super) fn flush(&mut self) {
        self.waiting.sort_by_key(|call| call.time);
        let position = self.record.position;
        for (index, mut call) in (0_u32..).zip(self.waiting.drain(..)) {
            place(&mut call, Position { index, ..position });
            (self.sink)(Item::Call(call));
        }
    }

    /// Counts one more thing, and says so once when it is one too many.
    fn admit(&mut self) -> bool {
        self.items = self.items.saturating_add(1);
        if self.items == ITEMS_MAX + 1 {
            let detail =
                format!("more than {ITEMS_MAX} events in one record; send smaller batches");
            (self.sink)(Item::Rejected(DecodeError::new(Reason::TooLarge, detail)));
        }
        self.items <= ITEMS_MAX
    }

    /// Checks a call and fills in what is derived: tenant, server, operation, digest and time.
    pub(super) fn finish(&self, call: &mut ToolCall<'_>, stamp: Stamp) -> Result<(), DecodeError> {
        self.check_identity(call)?;
        let Stamp::At(time) = stamp else {
            let detail = match stamp {
                Stamp::Missing => {
                    "no time: send RFC 3339 or an epoch number (`ts` in native events)"
                }
                _ => "the time is not RFC 3339 or an epoch number within 1970 to 2261",
            };
            return Err(DecodeError::new(Reason::BadTime, detail));
        };
        let (time, future) = stamp::bounded(time, self.record.append_time);
        call.time = time;
        if future {
            call.quality.insert(Quality::FUTURE_TIME);
        }
        if call.operation == Operation::Unknown {
            call.operation = operation_of(&call.tool_name);
        }
        call.arguments = digest::with_tool(call.arguments, &call.tool_name);
        Ok(())
    }

    fn check_identity(&self, call: &mut ToolCall<'_>) -> Result<(), DecodeError> {
        if call.tool_name.is_empty() {
            return Err(DecodeError::new(Reason::MissingTool, "no tool name"));
        }
        if call.agent_id.is_empty() {
            let detail = "no agent: send `agent_id`, or `gen_ai.agent.id` or `service.name`";
            return Err(DecodeError::new(Reason::MissingAgent, detail));
        }
        if call.tenant_id.is_empty() {
            let tenant = self.options.default_tenant.as_deref().unwrap_or_default();
            if tenant.is_empty() {
                let detail = "no tenant in the record, and no default tenant is configured";
                return Err(DecodeError::new(Reason::MissingTenant, detail));
            }
            call.tenant_id = Cow::Owned(tenant.to_owned());
        }
        if call.tool_server.as_deref().is_none_or(str::is_empty) {
            call.tool_server = server_of(&call.tool_name);
        }
        if call.call_id.is_empty() {
            call.quality.insert(Quality::MISSING_CALL_ID);
        }
        identifier::check("tenant_id", &call.tenant_id)?;
        identifier::check("agent_id", &call.agent_id)?;
        identifier::check("session_id", &call.session_id)?;
        identifier::check("call_id", &call.call_id)?;
        identifier::check("tool_name", &call.tool_name)?;
        identifier::check("tool_server", call.tool_server.as_deref().unwrap_or_default())?;
        identifier::check("user_id", call.user_id.as_deref().unwrap_or_default())?;
        identifier::check("parent_agent_id", call.parent_agent_id.as_deref().unwrap_or_default())?;
        identifier::check("agent_version", call.agent_version.as_deref().unwrap_or_default())?;
        identifier::check("agent_group", call.agent_group.as_deref().unwrap_or_default())
    }
}

/// The server in a name such as `mcp__server__tool`.
fn server_of<'a>(tool_name: &Cow<'a, str>) -> Option<Cow<'a, str>> {
    let server = |name: &'a str| -> Option<&'a str> {
        let (server, tool) = name.strip_prefix("mcp__")?.split_once("__")?;
        (!server.is_empty() && !tool.is_empty()).then_some(server)
    };
    match tool_name {
        Cow::Borrowed(name) => server(name).map(Cow::Borrowed),
        Cow::Owned(name) => {
            let (server, tool) = name.strip_prefix("mcp__")?.split_once("__")?;
            (!server.is_empty() && !tool.is_empty()).then(|| Cow::Owned(server.to_owned()))
        }
    }
}

/// Gives a call its place, and an id from its place when it has none.
fn place<'a>(call: &mut ToolCall<'a>, position: Position<'a>) {
    call.position = position;
    if call.call_id.is_empty() {
        let Position { topic, partition, offset, index } = position;
        call.call_id = Cow::Owned(format!("{topic}:{partition}:{offset}:{index}"));
    }
}
