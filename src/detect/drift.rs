//! An agent that has slowly become another: its days against those of its first fortnight.
//!
//! Everything else learns, and what grows by a few in a hundred a day takes it along. The anchor
//! does not move until somebody accepts the new level. Judged when a day is over, and a rise at each
//! hour of the day under way.

use crate::alert::{AuditKind, Expected};
use crate::baseline::anchor::{Anchor, Drift};
use crate::detect::agent::{AgentState, with_trigger};
use crate::detect::episodes::Description;
use crate::detect::{Judgement, Verdict, subjects, words};
use crate::event::Timestamp;
use crate::policy::Detector;
use serde::{Deserialize, Serialize};

/// A level that is accepted covers what is within this factor of it.
const ACCEPTED_WITHIN: f64 = 1.5;

/// The anchors of one agent: seventy bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Anchors {
    calls: Anchor,
    busiest: Anchor,
    /// Of a steady agent: calls, but for the day of the week.
    even: Anchor,
}

/// What is compared.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Figure {
    Calls,
    Busiest,
    Even,
}

impl Figure {
    const ALL: [Self; 3] = [Self::Calls, Self::Busiest, Self::Even];

    const fn unit(self) -> &'static str {
        match self {
            Self::Busiest => "acting calls in the busiest minute of a day",
            Self::Calls | Self::Even => "calls a day",
        }
    }

    /// The unit in words that differ for each figure.
    const fn name(self) -> &'static str {
        match self {
            Self::Even => "calls a day, the day of the week apart",
            Self::Calls | Self::Busiest => self.unit(),
        }
    }
}

impl Anchors {
    /// How far the anchor is known, 0 to 1.
    pub(crate) fn progress(&self) -> f64 {
        self.calls.progress()
    }

    /// The calls that days are held to, once the fortnight is over.
    pub(crate) fn level(&self) -> Option<f64> {
        self.calls.level()
    }

    const fn of(&mut self, figure: Figure) -> &mut Anchor {
        match figure {
            Figure::Calls => &mut self.calls,
            Figure::Busiest => &mut self.busiest,
            Figure::Even => &mut self.even,
        }
    }
}

/// One anchor that was set or moved.
pub(crate) struct Moved {
    figure: Figure,
    /// What it was before; nothing when a fortnight has set it.
    from: Option<f64>,
    to: f64,
}

/// Ends the day before the call that is judged, if it is over, and judges it. Returns which anchors
/// that has set or moved, to be written down on the day that begins.
pub(crate) fn end_day(
    judgement: &Judgement<'_>,
    state: &mut AgentState,
    verdict: &mut Verdict,
) -> Vec<Moved> {
    let mut moved = Vec::new();
    let Some(rule) = &judgement.rules.drift else { return moved };
    if judgement.moment.day <= state.history.today() || state.history.days == 0 {
        // The first day began somewhere in its middle.
        return moved;
    }
    let (calls, busiest) = (f64::from(state.history.calls_today), f64::from(state.busiest));
    let weekday = state
        .steady()
        .and_then(|steady| Some((steady.day_factor(state.history.today())?, steady.usual_day())));
    let anchors = state.anchors.get_or_insert_default();
    let before = Figure::ALL.map(|figure| anchors.of(figure).level());
    anchors.calls.learn(calls);
    if busiest > 0.0 {
        anchors.busiest.learn(busiest);
    }
    if let Some((weekday, usual)) = weekday {
        // The factors come from the first week, whose days are a part of the fortnight.
        anchors.even.begin(usual, 7);
        anchors.even.learn(calls / weekday);
    }
    let accepted = judgement.said.expected_level(Detector::Drift);
    let mut worst: Option<(Figure, Drift)> = None;
    for (figure, before) in Figure::ALL.into_iter().zip(before) {
        let anchor = anchors.of(figure);
        let level = anchor.level().filter(|_| before.is_none());
        moved.extend(level.map(|to| Moved { figure, from: None, to }));
        let recent = anchor.recent_apart(rule.parameters.ratio_min);
        if let Some((accepted, recent)) = accepted.zip(recent)
            && is_accepted(accepted, recent)
        {
            anchor.renew();
            moved.push(Moved { figure, from: before, to: recent });
            continue;
        }
        let Some(drift) = anchor.drift(rule.parameters.ratio_min) else { continue };
        if drift.chance <= rule.words.budget {
            anchor.note_told(&drift);
            let is_worse = worst.as_ref().is_none_or(|(_, worst)| drift.chance < worst.chance);
            worst = if is_worse { Some((figure, drift)) } else { worst };
        }
    }
    if let Some((figure, drift)) = worst {
        let ratio = rule.words.budget / drift.chance.max(1e-12);
        let today = state.history.today();
        state.report(judgement, (&rule.words, ratio), verdict, |state| {
            describe(judgement, state, (figure, drift, today))
        });
    }
    moved
}

/// Judges the day under way, at the first call of an hour: as soon as what was seen of it takes a
/// level up to where it is told, nobody waits for midnight. Only what the end of the day would tell as
/// well is told, since a day's figures do not fall.
pub(crate) fn observe(
    judgement: &Judgement<'_>,
    is_first_of_hour: bool,
    state: &mut AgentState,
    verdict: &mut Verdict,
) {
    let Some(rule) = judgement.rules.drift.as_ref().filter(|_| is_first_of_hour) else { return };
    let today = state.history.today();
    let (calls, busiest) = (f64::from(state.history.calls_today), f64::from(state.busiest));
    let weekday = state.steady().and_then(|steady| steady.day_factor(today));
    let Some(anchors) = state.anchors.as_deref_mut() else { return };
    let accepted = judgement.said.expected_level(Detector::Drift);
    let figures = [
        (Figure::Calls, Some(calls)),
        (Figure::Busiest, Some(busiest)),
        (Figure::Even, weekday.map(|it| calls / it)),
    ];
    let mut worst: Option<(Figure, Drift)> = None;
    for (figure, value) in figures {
        let anchor = anchors.of(figure);
        let Some(drift) = value.and_then(|value| anchor.rise(value, rule.parameters.ratio_min))
        else {
            continue;
        };
        if drift.chance > rule.words.budget
            || accepted.is_some_and(|it| is_accepted(it, drift.recent))
        {
            continue;
        }
        anchor.note_told(&drift);
        if worst.as_ref().is_none_or(|(_, worst)| drift.chance < worst.chance) {
            worst = Some((figure, drift));
        }
    }
    if let Some((figure, drift)) = worst {
        let ratio = rule.words.budget / drift.chance.max(1e-12);
        state.report(judgement, (&rule.words, ratio), verdict, |state| {
            describe(judgement, state, (figure, drift, today))
        });
    }
}

/// Whether a level that somebody accepted covers `recent`.
fn is_accepted(accepted: f64, recent: f64) -> bool {
    libm::fabs(libm::log(accepted.max(1e-9) / recent)) <= libm::log(ACCEPTED_WITHIN)
}

/// Writes down which anchors were set or moved.
pub(crate) fn audit(
    judgement: &Judgement<'_>,
    moved: Vec<Moved>,
    state: &mut AgentState,
    verdict: &mut Verdict,
) {
    for Moved { figure, from, to } in moved {
        let kind = if from.is_some() { AuditKind::AnchorMoved } else { AuditKind::AnchorSet };
        let (unit, to) = (figure.name(), libm::round(to));
        state.audit(judgement, (kind, Some(Detector::Drift)), verdict, |state| {
            let agent = words::quote(&state.agent_id);
            let reason = match from {
                Some(from) => format!(
                    "A person has accepted the level that {agent} has come to: its days are held to {to:.0} {unit} from now on, and no longer to {from:.0}."
                ),
                None => format!(
                    "The first fortnight of {agent} is over: its days are held to {to:.0} {unit} from now on."
                ),
            };
            (Some(subjects::amount(Detector::Drift, to, &format!("{to:.0} {unit}"))), reason)
        });
    }
}

fn describe(
    judgement: &Judgement<'_>,
    state: &AgentState,
    (figure, drift, today): (Figure, Drift, i64),
) -> Description {
    let (unit, recent) = (figure.unit(), libm::round(drift.recent));
    let (low, high) = (libm::floor(drift.usual.0), libm::ceil(drift.usual.1));
    let times = words::tenth(drift.recent / drift.anchor.max(1e-9));
    let day = |day: i64| Timestamp::from_secs(day.saturating_mul(86_400));
    let ratio = judgement.rules.drift.as_ref().map_or(2.0, |rule| rule.parameters.ratio_min);
    let silent = if drift.recent > drift.anchor {
        format!("below {:.0}", drift.anchor * ratio)
    } else {
        format!("above {:.0}", drift.anchor / ratio)
    };
    Description {
        summary: format!(
            "{} has come to {recent:.0} {unit}, {times} times the {:.0} of its first fortnight.",
            words::quote(&state.agent_id),
            drift.anchor,
        ),
        expected: Expected {
            low,
            high,
            unit: unit.to_owned(),
            basis: "its first fortnight, or the level last accepted".to_owned(),
        },
        observed: recent,
        start: day(today.saturating_sub(1)),
        counterfactual: format!("silent if its recent days were {silent} {unit}"),
        evidence: with_trigger(&[], judgement.call),
        evidence_total: 1,
        subjects: vec![subjects::amount(Detector::Drift, recent, &format!("{recent:.0} {unit}"))],
    }
}
