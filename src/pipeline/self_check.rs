//! Realised against promised, over all groups: what `/metrics` and the end of a replay say.

use std::collections::BTreeMap;

use crate::baseline::peers::{Fact, Peers};
use crate::baseline::realised::{TIERS, allowed};
use crate::detect::{self, Bound, Bounds};
use crate::policy::{Rules, Words};
use crate::telemetry::{Metrics, TIER_LABELS};

/// Agent-days of known agents, and those on which detectors reached a tier; bounded by the number
/// of detectors.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Active agent-days.
    pub days: u64,
    crossings: BTreeMap<(u8, u8), u64>,
    bounds: BTreeMap<Bound, u64>,
}

/// One detector's promise and what came of it, for each tier.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The detector.
    pub detector: &'static str,
    /// Agent-days on which the tier was reached.
    pub realised: [u64; TIERS.len()],
    /// The most that the budget allows.
    pub promised: [f64; TIERS.len()],
}

impl Counted {
    /// Counts what one verdict told.
    pub fn note(&mut self, facts: &[Fact]) {
        for fact in facts {
            match fact {
                Fact::JudgedDay { .. } => self.days += 1,
                Fact::Crossing { detector, tier, .. } => {
                    *self.crossings.entry((*detector, *tier)).or_default() += 1;
                }
                _ => {}
            }
        }
    }

    /// Counts where an agent's tables had to make room.
    pub fn note_bounds(&mut self, bounds: Bounds) {
        for bound in bounds.iter() {
            *self.bounds.entry(bound).or_default() += 1;
        }
    }

    /// One row for each rule that promises something, in the order they judge.
    #[must_use]
    pub fn rows(&self, rules: &Rules) -> Vec<Row> {
        promising(rules).map(|words| self.row(words)).collect()
    }

    fn row(&self, words: &Words) -> Row {
        let of = |tier: u8| self.crossings.get(&(words.detector.place(), tier)).copied();
        Row {
            detector: words.detector.as_str(),
            realised: [0, 1, 2, 3].map(|tier| of(tier).unwrap_or(0)),
            promised: TIERS.map(|tier| match tier < 1.0 && !detect::has_tiers(words.detector) {
                true => 0.0,
                false => allowed(words.budget, tier, self.days),
            }),
        }
    }

    /// Moves the counters by what was counted.
    pub fn count(&self, rules: &Rules, metrics: &Metrics) {
        for (bound, calls) in &self.bounds {
            metrics.agent_bound(bound.as_str(), *calls);
        }
        for row in self.rows(rules) {
            for ((tier, realised), promised) in
                TIER_LABELS.iter().zip(row.realised).zip(row.promised)
            {
                metrics.self_check(row.detector, tier, (realised, promised));
            }
        }
    }

    /// Whether nothing was counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.days == 0 && self.crossings.is_empty() && self.bounds.is_empty()
    }
}

/// Says in how many groups each detector is beyond its promise.
pub fn tell_miscalibrated(rules: &Rules, peers: &Peers, metrics: &Metrics) {
    for words in promising(rules) {
        let place = words.detector.place();
        let is_beyond = |it: &bool| *it;
        let groups = peers
            .summaries()
            .map(|group| group.realised().excess(place, words.budget).is_some())
            .filter(is_beyond)
            .count();
        metrics.miscalibrated(words.detector.as_str(), groups);
    }
}

/// Says in how many groups each table had more to hold than it may.
pub fn tell_full(peers: &Peers, metrics: &Metrics) {
    for (table, groups) in peers.full() {
        metrics.peers_full(table, groups);
    }
}

fn promising(rules: &Rules) -> impl Iterator<Item = &Words> {
    rules.words().filter(|words| detect::promises(words.detector))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::baseline::peers::{GroupKey, GroupSummary};
    use crate::config::load_rules;
    use crate::detect::{AgentState, Context};
    use crate::event::{Timestamp, ToolCall};
    use crate::policy::Detector;
    use crate::telemetry::{AGENT_TABLES, GROUP_TABLES};

    fn rules() -> Rules {
        load_rules(&crate::config::RuleSource::default()).unwrap().rules
    }

    fn page(fill: impl FnOnce(&Metrics)) -> String {
        let metrics = Metrics::new(&crate::telemetry::BuildInfo::default());
        fill(&metrics);
        metrics.encode()
    }

    fn crossing(hour: i64) -> Fact {
        Fact::Crossing { detector: Detector::CallRate.place(), tier: 3, hour }
    }

    #[test]
    fn the_tiers_of_the_metric_are_those_that_are_counted() {
        assert_eq!(TIERS.map(|tier| tier.to_string()), TIER_LABELS);
    }

    #[test]
    fn what_was_promised_and_what_came_of_it_stand_side_by_side() {
        let mut counted = Counted::default();
        (0..100).for_each(|day| counted.note(&[Fact::JudgedDay { day }]));
        counted.note(&[crossing(0), crossing(24)]);
        let rows = counted.rows(&rules());
        let row = rows.iter().find(|row| row.detector == "call_rate").unwrap();
        assert_eq!(row.realised, [0, 0, 0, 2]);
        assert!((row.promised[3] - 4.0).abs() < 1e-9, "{row:?}");
        assert!(rows.iter().all(|row| row.detector != "first_use"));
        let page = page(|metrics| counted.count(&rules(), metrics));
        let line = r#"selfcheck_crossings_total{detector="call_rate",tier="1"} 2"#;
        assert!(page.contains(line), "{page}");
        let line = r#"selfcheck_allowed_total{detector="call_rate",tier="1"} 4"#;
        assert!(page.contains(line), "{page}");
    }

    #[test]
    fn the_tables_of_the_metrics_are_those_that_are_bounded() {
        assert_eq!(Bound::ALL.map(Bound::as_str), AGENT_TABLES);
        let peers = Peers::default().with_epoch(1, [(GroupKey(1), &GroupSummary::default())]);
        assert_eq!(peers.full().keys().copied().collect::<Vec<_>>(), GROUP_TABLES);
    }

    #[test]
    fn what_makes_room_in_an_agent_is_counted() {
        let (rules, peers) = (rules(), Peers::default());
        let context = Context::new(&rules, &peers);
        let mut counted = Counted::default();
        let mut agent = None;
        for n in 0..30_u64 {
            let call = ToolCall {
                time: Timestamp::from_secs(i64::try_from(n).unwrap() * 60),
                session_id: n.to_string().into(),
                call_id: n.to_string().into(),
                tool_name: "read".into(),
                ..ToolCall::default()
            };
            let agent = agent.get_or_insert_with(|| AgentState::new(&call));
            counted.note_bounds(detect::observe(&context, agent, &call).bounds);
        }
        let page = page(|metrics| counted.count(&rules, metrics));
        let line = r#"toolwarden_agent_bounds_met_total{table="session_evidence"} 24"#;
        assert!(page.contains(line), "{page}");
    }

    #[test]
    fn a_group_with_a_full_table_shows_in_the_metric() {
        let mut group = GroupSummary::default();
        for tool in 0..300 {
            group.add(Fact::Tool { tool, agent: 1, hour: 0, began: false });
        }
        let peers = Peers::default().with_epoch(1, [(GroupKey(1), &group)]);
        let page = page(|metrics| tell_full(&peers, metrics));
        let of = |table: &str, groups: u32| {
            format!(r#"toolwarden_peers_tables_full{{table="{table}"}} {groups}"#)
        };
        assert!(page.contains(&of("tools", 1)) && page.contains(&of("entities", 0)), "{page}");
    }

    #[test]
    fn a_group_beyond_its_promise_shows_in_the_metric_and_one_within_does_not() {
        // Days that came to a third of an alert: alerts themselves may be attacks.
        let near_miss =
            || Fact::Crossing { detector: Detector::CallRate.place(), tier: 2, hour: 1 };
        let group = |near: i64| {
            let mut group = GroupSummary::default();
            for _ in 0..20 {
                group.add(Fact::JudgedDay { day: 0 });
            }
            for _ in 0..near {
                group.add(near_miss());
            }
            group
        };
        let (calm, wild) = (group(1), group(15));
        let peers = Peers::default().with_epoch(1, [(GroupKey(1), &calm), (GroupKey(2), &wild)]);
        let page = page(|metrics| tell_miscalibrated(&rules(), &peers, metrics));
        let of = |detector: &str, groups: u32| {
            format!(r#"selfcheck_groups_miscalibrated{{detector="{detector}"}} {groups}"#)
        };
        assert!(page.contains(&of("call_rate", 1)) && page.contains(&of("errors", 0)), "{page}");
    }
}
