//! One call that a judge is to explain when its turn comes.

use serde::Serialize;

use crate::detect::{AgentState, Assessment, Context, Fate, explain};
use crate::event::ToolCall;
use crate::pipeline::judge::Judge;

/// What every detector makes of one call.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explanation {
    /// The call.
    pub call_id: String,
    /// When it happened (RFC 3339).
    pub time: String,
    /// The customer or organisation.
    pub tenant_id: String,
    /// The agent.
    pub agent_id: String,
    /// The session.
    pub session_id: String,
    /// The tool.
    pub tool_name: String,
    /// Where it was read: topic or file, and offset or line.
    pub topic: String,
    /// The offset, or the line counted from 0.
    pub offset: i64,
    /// Whether it was judged at all.
    pub is_judged: bool,
    /// The detectors.
    pub detectors: Vec<Assessment>,
}

/// The call that is looked for, and what was found.
#[derive(Debug)]
pub(crate) struct Watch {
    call_id: String,
    pub(crate) found: Option<Explanation>,
}

impl Watch {
    /// Explains `call` if it is the one, judged with what is known of its agent.
    pub(crate) fn look(
        &mut self,
        context: &Context<'_>,
        state: Option<&AgentState>,
        call: &ToolCall<'_>,
    ) {
        let (fate, detectors) = match state {
            Some(state) => explain(context, state, call),
            None => explain(context, &AgentState::new(call), call),
        };
        self.found = Some(Explanation {
            call_id: call.call_id.to_string(),
            time: call.time.to_string(),
            tenant_id: call.tenant_id.to_string(),
            agent_id: call.agent_id.to_string(),
            session_id: call.session_id.to_string(),
            tool_name: call.tool_name.to_string(),
            topic: call.source().topic.to_owned(),
            offset: call.source().offset,
            is_judged: fate == Fate::Judged,
            detectors,
        });
    }

    /// Whether this is the call that is looked for.
    pub(crate) fn is_it(&self, call: &ToolCall<'_>) -> bool {
        self.found.is_none() && *call.call_id == *self.call_id
    }
}

impl Judge {
    /// Explains the first call with this id when its turn comes.
    pub fn watch(&mut self, call_id: &str) {
        self.watch = Some(Box::new(Watch { call_id: call_id.to_owned(), found: None }));
    }

    /// What was explained, once.
    pub fn explanation(&mut self) -> Option<Explanation> {
        self.watch.as_mut()?.found.take()
    }
}
