//! What a new version of an agent changed: tools, amount of work, failures, hours. Listed.
//!
//! A version that the agent never had inherits everything learned and is on probation for three
//! active days. Every alert of that time says so, the first one that can wake somebody brings what
//! has changed so far, and the end brings the whole. Nothing is judged more mildly meanwhile and
//! nothing is learned anew: whoever writes the records could write any version, and would begin an
//! attack with one.

use crate::alert::{
    AlertStatus, AuditKind, Evidence, Expected, LEARNING_SCORE_MAX, PAGE_SCORE, VersionLearning,
    VersionState, score,
};
use crate::baseline::float;
use crate::baseline::peers::Fact;
use crate::baseline::tools::Use;
use crate::baseline::versions::{Before, Change, End, Ended, Probation, Standing};
use crate::detect::agent::{AgentState, LEARNED};
use crate::detect::episodes::Description;
use crate::detect::{Judgement, Verdict, call_rate, words};
use crate::event::{Status, Timestamp};
use crate::policy::{Detector, Rule, VersionParameters};

/// New versions an active day, believed of every agent; each change makes one rarer.
const RATE: f64 = 0.1;

/// The chance that a day's busiest minute must have for it to be called a change.
const BUSY_CHANCE: f64 = 0.02;

/// How far the calls of a day must have moved to be called a change, down and up.
const CALLS: (f64, f64) = (0.75, 1.33);

/// Notes the version of a call that was counted, before it is judged.
pub(crate) fn note(judgement: &Judgement<'_>, state: &mut AgentState, verdict: &mut Verdict) {
    let call = judgement.call;
    let version = call.agent_version.as_deref();
    if version.is_none() && state.rare.versions().is_none() {
        return;
    }
    let (days, calls) = LEARNED;
    let is_known = state.history.days >= days && state.history.calls > calls;
    let versions = state.rare.versions_or_new();
    let mut change = versions.note(version, call.time, is_known);
    if let Change::Ended(end) = change {
        let over = versions.end(end, call.time);
        change = versions.note(version, call.time, is_known);
        if let Some(over) = over {
            tell(judgement, (&over, Some(end)), state, verdict);
            if end == End::Settled {
                settled(judgement, &over, state, verdict);
            }
        }
    }
    if !matches!(change, Change::First | Change::Began) {
        return;
    }
    let before = (change == Change::Began).then(|| before(judgement, state));
    let Some(versions) = state.rare.versions_mut() else { return };
    let day = i32::try_from(call.time.day()).unwrap_or(0);
    verdict.facts.push(Fact::Version { version: versions.current(), day });
    if let (Some(on), Some(before)) = (versions.under_probation(), before) {
        on.before = before;
    }
}

/// Writes down that a version is taken for the agent's own.
fn settled(
    judgement: &Judgement<'_>,
    over: &Probation,
    state: &mut AgentState,
    verdict: &mut Verdict,
) {
    let kind = (AuditKind::VersionSettled, Some(Detector::Version));
    state.audit(judgement, kind, verdict, |state| {
        let (agent, version) = (words::quote(&state.agent_id), words::quote(&over.name));
        let days = words::count(over.days.0, "active day");
        (None, format!("{agent} has run {version} for {days}: it is off probation."))
    });
}

/// Counts what the version does, and speaks of it when the call has alerted for the first time.
pub(crate) fn observe(
    judgement: &Judgement<'_>,
    used: Use,
    state: &mut AgentState,
    verdict: &mut Verdict,
) {
    let call = judgement.call;
    let Some(versions) = state.rare.versions_mut() else { return };
    let failed = match call.status {
        Status::Ok => Some(false),
        Status::Error | Status::Denied | Status::Timeout => Some(true),
        Status::Cancelled | Status::Unknown => None,
    };
    let Some(on) = versions.under_probation() else {
        if let Some(failed) = failed {
            versions.ended.add(failed);
        }
        return;
    };
    on.note_call((judgement.tool, &call.tool_name, used.is_first), failed);
    let wakes = |status, score| status == AlertStatus::Firing && score >= PAGE_SCORE;
    if on.is_told || !verdict.alerts.iter().any(|alert| wakes(alert.status, alert.score)) {
        return;
    }
    on.is_told = true;
    let on = on.clone();
    tell(judgement, (&on, None), state, verdict);
}

/// What an alert says of the version it was decided under.
pub(crate) fn learning(state: &AgentState) -> Option<VersionLearning> {
    let (standing, since) = state.rare.versions()?.standing();
    let state = match standing {
        Standing::Untold => return None,
        Standing::Known => VersionState::Known,
        Standing::Probation => VersionState::Probation,
        Standing::Unsettled => VersionState::Unsettled,
    };
    Some(VersionLearning { state, since: since.map(|since| since.to_string()) })
}

fn before(judgement: &Judgement<'_>, state: &AgentState) -> Before {
    let rule = judgement.rules.call_rate.as_ref();
    let parameters = rule.map(|rule| rule.parameters).unwrap_or_default();
    let model = call_rate::model(&state.minutes, &parameters);
    let (low, high) = model.usual();
    let days = state.history.days;
    Before {
        regular: state.tools.regular(days).take(Before::TOOLS_MAX).collect(),
        days,
        calls: state.history.usual_day.calls(),
        minute: [low, high, model.limit(BUSY_CHANCE)],
        ended: state.rare.versions().map_or_else(Ended::default, |versions| versions.ended),
    }
}

fn tell(
    judgement: &Judgement<'_>,
    (on, end): (&Probation, Option<End>),
    state: &AgentState,
    verdict: &mut Verdict,
) {
    let Some(rule) = &judgement.rules.version else { return };
    let changes = changes(on);
    let count = float(u64::try_from(changes.len()).unwrap_or(0));
    let ratio = rule.words.budget * (1.0 + count) / RATE;
    let score = score(ratio).min(LEARNING_SCORE_MAX);
    let description = describe(judgement, (on, end), state, (&changes, rule));
    verdict.alerts.push(state.alert(judgement, &rule.words, (score, ratio), description));
}

/// What is different under the version, in words.
fn changes(on: &Probation) -> Vec<String> {
    let mut found = Vec::new();
    let (names, new) = (&on.new_tools.0, on.new_tools.1);
    if new > 0 {
        let names: Vec<String> = names.iter().map(|name| words::quote(name)).collect();
        let more = if usize::from(new) > names.len() { ", …" } else { "" };
        found.push(format!("{} new to it ({}{more})", words::count(new, "tool"), names.join(", ")));
    }
    let unused = on.unused_tools();
    let regular = on.before.regular.len();
    if unused > 0 && on.days.0 >= 2 {
        found.push(format!("{unused} of {regular} regular tools no longer used"));
    }
    if let Some(calls) = on.calls_a_day() {
        let ratio = calls.max(50.0) / on.before.calls.max(50.0);
        if !(CALLS.0..=CALLS.1).contains(&ratio) {
            found.push(format!("calls a day ×{ratio:.1}"));
        }
    }
    let [low, high, limit] = on.before.minute;
    if f64::from(on.busiest) > limit {
        found.push(format!(
            "{} acting calls in the busiest minute, usually {low:.0} to {high:.0}",
            on.busiest
        ));
    }
    if on.ended.differs_from(on.before.ended) {
        let percent = |share: f64| libm::round(share * 100.0);
        found.push(format!(
            "{:.0} % of calls failed, before {:.0} %",
            percent(on.ended.share()),
            percent(on.before.ended.share()),
        ));
    }
    let hours: Vec<String> = (0..24)
        .filter(|hour| on.hours & (1 << hour) != 0)
        .map(|hour| format!("{hour:02}:00"))
        .collect();
    if !hours.is_empty() {
        found.push(format!("at work in new hours ({} UTC)", hours.join(", ")));
    }
    found
}

fn describe(
    judgement: &Judgement<'_>,
    (on, end): (&Probation, Option<End>),
    state: &AgentState,
    (changes, rule): (&[String], &Rule<VersionParameters>),
) -> Description {
    let call = judgement.call;
    let (agent, version) = (words::quote(&state.agent_id), words::quote(&on.name));
    let since = Timestamp::from_secs(i64::from(on.since) * 60);
    let others = words::count(u64::try_from(on.other_versions()).unwrap_or(0), "other new version");
    let days = words::count(on.days.0, "active day");
    let who = match end {
        Some(End::Settled) => format!("{agent} has run {version} for {days}"),
        Some(End::Withdrawn) => format!("{agent} ran {version} on {days} and no longer does"),
        Some(End::Unsettled) => format!(
            "{agent} named {version} and more than {others} since {}, so that its versions are not told apart for 30 days",
            words::day(since)
        ),
        None => format!("{agent} runs {version}, new to it, since {}", words::day(since)),
    };
    let beside = match end {
        Some(End::Unsettled) => String::new(),
        _ if on.other_versions() == 0 => String::new(),
        _ => format!(", beside {others}"),
    };
    let what = if changes.is_empty() {
        "nothing that is counted has changed".to_owned()
    } else {
        changes.join("; ")
    };
    let peers = peers(judgement, (on, since), state, rule.parameters);
    Description {
        summary: format!("{who}{beside}: {what}{peers}."),
        expected: Expected {
            low: 0.0,
            high: 0.0,
            unit: "changes of what is counted".to_owned(),
            basis: format!("{} before it", words::count(on.before.days, "active day")),
        },
        observed: float(u64::try_from(changes.len()).unwrap_or(0)),
        start: since,
        counterfactual: "silent if the agent had run the version before".to_owned(),
        evidence: vec![Evidence::of(call)],
        evidence_total: 1,
        subjects: Vec::new(),
    }
}

/// Which peers took the same version up of late, in words.
fn peers(
    judgement: &Judgement<'_>,
    (on, since): (&Probation, Timestamp),
    state: &AgentState,
    parameters: VersionParameters,
) -> String {
    let peers = judgement.peers;
    let count = state.peer_count(peers);
    let Some(group) = peers.group(state.group).filter(|_| count > 0) else { return String::new() };
    let day = |time: Timestamp| i32::try_from(time.day()).unwrap_or(0);
    let from = day(judgement.call.time).saturating_sub_unsigned(parameters.peer_days);
    // The agent's own word is among them once its epoch is.
    let own = (since.hour() <= peers.epoch).then(|| day(since));
    match group.versions().takers(on.version, from, own) {
        None => format!("; none of its {} took it up of late", words::count(count, "peer")),
        Some((takers, first)) => format!(
            "; {} of its {} took it up since {}",
            u64::from(takers).min(count),
            words::count(count, "peer"),
            words::day(Timestamp::from_secs(i64::from(first) * 86_400)),
        ),
    }
}
