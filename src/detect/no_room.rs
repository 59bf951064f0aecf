//! What is told when a tenant brings more agents than there is room for: one finding a tenant, hour
//! and partition, however many agents it is about.
//!
//! It is about no agent that is known, so it belongs to none; the partition's judge keeps it.

use serde::{Deserialize, Serialize};

use crate::alert::{
    Alert, AlertId, AlertStatus, Evidence, Expected, Learning, LearningState, PeerGroup, SCHEMA,
    Severity, Window, crowd,
};
use crate::detect::words;
use crate::event::{Timestamp, ToolCall};

/// The rule that such a finding names. It stands in no file: there is nothing to set but the limits.
pub const RULE: &str = "limits.agents";

/// The score of a finding. Nobody estimates a chance: that calls pass unjudged is a fact.
const SCORE: f64 = 60.0;

/// The bound that was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Limit {
    /// Agents of a tenant in a partition.
    Tenant,
    /// Agents of a partition.
    Partition,
    /// Agents of the instance.
    Instance,
}

impl Limit {
    /// The setting.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tenant => "limits.agents_per_tenant",
            Self::Partition => "limits.agents_per_partition",
            Self::Instance => "limits.agents",
        }
    }
}

/// A tenant's agents without room in one hour of event time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Crowd {
    /// The hour since the Unix epoch.
    pub hour: i64,
    tenant_id: String,
    /// The bound that was met first, and how many it allows.
    limit: Limit,
    allowed: u64,
    /// The first call that was not judged.
    first: Evidence,
    /// Calls that were not judged.
    calls: u64,
    /// Agents they came from, of those that are told apart.
    agents: u64,
}

impl Crowd {
    /// The first agent of an hour for which there is no room: `limit`, which allows `allowed`, was
    /// met with `call`.
    #[must_use]
    pub fn new(hour: i64, (limit, allowed): (Limit, usize), call: &ToolCall<'_>) -> Self {
        Self {
            hour,
            tenant_id: call.tenant_id.to_string(),
            limit,
            allowed: u64::try_from(allowed).unwrap_or(u64::MAX),
            first: Evidence::of(call),
            calls: 0,
            agents: 0,
        }
    }

    /// One more call was not judged; `is_new` says whether its agent was not seen lately.
    pub const fn turned_away(&mut self, is_new: bool) {
        self.calls = self.calls.saturating_add(1);
        if is_new {
            self.agents = self.agents.saturating_add(1);
        }
    }

    /// When its hour is over.
    #[must_use]
    pub const fn ends(&self) -> Timestamp {
        Timestamp::from_hour(self.hour.saturating_add(1))
    }

    /// The first word: there is no room.
    #[must_use]
    pub fn opened(&self) -> Alert {
        let summary = format!(
            "There is no room for more agents of {}: {} allows {}. Calls of further ones are not judged.",
            words::quote(&self.tenant_id),
            self.limit.as_str(),
            self.allowed,
        );
        self.alert((0, AlertStatus::Firing), self.first.time.clone(), summary)
    }

    /// The last word, with what came of the hour.
    #[must_use]
    pub fn ended(&self) -> Alert {
        let summary = format!(
            "In the hour from {}, {} brought about {} agents for which there was no room: {} calls were not judged. {} allows {}.",
            Timestamp::from_hour(self.hour),
            words::quote(&self.tenant_id),
            self.agents,
            self.calls,
            self.limit.as_str(),
            self.allowed,
        );
        self.alert((1, AlertStatus::Resolved), self.ends().to_string(), summary)
    }

    fn alert(
        &self,
        (revision, status): (u32, AlertStatus),
        time: String,
        summary: String,
    ) -> Alert {
        let place = format!("{}/{}", self.first.topic, self.first.partition);
        let start = Timestamp::from_hour(self.hour);
        let id = AlertId::derive(RULE, &self.tenant_id, "*", (start, &place));
        #[expect(
            clippy::as_conversions,
            clippy::cast_precision_loss,
            reason = "a count for people: its last digits do not matter beyond 2^53"
        )]
        let (allowed, agents) =
            (self.allowed as f64, self.allowed.saturating_add(self.agents.max(1)) as f64);
        Alert {
            schema: SCHEMA.to_owned(),
            alert_id: id.to_string(),
            revision,
            status,
            dedup_key: crowd(RULE, &self.tenant_id, "*", self.hour),
            duplicate_of: None,
            time,
            rule_id: RULE.to_owned(),
            detector: "no_room".to_owned(),
            severity: Severity::High,
            score: SCORE,
            tenant_id: self.tenant_id.clone(),
            agent_id: "*".to_owned(),
            agent_version: None,
            title: "No room for new agents of a tenant".to_owned(),
            summary,
            expected: Expected {
                low: 0.0,
                high: allowed,
                unit: "agents of the partition".to_owned(),
                basis: self.limit.as_str().to_owned(),
            },
            observed: agents,
            probability: 0.0,
            window: Window { start: start.to_string(), end: self.ends().to_string() },
            learning: Learning {
                state: LearningState::Active,
                progress: 1.0,
                since: start.to_string(),
                active_days: 0,
                peers: 0,
                version: None,
                group: PeerGroup::default(),
            },
            calibration: None,
            trigger: (status == AlertStatus::Firing).then(|| self.first.clone()),
            is_cut: false,
            evidence: vec![self.first.clone()],
            evidence_total: self.calls.max(1),
            subjects: Vec::new(),
            counterfactual: format!("silent if {} allowed more agents", self.limit.as_str()),
            tags: vec!["attack.t1562".to_owned()],
            runbook_url: "docs/runbooks/operations/ToolwardenAgentsLimitReached.md".to_owned(),
            links: Vec::new(),
        }
    }
}
