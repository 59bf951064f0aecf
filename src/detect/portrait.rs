//! What is known of one agent, for people: how far learning has come for each detector, what is
//! usual, and what is open. Hashes and counts; no texts but the names of the agent.

use serde::{Deserialize, Serialize};

use crate::alert::Learning;
use crate::detect::Context;
use crate::detect::agent::AgentState;
use crate::detect::grounds::grounds;
use crate::detect::usual::{Usual, usual};
use crate::event::Timestamp;

/// One agent as it is known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Portrait {
    /// The customer or organisation.
    pub tenant_id: String,
    /// The agent. Hostile text.
    pub agent_id: String,
    /// Its first call (RFC 3339).
    pub since: String,
    /// Its newest call (RFC 3339).
    pub newest: String,
    /// Calls seen.
    pub calls: u64,
    /// Active days that are over.
    pub active_days: u32,
    /// Calls of a usual active day.
    pub usual_day_calls: f64,
    /// Other agents of its product.
    pub peers: u64,
    /// The tools it has.
    pub tools: ToolsKnown,
    /// The hours of the UTC day that it works in, in words.
    pub hours: String,
    /// The sessions of its group that are known.
    pub group_sessions: u32,
    /// Episodes that are open.
    pub open: Vec<OpenEpisode>,
    /// Every detector in force.
    pub detectors: Vec<DetectorPortrait>,
}

/// The tools of an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolsKnown {
    /// Tools that are its own.
    pub known: usize,
    /// Tools that it used and that are not its own yet.
    pub quarantined: usize,
}

/// An open episode.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OpenEpisode {
    /// The alert.
    pub alert_id: String,
    /// What judges.
    pub detector: String,
    /// When it opened (RFC 3339).
    pub since: String,
    /// Its last firing call (RFC 3339).
    pub last: String,
    /// Its highest score.
    pub score: f64,
    /// Firing calls.
    pub calls: u64,
}

/// What one detector knows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DetectorPortrait {
    /// The detector.
    pub detector: String,
    /// The rule that uses it.
    pub rule_id: String,
    /// How much is known: state, progress, since when, active days, peers.
    pub learning: Learning,
    /// What that knowledge rests on, in words.
    #[serde(default)]
    pub grounds: String,
    /// What is usual, where the detector compares with that.
    #[serde(default)]
    pub usual: Option<Usual>,
}

/// Describes an agent.
#[must_use]
pub fn portrait(context: &Context<'_>, state: &AgentState) -> Portrait {
    let known = state.tools.adopted();
    let detectors = context.rules.words().map(|words| DetectorPortrait {
        detector: words.detector.as_str().to_owned(),
        rule_id: words.id.clone(),
        learning: state.learning_of(words.detector, context.rules, context.peers),
        grounds: grounds(context, state, words.detector),
        usual: usual(context.rules, state, words.detector),
    });
    Portrait {
        tenant_id: state.tenant_id.to_string(),
        agent_id: state.agent_id.to_string(),
        since: state.since.to_string(),
        newest: state.newest.to_string(),
        calls: state.history.calls,
        active_days: state.history.days,
        usual_day_calls: libm::round(state.history.usual_day.calls()),
        peers: state.peer_count(context.peers),
        tools: ToolsKnown { known, quarantined: state.tools.len().saturating_sub(known) },
        hours: state.hours.usual(),
        group_sessions: context
            .peers
            .habits(state.group)
            .map_or(0, crate::baseline::habits::Habits::sessions),
        open: state.open.iter().map(open_episode).collect(),
        detectors: detectors.collect(),
    }
}

fn open_episode(open: &crate::detect::episodes::Open) -> OpenEpisode {
    let time = |time: Timestamp| time.to_string();
    OpenEpisode {
        alert_id: open.episode.id.to_string(),
        detector: open.detector.as_str().to_owned(),
        since: time(open.episode.opened),
        last: time(open.episode.last),
        score: open.episode.peak,
        calls: open.episode.calls,
    }
}
