//! What changes a whole group at once: a finding about the group, told once, by one of its agents.
//!
//! Every agent tells its group within the hour how much it does ([`crate::baseline::pulse`]); two
//! hours later the sums of all partitions are known everywhere. The agent that was at work in the hour
//! with the smallest rank speaks for its group with its next call, so there is one alert whatever the
//! number of partitions. Only its being told waits for that call: its time, its id and its words are
//! those of the group's hour. Hours that go on with the same are the same finding.
//!
//! What an agent is told of while that lasts is one step milder and belongs to the group's incident.
//! The common factor is not taken out of its evidence: it would be known too late for the first two
//! hours, and from then on hide an agent that does more than the others.

use crate::alert::{
    Alert, AlertId, AlertStatus, Episode, Expected, Learning, SCHEMA, Window, crowd, score,
};
use crate::baseline::peers::{EPOCHS_BEHIND, Fact, Peers};
use crate::baseline::pulse::{Beat, GroupHour, Rhythm};
use crate::detect::agent::AgentState;
use crate::detect::episodes::Open;
use crate::detect::{Judgement, Verdict, words};
use crate::event::Timestamp;
use crate::policy::{CommonModeParameters, Detector, Rule, Rules};

/// A finding goes on when the same is seen again within so many hours.
const GOES_ON_HOURS: i64 = 24;

/// A common hour speaks for calls of its own and of so many hours after it.
const SPEAKS_FOR_HOURS: i64 = EPOCHS_BEHIND + 1;

/// Hours after which nothing more is expected of a finding that is open.
pub(crate) const OPEN_SECS: i64 = 4 * 3_600;

/// Bits of a rank that are the agent's own.
const OWN_BITS: u32 = 59;

/// Counts one call, and speaks for the group when it is this agent's turn.
pub(crate) fn observe(
    judgement: &Judgement<'_>,
    is_first_of_hour: bool,
    state: &mut AgentState,
    verdict: &mut Verdict,
) {
    let Some(rule) = &judgement.rules.common_mode else { return };
    if let Some(beat) = state.pulse.add(judgement.moment.hour) {
        tell(beat, state, verdict);
    }
    if is_first_of_hour {
        speak(judgement, rule, state, verdict);
    }
}

/// The group is told what the call makes of the hour.
fn tell(beat: Beat, state: &AgentState, verdict: &mut Verdict) {
    if beat.is_levelled {
        verdict.facts.push(Fact::Levelled);
    }
    if beat.is_first {
        // Agents at work in most hours come first: they speak soonest.
        let idle = u64::from(24 - state.hours_seen.count_ones().min(24));
        verdict.facts.push(Fact::AtWork { rank: idle << OWN_BITS | own(state.agent) });
    }
    if beat.quarters > 0 {
        verdict.facts.push(Fact::Pulse { quarters: beat.quarters, is_busy: beat.is_busy });
    }
}

const fn own(agent: u64) -> u64 {
    agent >> (u64::BITS - OWN_BITS)
}

/// Tells of the group's hours that have become known, if it falls to this agent.
fn speak(
    judgement: &Judgement<'_>,
    rule: &Rule<CommonModeParameters>,
    state: &mut AgentState,
    verdict: &mut Verdict,
) {
    let looked = state.pulse.look(judgement.peers.epoch);
    let Some(rhythm) = judgement.peers.rhythm(state.group) else { return };
    for hour in rhythm.hours().iter().filter(|hour| hour.hour > looked && is_common(rule, hour)) {
        if let Some(open) = state.open.iter_mut().find(|it| it.detector == Detector::CommonMode) {
            open.episode.last = open.episode.last.max(judgement.call.time);
        }
        let rank = hour.sums.first.unwrap_or(0) & ((1 << OWN_BITS) - 1);
        if rank == own(state.agent) && began(rule, rhythm, hour) == hour.hour {
            open_finding(judgement, rule, (state, rhythm), hour, verdict);
        }
    }
}

/// Whether an hour is one that the rule tells of.
fn is_common(rule: &Rule<CommonModeParameters>, hour: &GroupHour) -> bool {
    let parameters = &rule.parameters;
    let factor = f64::from(if hour.is_up { hour.factor } else { 1.0 / hour.factor });
    let at_work = f64::from(hour.sums.at_work);
    let is_many = !hour.is_up
        || at_work >= f64::from(parameters.agents_min)
            && f64::from(hour.sums.busy) >= parameters.share_min * at_work;
    hour.chance <= rule.words.budget
        && factor >= parameters.factor_min
        && hour.agents >= parameters.agents_min.into()
        && is_many
}

/// The hour in which what `hour` shows began.
fn began(rule: &Rule<CommonModeParameters>, rhythm: &Rhythm, hour: &GroupHour) -> i64 {
    let before = rhythm
        .hours()
        .iter()
        .rev()
        .filter(|it| it.is_up == hour.is_up && it.hour < hour.hour && is_common(rule, it));
    let mut first = hour.hour;
    for it in before {
        if it.hour + GOES_ON_HOURS < first {
            break;
        }
        first = it.hour;
    }
    first
}

/// What is known of the group at a call: the incident its agents' alerts belong to, and words.
pub(crate) struct Common {
    pub(crate) incident: String,
    pub(crate) words: String,
}

/// What the group of an agent has in common with it, for an alert on how much it does.
pub(crate) fn of_group(judgement: &Judgement<'_>, state: &AgentState) -> Option<Common> {
    let rule = judgement.rules.common_mode.as_ref()?;
    let rhythm = judgement.peers.rhythm(state.group)?;
    let from = judgement.call.time.hour() - SPEAKS_FOR_HOURS;
    let hour = rhythm
        .hours()
        .iter()
        .rev()
        .find(|it| it.is_up && it.hour >= from && is_common(rule, it))?;
    let began = began(rule, rhythm, hour);
    Some(Common {
        incident: incident(state, began),
        words: format!(
            "Its whole group has done {:.1} times its usual work since {} UTC.",
            hour.factor,
            clock(began)
        ),
    })
}

/// The incident of whatever is told of how much the agents of a group do, by the hour since the Unix
/// epoch in which that began. Without the rule in it, so that all a release makes of an hour is one.
pub(crate) fn incident(state: &AgentState, began: i64) -> String {
    crowd("work", &state.tenant_id, state.group_name(), began)
}

fn clock(hour: i64) -> String {
    format!("{:02}:00", hour.rem_euclid(24))
}

fn open_finding(
    judgement: &Judgement<'_>,
    rule: &Rule<CommonModeParameters>,
    (state, rhythm): (&mut AgentState, &Rhythm),
    hour: &GroupHour,
    verdict: &mut Verdict,
) {
    let time = Timestamp::from_hour(hour.hour + EPOCHS_BEHIND);
    let group = format!("{}@*", state.group_name());
    let id = AlertId::derive(&rule.words.id, &state.tenant_id, &group, (time, ""));
    let alert = alert(judgement.rules, rule, (state, rhythm), (hour, &id, &group));
    let mut episode = Episode::open(id, time, alert.score, Vec::new());
    episode.calls = 0;
    episode.last = judgement.call.time.max(time);
    episode.last_summary.clone_from(&alert.summary);
    state.open.push(Open::without_call(Detector::CommonMode, episode, &alert));
    verdict.alerts.push(alert);
}

fn alert(
    rules: &Rules,
    rule: &Rule<CommonModeParameters>,
    (state, rhythm): (&AgentState, &Rhythm),
    (hour, id, group): (&GroupHour, &AlertId, &str),
) -> Alert {
    let words = &rule.words;
    let ratio = words.budget / hour.chance.max(f64::MIN_POSITIVE);
    let (start, end) = (Timestamp::from_hour(hour.hour), Timestamp::from_hour(hour.hour + 1));
    let factor = f64::from(hour.factor);
    let (low, high) = (f64::from(hour.usual.0), f64::from(hour.usual.1));
    let sums = &hour.sums;
    let limit = rule.parameters.factor_min;
    let learning = state.learning_of(Detector::CommonMode, rules, &Peers::default());
    let peers = u32::try_from(hour.agents).unwrap_or(u32::MAX);
    Alert {
        schema: SCHEMA.to_owned(),
        alert_id: id.to_string(),
        revision: 0,
        status: AlertStatus::Firing,
        dedup_key: incident(state, hour.hour),
        duplicate_of: None,
        time: Timestamp::from_hour(hour.hour + EPOCHS_BEHIND).to_string(),
        rule_id: words.id.clone(),
        detector: words.detector.as_str().to_owned(),
        severity: words.severity,
        score: score(ratio),
        tenant_id: state.tenant_id.to_string(),
        agent_id: group.to_owned(),
        agent_version: None,
        title: words.title.clone(),
        summary: format!(
            "The {peers} agents of {} did {factor:.2} times the usual work of this hour of the day between {} and {} UTC: {} at work, {} of them busy; its days usually stay between {low:.2} and {high:.2}.",
            words::quote(state.group_name()),
            clock(hour.hour),
            clock(hour.hour + 1),
            words::count(sums.at_work, "agent"),
            sums.busy,
        ),
        expected: Expected {
            low,
            high,
            unit: "times the usual work of the hour".to_owned(),
            basis: format!("{peers} agents and {:.0} days of their group", rhythm.days().max(1.0)),
        },
        observed: libm::round(factor * 100.0) / 100.0,
        probability: hour.chance,
        window: Window { start: start.to_string(), end: end.to_string() },
        learning: Learning { peers, ..learning },
        calibration: None,
        trigger: None,
        is_cut: false,
        evidence: Vec::new(),
        evidence_total: 0,
        subjects: Vec::new(),
        counterfactual: if hour.is_up {
            format!("silent if the group had done less than {limit:.1} times its usual work")
        } else {
            format!("silent if the group had done more than {:.2} of its usual work", 1.0 / limit)
        },
        tags: words.tags.clone(),
        runbook_url: words.runbook.clone(),
        links: Vec::new(),
    }
}
