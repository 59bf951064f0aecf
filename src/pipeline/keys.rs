//! Whether a source topic is keyed by agent, as far as one record can tell.
//!
//! A partition's judge knows only the calls of its own partition. If an agent's calls are spread over
//! several, each of them learns a part of the agent and none can say what it usually does.

use crate::event::ToolCall;
use crate::telemetry::KeyMisfit;

/// What is wrong with the key of the record that `call` was read from: it must be `tenant/agent` or
/// `agent`. A record with calls of two agents has the wrong key for one of them.
#[must_use]
pub fn misfit(key: Option<&[u8]>, call: &ToolCall<'_>) -> Option<KeyMisfit> {
    let (tenant, agent) = (call.tenant_id.as_bytes(), call.agent_id.as_bytes());
    let Some(key) = key.filter(|key| !key.is_empty()) else { return Some(KeyMisfit::NoKey) };
    let before = key.strip_suffix(agent);
    let fits = match before {
        Some([]) => true,
        Some([tenant_id @ .., b'/']) => tenant_id == tenant,
        _ => false,
    };
    (!fits).then_some(KeyMisfit::OtherKey)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(key: &[u8], agent: &str) -> Option<KeyMisfit> {
        let call =
            ToolCall { tenant_id: "acme".into(), agent_id: agent.into(), ..ToolCall::default() };
        misfit(Some(key), &call)
    }

    #[test]
    fn a_key_names_the_agent_alone_or_behind_its_tenant() {
        for key in ["helper", "acme/helper"] {
            assert_eq!(told(key.as_bytes(), "helper"), None, "{key}");
        }
        assert_eq!(told(b"acme/a/b", "a/b"), None, "an agent's name may hold a slash");
    }

    #[test]
    fn any_other_key_is_not_the_agents() {
        for key in ["helper2", "other/helper", "xhelper", "acme/", "acme-helper", "/helper"] {
            assert_eq!(told(key.as_bytes(), "helper"), Some(KeyMisfit::OtherKey), "{key}");
        }
    }

    #[test]
    fn a_record_without_a_key_lands_anywhere() {
        assert_eq!(told(b"", "helper"), Some(KeyMisfit::NoKey));
        assert_eq!(misfit(None, &ToolCall::default()), Some(KeyMisfit::NoKey));
    }
}
