//! What is known of one agent, as JSON: for `baseline show` and the admin listener.

use crate::detect::{Context, portrait};
use crate::pipeline::judge::Shared;
use crate::state::AgentKey;

/// Tenants named when an agent's id is not enough.
const TENANTS_MAX: usize = 8;

/// Why an agent cannot be shown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PortraitError {
    /// Nobody has seen it.
    #[error("no such agent among the {agents} that are known; mind its tenant and its spelling")]
    Unknown {
        /// Agents known.
        agents: usize,
    },
    /// Several tenants have an agent of that name.
    #[error("several tenants have it; say which with `--tenant`: {}", .0.join(", "))]
    Ambiguous(Vec<String>),
}

/// The portrait of an agent as one line of JSON.
///
/// # Errors
///
/// When the agent is not known, or `tenant` is needed to tell which one is meant.
pub fn json(shared: &Shared, tenant: Option<&str>, agent: &str) -> Result<String, PortraitError> {
    let key = match tenant {
        Some(tenant) => AgentKey::from_ids(tenant, agent),
        None => only_one(shared, agent)?,
    };
    let peers = shared.board.newest();
    let context = Context::new(&shared.rules, &peers);
    let shown = shared.agents.read(key, |state| portrait(&context, state));
    let shown = shown.ok_or_else(|| unknown(shared))?;
    // Numbers, texts and lists only: there is nothing in a portrait that JSON cannot say.
    Ok(serde_json::to_string(&shown).unwrap_or_default())
}

fn only_one(shared: &Shared, agent: &str) -> Result<AgentKey, PortraitError> {
    let keys = shared.agents.find(TENANTS_MAX, |state| &*state.agent_id == agent);
    match keys.as_slice() {
        [] => Err(unknown(shared)),
        [key] => Ok(*key),
        several => {
            let tenant = |key: &AgentKey| shared.agents.read(*key, |it| it.tenant_id.to_string());
            Err(PortraitError::Ambiguous(several.iter().filter_map(tenant).collect()))
        }
    }
}

fn unknown(shared: &Shared) -> PortraitError {
    PortraitError::Unknown { agents: shared.agents.len() }
}
