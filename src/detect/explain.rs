//! Why a call was told, or why it was not: every detector's reading of one call, without touching
//! the agent.
//!
//! A detector is asked by letting it judge a copy of the agent with so large a budget that it speaks
//! of whatever it sees; what it saw and how likely that is do not depend on the budget. So there is
//! no second judgement that could say something else than the first, and none of this costs
//! anything when nobody asks.

use serde::{Deserialize, Serialize};

use crate::alert::{Alert, AlertStatus, Expected, Learning, PAGE_SCORE, score};
use crate::detect::agent::AgentState;
use crate::detect::{Context, Fate, observe, repeat};
use crate::event::ToolCall;
use crate::policy::{Detector, Limits, Rules, Words};

/// A budget with which a detector speaks of everything it sees.
const ASKING: f64 = 1e6;

/// What became of a call, as one detector sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Somebody is told.
    Told,
    /// It is listed, and nobody is woken.
    Listed,
    /// Nothing.
    Quiet,
}

/// One detector's reading of one call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Assessment {
    /// The detector.
    pub detector: String,
    /// Its rule.
    pub rule_id: String,
    /// What became of the call.
    pub outcome: Outcome,
    /// Why, in words.
    pub reason: String,
    /// What would have been usual, where there is something to compare.
    pub expected: Option<Expected>,
    /// What was seen, in the unit of `expected`.
    pub observed: Option<f64>,
    /// The rule's budget over the chance of what was seen; 1 and more fires.
    pub ratio: Option<f64>,
    /// The score, 0 to 100.
    pub score: Option<f64>,
    /// How the score comes about, in words.
    pub terms: Option<String>,
    /// What would have kept it silent.
    pub silent_if: Option<String>,
    /// How much is known of the agent.
    pub learning: Learning,
}

/// Every detector in force on one call, which `state` has not seen.
#[must_use]
pub fn explain(
    context: &Context<'_>,
    state: &AgentState,
    call: &ToolCall<'_>,
) -> (Fate, Vec<Assessment>) {
    let mut after = state.clone();
    let verdict = observe(context, &mut after, call);
    let assess = |words: &Words| {
        let told = verdict.alerts.iter().find(|alert| is_of(alert, words.detector));
        match told {
            Some(alert) => of_alert(alert, words),
            None if verdict.fate == Fate::Judged => quiet(context, (state, &after), call, words),
            None => bare(context, &after, words, of_fate(verdict.fate).to_owned()),
        }
    };
    (verdict.fate, context.rules.words().map(assess).collect())
}

fn is_of(alert: &Alert, detector: Detector) -> bool {
    alert.detector == detector.as_str() && alert.status != AlertStatus::Resolved
}

const fn of_fate(fate: Fate) -> &'static str {
    match fate {
        Fate::Judged => "it was judged",
        Fate::Late => "the call came later than `event_time.lateness` allows: counted, not judged",
        Fate::Duplicate => "a call with this id had been seen before: counted once",
    }
}

/// What was told on a call.
fn of_alert(alert: &Alert, words: &Words) -> Assessment {
    let is_told = alert.score >= PAGE_SCORE;
    Assessment {
        detector: alert.detector.clone(),
        rule_id: alert.rule_id.clone(),
        outcome: if is_told { Outcome::Told } else { Outcome::Listed },
        reason: alert.summary.clone(),
        expected: Some(alert.expected.clone()),
        observed: Some(alert.observed),
        ratio: Some(ratio(alert, words)),
        score: Some(alert.score),
        terms: Some(terms(alert, words)),
        silent_if: Some(alert.counterfactual.clone()),
        learning: alert.learning.clone(),
    }
}

/// The budget over the chance. The injected session has no chance of its own: its score says it.
fn ratio(alert: &Alert, words: &Words) -> f64 {
    if words.detector == Detector::InjectedSession {
        return libm::exp10(alert.score / 20.0 - 2.0);
    }
    words.budget / alert.probability.max(f64::MIN_POSITIVE)
}

fn terms(alert: &Alert, words: &Words) -> String {
    let ratio = ratio(alert, words);
    let uncapped = score(ratio);
    let cap = if uncapped > alert.score + 0.05 {
        format!("; held at {:.0} while it is still being learned", alert.score)
    } else {
        String::new()
    };
    if words.detector == Detector::InjectedSession {
        return format!("the surprise of its targets and its tool comes to R = {ratio:.3}{cap}");
    }
    format!(
        "R = {:.3} = budget {} / chance {:.2e}; 20 × (log10 R + 2) = {uncapped:.1}{cap}",
        ratio, words.budget, alert.probability
    )
}

/// Why a detector says nothing.
fn quiet(
    context: &Context<'_>,
    (before, after): (&AgentState, &AgentState),
    call: &ToolCall<'_>,
    words: &Words,
) -> Assessment {
    let nobody_said = Context::new(context.rules, context.peers);
    let seen = ask(context, before, call, words);
    let is_expected = seen.is_none() && said_otherwise(&nobody_said, before, call, words);
    let is_open = before.is_open(words.detector) && after.is_open(words.detector);
    let reason = if is_open {
        "its episode is open: it goes on, and there is nothing new to say".to_owned()
    } else if is_expected {
        "a person said that this is expected".to_owned()
    } else if seen.is_none() {
        nothing(context, after, call, words.detector)
    } else {
        String::new()
    };
    let mut assessment = bare(context, after, words, reason);
    let Some(alert) = seen else { return assessment };
    let mut ratio = ratio(&alert, words);
    if words.detector == Detector::Repeat {
        ratio = ratio.min(repeat::evidence(after, call));
    }
    if assessment.reason.is_empty() {
        assessment.reason = if ratio < 1.0 {
            format!("within what is usual: R = {ratio:.3}, and 1 is needed")
        } else {
            "rare enough, but less than the least that the rule looks at, or another alert of this \
             agent says the same"
                .to_owned()
        };
    }
    assessment.observed = Some(alert.observed);
    assessment.expected = Some(alert.expected);
    assessment.ratio = Some(ratio);
    assessment.score = Some(score(ratio));
    assessment.terms =
        Some(format!("20 × (log10 R + 2) = {:.1}; 40 is needed to be told", score(ratio)));
    assessment
}

fn bare(context: &Context<'_>, state: &AgentState, words: &Words, reason: String) -> Assessment {
    Assessment {
        detector: words.detector.as_str().to_owned(),
        rule_id: words.id.clone(),
        outcome: Outcome::Quiet,
        reason,
        expected: None,
        observed: None,
        ratio: None,
        score: None,
        terms: None,
        silent_if: None,
        learning: state.learning_of(words.detector, context.rules, context.peers),
    }
}

/// Whether the detector would have spoken had nobody said anything.
fn said_otherwise(
    nobody_said: &Context<'_>,
    before: &AgentState,
    call: &ToolCall<'_>,
    words: &Words,
) -> bool {
    let mut copy = before.clone();
    let told = observe(nobody_said, &mut copy, call).alerts;
    told.iter().any(|alert| is_of(alert, words.detector))
}

/// What a detector sees, whatever its budget; `None` when it looks at nothing in this call.
fn ask(
    context: &Context<'_>,
    before: &AgentState,
    call: &ToolCall<'_>,
    words: &Words,
) -> Option<Alert> {
    let limits = Limits { listed_score: 0.0, ..context.rules.limits };
    let rules: Rules =
        context.rules.clone().with_limits(limits).with_budget(words.detector, ASKING);
    let asking = Context { rules: &rules, ..*context };
    let mut copy = before.clone();
    // Its own open episode would keep it from speaking.
    copy.open.retain_mut(|open| open.detector != words.detector);
    let mut alerts = observe(&asking, &mut copy, call).alerts;
    let place = alerts.iter().position(|alert| is_of(alert, words.detector))?;
    Some(alerts.swap_remove(place))
}

/// Why there is nothing to see for a detector.
fn nothing(
    context: &Context<'_>,
    state: &AgentState,
    call: &ToolCall<'_>,
    detector: Detector,
) -> String {
    let rules = context.rules;
    let has_sessions = context.peers.habits(state.group).is_some();
    let words = match detector {
        Detector::Repeat if call.arguments.digest == 0 => {
            "the record carries no arguments, so nobody knows whether calls are equal"
        }
        Detector::Repeat => "not a repeat of a call of the last five minutes, or too few of them",
        Detector::CallRate if !call.operation.is_acting() => "reading calls are not counted",
        Detector::CallRate => {
            let least = rules.call_rate.as_ref().map_or(0, |rule| rule.parameters.calls_min);
            return format!("fewer than {least} acting calls in 60 s");
        }
        Detector::NewTool => "the tool is the agent's own, or weighs too little as a new one",
        Detector::FirstUse if state.learning().is_some() => {
            "no tool is listed as new while the agent is still being learned"
        }
        Detector::FirstUse => "not the first use of its tool",
        Detector::UnusualHour => "the agent works at this hour, or its hours are not known yet",
        Detector::InjectedSession | Detector::LookAlike if !has_sessions => {
            "no session of the agent's group is known yet"
        }
        Detector::InjectedSession => {
            "nothing it reaches for is new to its session and to the sessions of its group, or \
             nothing had been read before it"
        }
        Detector::LookAlike => "no target is nearly a known one, or the call only reads",
        Detector::Errors | Detector::Denials => {
            "the call did not end that way, or too few calls of the last 10 min did"
        }
        Detector::RunSize | Detector::BytesSent | Detector::BytesRead => {
            "no more than earlier today, which was silent, or less than the least that counts"
        }
        Detector::RunRate => {
            "the call begins no run, or the agent is learned as a service, whose rate is judged instead"
        }
        Detector::FanOut => {
            "judged at the first call of an hour, when sub-agents were at work in one before"
        }
        Detector::SessionFit if call.session_id.is_empty() => "the record names no session",
        Detector::SessionFit => "nothing in the session speaks of another hand",
        Detector::ArgumentShape if call.arguments.shape == 0 => {
            "the record carries no arguments, so their shape is not known"
        }
        Detector::ArgumentShape => {
            "the tool was given arguments of this shape before, or is itself not known well enough"
        }
        Detector::DormantTool => "the tool is new, or was used in the last weeks",
        Detector::RateShift | Detector::Silence if state.steady().is_none() => {
            "the agent is not at work around the clock: its days are judged instead"
        }
        Detector::RateShift => "too little speaks of another rate than this hour usually has",
        Detector::Silence => "told when no call comes, never on a call",
        Detector::Drift => "judged with the first call of an hour, once a fortnight is known",
        Detector::Version if call.agent_version.is_none() => "the record names no version",
        Detector::Version => "a version it had before, or one on probation with nothing new to say",
        Detector::CommonMode => {
            "its group did what it usually does, or another agent speaks for it, two hours later"
        }
    };
    words.to_owned()
}
