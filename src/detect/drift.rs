//! An agent that has slowly become another: its days against those of its first fortnight.
//!
//! Everything else learns, and what grows by a few in a hundred a day takes it along. The anchor
//! does not move until somebody accepts the new level. Judged when a day is over.

use crate::alert::Expected;
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
enum Figure {
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
}

impl Anchors {
    /// How far the anchor is known, 0 to 1.
    pub(crate) fn progress(&self) -> f64 {
        self.calls.progress()
    }

    const fn of(&mut self, figure: Figure) -> &mut Anchor {
        match figure {
            Figure::Calls => &mut self.calls,
            Figure::Busiest => &mut self.busiest,
            Figure::Even => &mut self.even,
        }
    }
}

/// Ends the day before the call that is judged, if it is over, and judges it.
pub(crate) fn end_day(judgement: &Judgement<'_>, state: &mut AgentState, verdict: &mut Verdict) {
    let (Some(rule), call) = (&judgement.rules.drift, judgement.call) else { return };
    if call.time.day() <= state.history.today || state.history.days == 0 {
        // The first day began somewhere in its middle.
        return;
    }
    let (calls, busiest) = (f64::from(state.history.calls_today), f64::from(state.busiest));
    let weekday = state.steady.as_ref().and_then(|it| it.day_factor(state.history.today));
    let anchors = state.anchors.get_or_insert_default();
    anchors.calls.learn(calls);
    if busiest > 0.0 {
        anchors.busiest.learn(busiest);
    }
    if let Some(weekday) = weekday {
        anchors.even.learn(calls / weekday);
    }
    let accepted = judgement.said.expected_level(Detector::Drift);
    let mut worst: Option<(Figure, Drift)> = None;
    for figure in Figure::ALL {
        let anchor = anchors.of(figure);
        let Some(drift) = anchor.drift(rule.parameters.ratio_min) else { continue };
        let apart = |level: f64| libm::fabs(libm::log(level.max(1e-9) / drift.recent));
        if accepted.is_some_and(|level| apart(level) <= libm::log(ACCEPTED_WITHIN)) {
            anchor.renew();
        } else if drift.chance <= rule.words.budget {
            anchor.note_told();
            let is_worse = worst.as_ref().is_none_or(|(_, worst)| drift.chance < worst.chance);
            worst = if is_worse { Some((figure, drift)) } else { worst };
        }
    }
    if let Some((figure, drift)) = worst {
        let ratio = rule.words.budget / drift.chance.max(1e-12);
        let today = state.history.today;
        state.report(judgement, (&rule.words, ratio), verdict, |state| {
            describe(judgement, state, (figure, drift, today))
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
