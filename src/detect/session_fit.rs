//! Calls that do not fit the session they are made in: somebody else at work under this agent's
//! name.
//!
//! A file changed that the session never looked at, a call that starts while another one runs, and
//! what peers do and this agent does not: none says much, together they do. Without two peers the
//! last kind is left out. Silent while a flood or a loop is open: what they do fits no session, and
//! they have said so.

use crate::alert::Expected;
use crate::baseline::few::Exact;
use crate::baseline::peers::Fact;
use crate::baseline::session_fit::{
    Manners, PeakModel, PeakPrior, Peaks, SessionFit, Signs, Step, narrow,
};
use crate::baseline::usage::{OwnUsage, Usage, UsageKind};
use crate::detect::agent::{AgentState, with_trigger};
use crate::detect::episodes::Description;
use crate::detect::{Bound, Judgement, Verdict, subjects, words};
use crate::event::{TargetKind, Timestamp, ToolCall};
use crate::policy::{Detector, Rule, SessionFitParameters};
use serde::{Deserialize, Serialize};

/// Sessions of one agent that are kept in mind; of more, the one unseen longest goes.
const SESSIONS_MAX: usize = 6;

/// No call's likeness to peers counts for more than this factor, or for less than its inverse:
/// e^1.5. One command line names many things.
const USAGE_RATIO_MAX: f64 = 4.481_689_070_338_065;

/// Between how many calls an agent without a table of its own looks for peers.
const LOOK_EVERY: u32 = 32;

/// How far above the usual peak a day's peak is learned, and evidence is kept, in deviations.
const DEVIATIONS: (f64, f64) = (2.0, 8.0);

/// What is remembered of an agent for this, apart from its sessions.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Fit {
    pub(crate) manners: Manners,
    pub(crate) peaks: Peaks,
    /// The highest evidence of today.
    pub(crate) peak: f32,
    /// What the agent does, to be compared with its peers; only when it has some.
    pub(crate) usage: Option<Box<OwnUsage>>,
}

impl Fit {
    /// Bytes on the heap.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.usage.as_ref().map_or(0, |usage| usage.memory_bytes())
    }

    /// Ends a day of `calls` calls.
    pub(crate) fn end_day(&mut self, calls: u32, half_life_days: f64) {
        self.peaks.learn(self.peak, calls, half_life_days);
        self.peak = 0.0;
    }
}

/// Judges one call.
pub(crate) fn observe(judgement: &Judgement<'_>, state: &mut AgentState, verdict: &mut Verdict) {
    let (Some(rule), call) = (&judgement.rules.session_fit, judgement.call) else { return };
    if call.session_id.is_empty() {
        return;
    }
    let is_learning = state.open.is_empty();
    let step = step_of(judgement);
    let live = state.live.get_or_insert_default();
    let session = session_of(&mut live.fits, (judgement.session, call.time), verdict);
    let signs = session.see(&step, &mut state.fit.manners, is_learning);
    let has_evidence = session.evidence() > 0.0;
    let mut uses = Uses::of(call, signs.previous, judgement.tool);
    let ratio = signs.ratio * likeness(judgement, state, &mut uses);
    // Without evidence nothing can be taken from it, so there is no need to know how much.
    let log_ratio = if ratio <= 1.0 && !has_evidence { 0.0 } else { libm::log(ratio) };
    if is_learning {
        learn(state, &uses, verdict);
    }
    judge(judgement, rule, state, (signs, log_ratio), verdict);
}

/// Adds the evidence of one call to its session and reports it when there is too much.
fn judge(
    judgement: &Judgement<'_>,
    rule: &Rule<SessionFitParameters>,
    state: &mut AgentState,
    (signs, log_ratio): (Signs, f64),
    verdict: &mut Verdict,
) {
    let is_muted = state.is_open(Detector::CallRate) || state.is_open(Detector::Repeat);
    let is_open = state.is_open(Detector::SessionFit);
    let Some(session) = state.live.as_mut().and_then(|live| live.fits.last_mut()) else { return };
    let before = session.evidence();
    let evidence = session.add(&signs, log_ratio, rule.parameters.drift);
    let may_fire = evidence > rule.parameters.evidence_min && !is_muted;
    // What cannot fire and is less than another call of today reached teaches nothing either.
    if evidence <= 0.0 || !may_fire && narrow(evidence) <= state.fit.peak {
        return;
    }
    let is_expected = judgement.said.is_expected_amount(Detector::SessionFit, before);
    let model = model(&state.fit.peaks, &rule.parameters);
    let ratio = rule.words.budget / model.tail(evidence).max(1e-12);
    let (learned, kept) = DEVIATIONS;
    // One budget is for a whole day: whatever fits nothing in the morning seldom does at noon.
    let spent = if is_open { 1.0 } else { libm::exp2(f64::from(state.fit_told)) };
    let is_told = may_fire && ratio >= spent;
    let may_fire = may_fire && !is_expected;
    if may_fire && is_told {
        let told = session.clone();
        session.cap(model.above(kept));
        state.fit_told = state.fit_told.saturating_add(u8::from(!is_open));
        state.report(judgement, (&rule.words, ratio), verdict, |state| {
            describe(judgement, state, &told, model)
        });
    }
    if is_told && is_expected {
        state.audit_level(judgement, (Detector::SessionFit, evidence), verdict);
    }
    if may_fire {
        state.weigh(judgement, (Detector::SessionFit, ratio), verdict);
    }
    let peak = evidence.min(model.above(kept)).min(model.above(learned));
    state.fit.peak = state.fit.peak.max(narrow(peak));
}

fn model(peaks: &Peaks, parameters: &SessionFitParameters) -> PeakModel {
    peaks.model(&PeakPrior {
        peak: parameters.usual_peak,
        deviation: parameters.deviation_min,
        days: 3.0,
    })
}

/// The session of a call, moved to the end; made when it is not there.
fn session_of<'a>(
    fits: &'a mut Exact<SessionFit>,
    (id, time): (u64, Timestamp),
    verdict: &mut Verdict,
) -> &'a mut SessionFit {
    // Mostly that of the call before.
    if let Some(at) = fits.iter().rposition(|session| session.is(id)) {
        if at + 1 < fits.len()
            && let Some(moved) = fits.get_mut(at..)
        {
            moved.rotate_left(1);
        }
    } else {
        if fits.len() >= SESSIONS_MAX {
            fits.remove(0);
            verdict.bounds.note(Bound::Fits);
        }
        fits.push(SessionFit::new(id, time));
    }
    let last = fits.len() - 1;
    #[expect(clippy::indexing_slicing, reason = "it was found or pushed just above")]
    &mut fits[last]
}

fn step_of(judgement: &Judgement<'_>) -> Step {
    let call = judgement.call;
    let mut paths = [0; 3];
    let named = call.targets.iter().filter(|target| target.kind == TargetKind::Path);
    for (place, path) in paths.iter_mut().zip(named) {
        *place = path.value;
    }
    // Their last letters, which most names do not end with.
    let last = call.tool_name.as_bytes().last().map_or(0, u8::to_ascii_lowercase);
    let may_be_one = matches!(last, b't' | b'e' | b'h' | b'k');
    let bare = may_be_one.then(|| bare(&call.tool_name));
    Step {
        time: call.time,
        duration_ms: call.duration_ms.unwrap_or(0),
        tool: judgement.tool,
        is_acting: call.operation.is_acting(),
        is_edit: bare.is_some_and(is_edit),
        is_delegation: bare.is_some_and(is_delegation),
        paths,
    }
}

/// The name of a tool without its server. By bytes: a search by text takes longer than the rest of
/// the judgement.
fn bare(name: &str) -> &[u8] {
    let name = name.as_bytes();
    let border = name.windows(2).rposition(|pair| pair == b"__");
    border.and_then(|at| name.get(at + 2..)).unwrap_or(name)
}

/// Whether a tool changes what is there already, by its name: agents read before they edit.
fn is_edit(bare: &[u8]) -> bool {
    const ENDS: [&[u8]; 5] = [b"edit", b"replace", b"apply_patch", b"update_file", b"edit_file"];
    ENDS.iter().any(|end| {
        let start = bare.len().checked_sub(end.len());
        let tail = start.and_then(|start| bare.get(start..));
        tail.is_some_and(|tail| tail.eq_ignore_ascii_case(end))
    })
}

/// Whether a tool hands work to another agent, which then works beside this one.
fn is_delegation(bare: &[u8]) -> bool {
    const NAMES: [&[u8]; 5] = [b"task", b"agent", b"subagent", b"spawn_agent", b"delegate"];
    NAMES.iter().any(|known| bare.eq_ignore_ascii_case(known))
}

/// What a call uses: a step from tool to tool, the first directory, two commands.
#[derive(Default)]
struct Uses {
    list: [Usage; 4],
    len: usize,
    /// Where the agent's own table had them.
    found: [usize; 4],
}

impl Uses {
    fn of(call: &ToolCall<'_>, previous: u64, tool: u64) -> Self {
        let mut uses = Self::default();
        uses.push(Usage::step(previous, tool));
        let all_of = |wanted| call.targets.iter().filter(move |target| target.kind == wanted);
        for directory in all_of(TargetKind::Directory).take(1) {
            uses.push(Usage::of(UsageKind::Directory, directory.value));
        }
        for command in all_of(TargetKind::Command).take(2) {
            uses.push(Usage::of(UsageKind::Command, command.value));
        }
        uses
    }

    fn push(&mut self, usage: Usage) {
        if let Some(place) = self.list.get_mut(self.len) {
            *place = usage;
            self.len += 1;
        }
    }
}

/// How much likelier the uses of a call are of the agent's peers than of itself; 1 without peers.
fn likeness(judgement: &Judgement<'_>, state: &mut AgentState, uses: &mut Uses) -> f64 {
    let is_time_to_look = state.history.calls_today % LOOK_EVERY == 1;
    if state.fit.usage.is_none() && !(state.history.days > 0 && is_time_to_look) {
        return 1.0;
    }
    let Some(group) = judgement.group else { return 1.0 };
    // Of three agents two are peers, whoever counts itself.
    if group.agents < 3 && state.peers_among(judgement.peers, judgement.group) < 2 {
        return 1.0;
    }
    let own = state.fit.usage.get_or_insert_default();
    let mut ratio = 1.0;
    for (usage, found) in uses.list.iter().zip(&mut uses.found).take(uses.len) {
        let compared = own.compare(*usage, group.usage());
        ratio *= compared.0;
        *found = compared.1;
    }
    ratio.clamp(1.0 / USAGE_RATIO_MAX, USAGE_RATIO_MAX)
}

fn learn(state: &mut AgentState, uses: &Uses, verdict: &mut Verdict) {
    let Some(own) = &mut state.fit.usage else { return };
    for (usage, found) in uses.list.iter().zip(uses.found).take(uses.len) {
        verdict.facts.extend(own.learn_at(*usage, found).map(Fact::Usage));
    }
}

fn describe(
    judgement: &Judgement<'_>,
    state: &AgentState,
    session: &SessionFit,
    model: PeakModel,
) -> Description {
    let call = judgement.call;
    let run = session.run();
    let like_peers = if state.fit.usage.is_some() {
        "; it worked less like itself than like its peers"
    } else {
        ""
    };
    Description {
        summary: format!(
            "{} does not fit its session: of {} in {}, {} began while another one ran and {} changed a file that the session had not looked at{like_peers}.",
            words::quote(&state.agent_id),
            words::count(run.calls, "call"),
            words::span(call.time.secs_since(run.since)),
            run.overlaps,
            run.untouched,
        ),
        expected: Expected {
            low: 0.0,
            high: words::tenth(model.above(1.0).max(0.0)),
            unit: "highest evidence of a day, in natural logarithms".to_owned(),
            basis: words::count(state.history.days, "active day"),
        },
        observed: words::tenth(session.evidence()),
        start: run.since,
        counterfactual:
            "silent if the session had read what it changes, and made one call after another"
                .to_owned(),
        evidence: with_trigger(&[], call),
        evidence_total: u64::from(run.calls),
        subjects: vec![subjects::amount(
            Detector::SessionFit,
            session.evidence(),
            &format!("evidence {:.1} of another hand", session.evidence()),
        )],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_and_delegations_are_told_by_name() {
        for name in
            ["Edit", "MultiEdit", "NotebookEdit", "replace", "mcp__fs__edit_file", "apply_patch"]
        {
            assert!(is_edit(bare(name)), "{name}");
        }
        for name in ["Write", "Read", "editor", "", "credit_note", "dit", "edit__", "fs___"] {
            assert!(!is_edit(bare(name)), "{name}");
        }
        let is_delegation = |name| is_delegation(bare(name));
        assert!(is_delegation("Task") && is_delegation("mcp__x___spawn_agent"));
        assert!(is_delegation("spawn_agent") && !is_delegation("TaskUpdate"));
    }
}
