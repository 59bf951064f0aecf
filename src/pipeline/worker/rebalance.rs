//! What a rebalance does to a worker's lanes.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::kafka::{GroupMember, Rebalanced, TopicPartition};
use crate::pipeline::desk::Desk;
use crate::pipeline::judge::Shared;
use crate::pipeline::keeping::Keeping;
use crate::pipeline::lane::Lane;
use crate::pipeline::past::Past;
use crate::pipeline::worker::Signals;
use crate::pipeline::worker::keep::{Durable, Leaving};
use crate::state::PartitionId;

/// Acts on what a rebalance did. Returns the partitions that are to go once they are written down.
pub(super) fn rebalance(
    lanes: &mut BTreeMap<PartitionId, Lane>,
    (shared, signals, desk): (&Shared, &Signals, &Desk),
    (consumer, durable): (&dyn GroupMember, Option<&Durable>),
    (note, learn_from): (Rebalanced, Option<Duration>),
) -> Option<Leaving> {
    let id = |name: &TopicPartition| desk.id_of(&name.topic, name.partition);
    desk.rebalanced(&note);
    match note {
        Rebalanced::Assigned(names) => {
            for name in names {
                let (id, ledger) = (id(&name), signals.ledger(id(&name)));
                let mut lane = Lane::new(shared.clone(), id, name, ledger);
                lane.resets = consumer.resets();
                if let Some(durable) = durable {
                    // The pause of an earlier assignment would be kept in any case: it is said, and
                    // taken back once the partition goes on.
                    consumer.pause(&lane.name);
                    lane.keeping = Some(Keeping::of(&lane.name, durable));
                } else {
                    // The library keeps the pause of an earlier assignment.
                    consumer.resume(&lane.name);
                    lane.past = learn_from.map_or_else(Past::none, |_| Past::wanted());
                }
                lanes.insert(id, lane);
            }
        }
        Rebalanced::Revoking(names) => {
            let leaving = lanes.values_mut().filter(|lane| names.contains(&lane.name));
            leaving.for_each(Lane::leaves);
            return Some(Leaving::new(names));
        }
        Rebalanced::Revoked(names) => gone(lanes, &names, desk, true),
        Rebalanced::Lost(names) => {
            gone(lanes, &names, desk, false);
            // Somebody else may have read on already: what is known here is of no use.
            names.iter().for_each(|name| shared.agents.forget(id(name)));
        }
    }
    None
}

/// Partitions are somebody else's. Dropping a judge publishes what it knows and takes it off the
/// board.
pub(super) fn gone(
    lanes: &mut BTreeMap<PartitionId, Lane>,
    names: &[TopicPartition],
    desk: &Desk,
    is_ours: bool,
) {
    let ids = names.iter().map(|name| desk.id_of(&name.topic, name.partition));
    for mut lane in ids.filter_map(|id| lanes.remove(&id)) {
        if let Some(keeping) = &mut lane.keeping {
            // What the broker has refused until now is not ours to write any more.
            keeping.yields();
            // Whoever is next, even in this process, reads what was written.
            lane.judge.forget();
        } else if is_ours {
            lane.judge.release();
        }
    }
}
