//! Peer groups as the operator writes them: raw to checked.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::policy::GroupPattern;

/// Agents that are peers of each other.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Group")]
pub(crate) struct RawGroup {
    /// The group's name, as alerts and verdicts call it.
    #[schemars(length(min = 1, max = 256))]
    pub(crate) name: String,
    /// The tenants it is for; `*` stands for any text.
    #[serde(default = "RawGroup::every_tenant")]
    #[schemars(length(min = 1, max = 256))]
    pub(crate) tenant: String,
    /// The agents; `*` stands for any text.
    #[schemars(length(min = 1, max = 256))]
    pub(crate) agents: String,
}

impl RawGroup {
    fn every_tenant() -> String {
        "*".to_owned()
    }
}

impl RawGroup {
    /// The group as the engine knows it.
    pub(crate) fn pattern(&self) -> GroupPattern {
        let Self { name, tenant, agents } = self;
        GroupPattern { tenant: tenant.clone(), agent: agents.clone(), group: name.clone() }
    }

    /// The group as it is shown.
    pub(crate) fn of(pattern: &GroupPattern) -> Self {
        let GroupPattern { tenant, agent, group } = pattern;
        Self { name: group.clone(), tenant: tenant.clone(), agents: agent.clone() }
    }
}
