//! What tests of a judge, or of what holds one, begin with.

use std::sync::Arc;

use crate::config::{RuleSource, load_rules};
use crate::pipeline::epochs::PeerBoard;
use crate::pipeline::judge::Shared;
use crate::pipeline::verdicts::VerdictBoard;
use crate::state::Agents;

/// The shipped rules, room for a hundred agents, and nobody waited for.
pub(crate) fn shared() -> Shared {
    Shared {
        rules: Arc::new(load_rules(&RuleSource::default()).unwrap().rules),
        agents: Arc::new(Agents::new(100)),
        board: PeerBoard::default(),
        verdicts: VerdictBoard::default(),
        reorder_ns: 0,
        lateness_ns: 0,
    }
}
