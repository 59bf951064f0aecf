//! What tests of a judge, or of what holds one, begin with.

use std::sync::Arc;

use crate::config::{RuleSource, load_rules};
use crate::event::{Position, Timestamp, ToolCall};
use crate::pipeline::epochs::PeerBoard;
use crate::pipeline::journal::Lineage;
use crate::pipeline::judge::{Judge, Shared};
use crate::pipeline::verdicts::VerdictBoard;
use crate::state::changelog::Restored;
use crate::state::{Agents, PartitionId};

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

/// The judge of a partition of which nothing is written down, and which writes down what changes.
pub(crate) fn durable(shared: Shared, partition: i32) -> Judge {
    going_on(shared, partition, (Restored::default(), 0))
}

/// The judge of a partition of which this is written down, and which goes on from that offset.
pub(crate) fn going_on(shared: Shared, partition: i32, (restored, from): (Restored, i64)) -> Judge {
    let mut judge = Judge::new(shared, PartitionId { topic: 0, partition }, "calls".into());
    let owner = restored.owner + 1;
    let lineage = Lineage { topic: "calls".into(), log: 0, owner, partitions: 1 };
    judge.take_up(restored, (from, true), lineage).unwrap();
    judge
}

/// A call of the one agent there is.
pub(crate) fn call(offset: i64, time: Timestamp) -> ToolCall<'static> {
    ToolCall {
        position: Position { offset, ..Position::default() },
        time,
        tenant_id: "acme".into(),
        agent_id: "bot".into(),
        session_id: "s".into(),
        call_id: offset.to_string().into(),
        tool_name: "read".into(),
        ..ToolCall::default()
    }
}

#[test]
fn what_an_agent_teaches_that_its_peers_know_is_not_kept_to_be_written() {
    let mut judge = durable(shared(), 0);
    let mut taken = vec![0];
    for offset in 0..20 {
        let agent = format!("bot@{offset}");
        let time = Timestamp::from_secs(offset);
        judge.hold(&ToolCall { agent_id: agent.into(), ..call(offset, time) });
        judge.judge_all(&mut |_| {});
        judge.record_done(offset);
        let journal = judge.journal().unwrap();
        taken.push((1..).find(|bytes| !journal.is_full(bytes + 1, 1)).unwrap());
    }
    let each: Vec<usize> = taken.windows(2).map(|pair| pair[1] - pair[0]).collect();
    // Each teaches that it exists. Who uses the tool is known of three agents.
    let told_less = each.iter().filter(|bytes| **bytes + 20 < each[0]).count();
    assert!(told_less >= 10, "{each:?}");
}
