//! A call that reaches for somebody or something its group's sessions do not reach for.
//!
//! Prompt injection makes an agent use its usual tools on an unusual target, after it has read
//! something. So a call is judged by its targets: how often a value there is new at all, how well
//! sessions like this one are known, and whether the call acts. Sums of logarithms (nats): the
//! higher, the rarer. From a session's first suspicious call on nothing is learned from it.

use std::f64::consts::LN_10;
use std::sync::Arc;

use crate::alert::{Evidence, Expected, PAGE_SCORE, score};
use crate::baseline::float;
use crate::baseline::habits::{Context, Habits};
use crate::baseline::identity::short;
use crate::baseline::peers::{Fact, GroupKey, Peers};
use crate::baseline::session::{self, LiveSession, Named};
use crate::detect::agent::AgentState;
use crate::detect::episodes::{Decided, Description};
use crate::detect::{Bound, Judgement, Verdict, subjects, words};
use crate::event::{Operation, Status, Target, TargetKind, Timestamp};
use crate::policy::{InjectedSessionParameters, Limits, Rule, Rules};

/// A class in which more than this share of values is new surprises with none.
const RATE_MAX: f64 = 0.8;

/// No class is surer than this that nothing new comes.
const RATE_MIN: f64 = 0.001;

/// What each e-fold of known sessions like this one adds, in nats.
const CONFIDENCE: f64 = 0.4;

/// More than that can never add: all known sessions like this one, and all of them its agent's own.
const CONFIDENCE_MAX: f64 = 2.8;

/// Surprise, in nats, that a known target in another kind of session, and a tool in another kind
/// of session, must exceed; and the most that is left of it.
const OTHER_SESSION: (f64, f64) = (3.0, 1.0);
const OTHER_TOOL: (f64, f64) = (2.3, 1.5);

/// Share of the second target's surprise that is added.
const SECOND: f64 = 0.3;

/// Factor where a target is less of a surprise for one of several reasons.
const LIKELY: f64 = 0.5;

/// Factor for a call that failed, and for a name kept for examples.
const FAILED: f64 = 0.35;
const RESERVED: f64 = 0.2;

/// Sessions in which an address's domain makes the next address there less of a surprise.
const DOMAIN_SESSIONS: u16 = 3;

/// An unknown target, or tool, that at least this share of the sessions that began alike has, and so many of
/// them, is new work rather than an injection: every session of a job has its payee, only the
/// injected ones have the attacker's. The factor leaves a strong surprise above the threshold.
const NEW_WORK: (f64, u32, f64) = (0.15, 3, 0.3);

/// What was found in a call.
struct Finding {
    nats: f64,
    best: Option<Reason>,
    /// What the tool itself adds.
    tool: f64,
    similar: u32,
    sessions: u32,
}

/// What one target adds.
#[derive(Clone, Copy)]
struct Reason {
    nats: f64,
    target: Target,
    support: u16,
    rate: f64,
    alike: u32,
}

/// Judges one call, whose targets were looked up in its session, and adds it to that.
pub(crate) fn observe(
    judgement: &Judgement<'_>,
    named: &Named,
    state: &mut AgentState,
    verdict: &mut Verdict,
) {
    let (rules, call) = (judgement.rules, judgement.call);
    if rules.injected_session.is_none() && rules.look_alike.is_none() {
        return;
    }
    let (agent, habits) = (state.agent, judgement.habits);
    let newest = state.live.as_mut().and_then(|live| live.sessions.newest_mut());
    let Some(session) = newest else { return };
    let mut finding = None;
    if let (Some(rule), Some(habits)) = (&rules.injected_session, habits) {
        // Before anything was read nothing can have been injected.
        if session.calls() > 0 {
            let is_quiet = || {
                !session.is_quarantined()
                    && is_surely_quiet(judgement, habits, rule, (session, named))
            };
            finding =
                if is_quiet() { None } else { judge(judgement, habits, agent, (session, named)) };
        }
        // A tool alone keeps nothing from being learned, or it would never become usual.
        let nats = finding.as_ref().map_or(0.0, |finding| finding.nats - finding.tool);
        if nats >= rule.parameters.gate && judgement.group_progress().is_none() {
            session.quarantine();
        }
        if session.is_quarantined() {
            suspect(judgement, habits, finding.as_ref(), session);
        }
    }
    session.add_named(call.time, judgement.tool, (&call.targets, named), &call.words);
    if session.is_full() {
        verdict.bounds.note(Bound::Values);
        verdict.facts.push(Fact::Session(Arc::new(session.split(agent, call.time))));
    }
    let key = session.key();
    if let (Some(rule), Some(finding)) = (&rules.injected_session, finding) {
        tell(judgement, (rule, key), &finding, (state, verdict));
    }
}

fn tell(
    judgement: &Judgement<'_>,
    (rule, session): (&Rule<InjectedSessionParameters>, u64),
    finding: &Finding,
    (state, verdict): (&mut AgentState, &mut Verdict),
) {
    let ratio = libm::exp(finding.nats - rule.parameters.surprise);
    state.weigh(judgement, (rule.words.detector, ratio), verdict);
    let score = state.cap(judgement, rule.words.detector, score(ratio));
    let describe = |state: &AgentState| describe(judgement, rule, state, finding);
    if score >= PAGE_SCORE {
        let decided = Decided { rule: &rule.words, ratio, session };
        state.report_session(judgement, &decided, verdict, describe);
    } else if score >= judgement.rules.limits.listed_score {
        let description = describe(state);
        verdict.alerts.push(state.alert(judgement, &rule.words, (score, ratio), description));
    }
}

/// Keeps what a quarantined session goes on with: the worst target, the tool, the other unknown
/// values.
fn suspect(
    judgement: &Judgement<'_>,
    habits: &Habits,
    finding: Option<&Finding>,
    session: &mut LiveSession,
) {
    let unknown = |target: &Target| {
        Some(session::entity(target)).filter(|entity| habits.support(*entity) == 0)
    };
    let worst = finding.and_then(|finding| finding.best).map(|best| best.target);
    let tool = finding.filter(|finding| finding.tool > 0.0);
    let targets = judgement.call.targets.iter().filter(|target| target.kind.is_target());
    let values = worst
        .iter()
        .filter_map(unknown)
        .chain(tool.map(|_| session::tool_entity(judgement.tool)))
        .chain(targets.filter_map(unknown));
    values.for_each(|value| session.suspect(value));
}

/// What is surprising about a call of a session that has read something; `None` for nothing.
fn judge(
    judgement: &Judgement<'_>,
    habits: &Habits,
    agent: u64,
    (session, named): (&LiveSession, &Named),
) -> Option<Finding> {
    let call = judgement.call;
    let acting = acting(call.operation);
    let tool_token = session::tool_token(judgement.tool);
    let mut known = Known { habits, agent, session, context: None };
    let (mut best, mut second, mut tool) = (None::<Reason>, 0.0_f64, 0.0);
    for (target, weight) in strange(judgement, session, named) {
        let weighed = weight * discount(habits, session, target);
        let reason = of_target(judgement, &mut known, (target, weighed));
        let nats = best.map_or(0.0, |best| best.nats);
        if reason.nats > nats {
            second = nats;
            best = Some(reason);
        } else {
            second = second.max(reason.nats);
        }
    }
    if is_strange_tool(judgement, named) {
        let context = known.context();
        let surprise = excess(context.chance(tool_token), OTHER_TOOL);
        tool = surprise * of_tool(acting);
        if tool > 0.0 {
            let entity = session::tool_entity(judgement.tool);
            tool *= of_new_work(habits.share(session.tokens(), entity, context.total));
        }
    }
    let failed = if has_failed(call.status) { FAILED } else { 1.0 };
    tool *= failed;
    let nats = failed * (best.map_or(0.0, |best| best.nats) + SECOND * second) + tool;
    (nats > 0.0).then(|| Finding {
        nats,
        best,
        tool,
        similar: known.context.as_ref().map_or(0, |context| context.similar),
        sessions: habits.sessions(),
    })
}

/// The targets of a call that neither its session has named before nor a person expects, and what
/// each is worth in it.
fn strange<'a>(
    judgement: &'a Judgement<'_>,
    session: &'a LiveSession,
    named: &'a Named,
) -> impl Iterator<Item = (&'a Target, f64)> {
    let acting = acting(judgement.call.operation);
    judgement.call.targets.iter().enumerate().filter_map(move |(at, target)| {
        let weight = kind_weight(target.kind, acting);
        let is_strange = weight > 0.0
            && !named.is_named(session, (at, target))
            && !judgement.said.is_expected(target);
        is_strange.then_some((target, weight))
    })
}

/// Whether the session uses the tool of a call for the first time, and nobody expects it.
fn is_strange_tool(judgement: &Judgement<'_>, named: &Named) -> bool {
    !named.has_tool() && !judgement.said.is_expected_tool(judgement.tool)
}

/// What a tool's surprise counts for in a call that acts so much.
fn of_tool(acting: f64) -> f64 {
    0.3 + 0.7 * acting
}

/// Whether a call is too little of a surprise for anything to depend on how much, whatever the
/// sessions like this one are: to look them up takes longer than everything else.
fn is_surely_quiet(
    judgement: &Judgement<'_>,
    habits: &Habits,
    rule: &Rule<InjectedSessionParameters>,
    (session, named): (&LiveSession, &Named),
) -> bool {
    let is_strange_tool = is_strange_tool(judgement, named);
    if named.are_all() && !is_strange_tool {
        return true;
    }
    let (mut best, mut second) = (0.0_f64, 0.0_f64);
    for (target, weight) in strange(judgement, session, named) {
        let weighed = weight * discount(habits, session, target);
        let nats = weighed * most_of_target(judgement, habits, target);
        second = second.max(nats.min(best));
        best = best.max(nats);
    }
    let acting = acting(judgement.call.operation);
    let tool = if is_strange_tool { OTHER_TOOL.1 * of_tool(acting) } else { 0.0 };
    let nats = best + SECOND * second + tool;
    nats <= 0.0 || nats < least_that_counts(&rule.parameters, &judgement.rules.limits)
}

/// The most that a target can add, of what is left of it.
fn most_of_target(judgement: &Judgement<'_>, habits: &Habits, target: &Target) -> f64 {
    let support = habits.support(session::entity(target));
    if support >= 2 {
        return if session::is_token(target).0 { LIKELY * OTHER_SESSION.1 } else { 0.0 };
    }
    let surprise = libm::log(RATE_MAX / rate_of(judgement, habits, target));
    if surprise > 0.0 { surprise + CONFIDENCE_MAX } else { 0.0 }
}

/// The least surprise, in nats, from which on something is learned less, listed or told.
fn least_that_counts(parameters: &InjectedSessionParameters, limits: &Limits) -> f64 {
    // A score is rounded to a tenth, so a tenth less is on the safe side.
    let listed = limits.listed_score.min(PAGE_SCORE) - 0.1;
    if listed <= 0.0 {
        return 0.0;
    }
    let nats = parameters.surprise + LN_10 * (listed / 20.0 - 2.0);
    nats.min(parameters.gate) - 1e-6
}

/// How well sessions like the one of a call are known: looked up once and only when something depends
/// on it, since that takes longer than everything else.
struct Known<'a> {
    habits: &'a Habits,
    agent: u64,
    session: &'a LiveSession,
    context: Option<Context<'a>>,
}

impl<'a> Known<'a> {
    fn context(&mut self) -> &Context<'a> {
        let Self { habits, agent, session, .. } = *self;
        self.context.get_or_insert_with(|| habits.context(short(agent), session.tokens()))
    }
}

/// What one target of a call adds. `weighed` is what its kind and its likeness to known ones leave.
fn of_target(
    judgement: &Judgement<'_>,
    known: &mut Known<'_>,
    (target, weighed): (&Target, f64),
) -> Reason {
    let (habits, session) = (known.habits, known.session);
    let entity = session::entity(target);
    let support = habits.support(entity);
    let rate = rate_of(judgement, habits, target);
    let mut reason = Reason { nats: 0.0, target: *target, support, rate, alike: 0 };
    if support >= 2 {
        if session::is_token(target).0 {
            let chance = known.context().chance(session::entity_token(entity));
            reason.nats = weighed * LIKELY * excess(chance, OTHER_SESSION);
        }
        return reason;
    }
    let surprise = libm::log(RATE_MAX / rate);
    if surprise > 0.0 {
        let context = known.context();
        let known = if support == 1 { LIKELY } else { 1.0 };
        let share = habits.share(session.tokens(), entity, context.total);
        let confidence = CONFIDENCE * libm::log1p(context.total);
        let weighed = weighed * familiar(target.kind, context.total);
        reason.nats = weighed * known * of_new_work(share) * (surprise + confidence);
        reason.alike = share.1;
    }
    reason
}

/// How often a value in the place of a target is new to the group.
fn rate_of(judgement: &Judgement<'_>, habits: &Habits, target: &Target) -> f64 {
    let class = session::class(judgement.tool, target.key, target.kind);
    habits.discovery_rate(class, target.kind).clamp(RATE_MIN, 0.9)
}

/// How much a session of a kind that is this well known vouches for what is usual in it. Work of
/// its own kind has its own files and records; what leaves the house is strange in any session.
fn familiar(kind: TargetKind, total: f64) -> f64 {
    match kind {
        TargetKind::Path | TargetKind::Repository | TargetKind::Table => total / (total + 1.0),
        _ => 1.0,
    }
}

/// What is left of a surprise, given the share of sessions alike and their number.
fn of_new_work((share, sessions): (f64, u32)) -> f64 {
    if share >= NEW_WORK.0 && sessions >= NEW_WORK.1 { NEW_WORK.2 } else { 1.0 }
}

/// The surprise of a chance beyond what is let pass, bounded.
fn excess(chance: f64, (free, most): (f64, f64)) -> f64 {
    (-libm::log(chance.max(1e-9)) - free).clamp(0.0, most)
}

/// How much a call acts on the world, 0 to 1.
const fn acting(operation: Operation) -> f64 {
    match operation {
        Operation::Read => 0.0,
        Operation::Unknown => 0.5,
        Operation::Write | Operation::Delete | Operation::Execute | Operation::Auth => 1.0,
    }
}

const fn has_failed(status: Status) -> bool {
    !matches!(status, Status::Ok | Status::Unknown)
}

/// What a target of a kind is worth in a call that acts so much: whatever can leave the house most,
/// and a host even when it is only read from, because a URL carries data out.
fn kind_weight(kind: TargetKind, acting: f64) -> f64 {
    let leans = |reading: f64, writing: f64| if acting >= 0.5 { writing } else { reading };
    match kind {
        TargetKind::Host => 1.0,
        TargetKind::Email | TargetKind::Account | TargetKind::Phone | TargetKind::Repository => {
            leans(0.4, 1.0)
        }
        TargetKind::Path | TargetKind::Table => leans(0.35, 0.9),
        TargetKind::Secret => 0.8 * acting,
        TargetKind::Identifier => 0.7 * acting,
        TargetKind::Word => 0.3 * acting,
        TargetKind::Url | TargetKind::Directory | TargetKind::Root | TargetKind::Command => 0.0,
    }
}

/// What a target's likeness to known ones leaves of its surprise.
fn discount(habits: &Habits, session: &LiveSession, target: &Target) -> f64 {
    let known_domain = target.domain != 0
        && !target.is_freemail
        && habits.domain_mentions(short(target.domain)) >= DOMAIN_SESSIONS;
    let reasons =
        [!target.is_whole, habits.has_near(target), session.has_word(target.stem), known_domain];
    let reserved = if target.is_reserved { RESERVED } else { 1.0 };
    reasons.iter().filter(|holds| **holds).fold(reserved, |left, _| left * LIKELY)
}

fn describe(
    judgement: &Judgement<'_>,
    rule: &Rule<InjectedSessionParameters>,
    state: &AgentState,
    finding: &Finding,
) -> Description {
    let call = judgement.call;
    let (agent, tool) = (words::quote(&state.agent_id), words::quote(&call.tool_name));
    let known = words::count(finding.sessions, "session");
    let like = match finding.similar {
        0 => "no session like this one is known".to_owned(),
        n => format!("{} like this one are known", words::count(n, "session")),
    };
    let (summary, counterfactual) = match finding.best.filter(|best| best.nats >= finding.tool) {
        None => (
            format!("{agent} used {tool} in a session of a kind that does not use it; {like}."),
            "silent if more sessions like this one used the tool".to_owned(),
        ),
        Some(best) => {
            let target = words::target(&best.target);
            let rarity = rarity(&best, &known);
            (format!("{agent} used {tool} on {target}, {rarity}; {like}."), silent_if(&best))
        }
    };
    let days = judgement.habits.map_or(0, |habits| habits.days(call.time));
    Description {
        summary,
        expected: Expected {
            low: 0.0,
            high: words::tenth(rule.parameters.surprise),
            unit: "nats of surprise in a call".to_owned(),
            basis: format!("{known} of its group in {}", words::count(days, "day")),
        },
        observed: words::tenth(finding.nats),
        start: call.time,
        counterfactual,
        evidence: vec![Evidence::of(call)],
        evidence_total: 1,
        subjects: finding.best.map_or_else(
            || vec![subjects::tool(judgement)],
            |best| vec![subjects::target(&best.target)],
        ),
    }
}

fn rarity(best: &Reason, known: &str) -> String {
    let share = libm::round(best.rate * 1_000.0) / 10.0;
    match best.support {
        0 | 1 => {
            let named = if best.support == 0 { "none" } else { "one" };
            let alike = match best.alike {
                0 => String::new(),
                n => format!(" and {} under suspicion had it", words::count(n, "session")),
            };
            format!(
                "which {named} of {known} of its group had{alike}; {share} % of values there are new"
            )
        }
        n => format!("which {n} of {known} of its group had, but none of this kind"),
    }
}

fn silent_if(best: &Reason) -> String {
    let kind = best.target.kind.as_str();
    if best.support < 2 {
        format!(
            "silent if this session, or two learned ones of the group, had named the {kind} before"
        )
    } else {
        format!("silent if sessions like this one named the {kind}")
    }
}

impl Judgement<'_> {
    /// How far learning a group's sessions has come, 0 to 1; `None` once they are known.
    fn group_progress(&self) -> Option<f64> {
        progress(self.rules, self.habits, self.call.time)
    }
}

/// How far learning a group's sessions had come at a time, 0 to 1; `None` once they are known.
pub(crate) fn group_progress(
    rules: &Rules,
    peers: &Peers,
    (group, time): (GroupKey, Timestamp),
) -> Option<f64> {
    progress(rules, peers.habits(group), time)
}

fn progress(rules: &Rules, habits: Option<&Habits>, time: Timestamp) -> Option<f64> {
    let needed = rules.group_learn_days();
    let days = habits.map_or(0, |habits| habits.days(time));
    (days < needed).then(|| float(days.into()) / float(needed.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::baseline::habits::SKETCHES_MAX;

    #[test]
    fn no_number_of_known_sessions_adds_more_than_the_most() {
        let sessions = float(u64::try_from(SKETCHES_MAX).unwrap());
        assert!(CONFIDENCE * libm::log1p(2.0 * sessions) < CONFIDENCE_MAX);
    }
}
