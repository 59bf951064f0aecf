//! The statistics that are judged by their daily maxima: what is kept of each, and how one value
//! is judged at once, in the open window.

use crate::baseline::maxima::Prior;
use crate::baseline::peaks::{Measure, Peak, Scale, Seen, Standing};
use crate::detect::agent::AgentState;
use crate::detect::{Judgement, Verdict};
use crate::event::{Status, ToolCall};
use crate::policy::Detector;
use serde::{Deserialize, Serialize};

/// Runs of one to three calls are alike.
pub(crate) const RUN_SIZE: Scale = Scale::Log { floor: 3.0 };

/// No failure and a single one are alike.
pub(crate) const COUNT: Scale = Scale::Log { floor: 1.0 };

/// Less than a thousand bytes are alike.
pub(crate) const BYTES: Scale = Scale::Log { floor: 1_000.0 };

/// How many days a prior's deviation is worth.
const PRIOR_DAYS: f64 = 4.0;

/// Every such statistic of one agent: about a hundred bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Peaks {
    run_size: Peak,
    errors: Peak,
    denials: Peak,
    bytes_sent: Peak,
    bytes_read: Peak,
    fan_out: Peak,
    today: Told,
}

/// What the records of today tell at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Told {
    status: bool,
    sent: bool,
    read: bool,
}

/// A value to be judged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Reading {
    pub(crate) detector: Detector,
    pub(crate) value: f64,
    /// Smaller values never fire.
    pub(crate) least: f64,
    /// Whether it may fire, whatever the history: large enough, and not a part of another alert.
    pub(crate) may_fire: bool,
    pub(crate) measure: Measure,
    pub(crate) budget: f64,
}

impl Peaks {
    /// Notes what the record of a call tells.
    pub(crate) fn note(&mut self, call: &ToolCall<'_>) {
        self.today.status |= call.status != Status::Unknown;
        self.today.sent |= call.bytes_in.is_some() || call.arguments.bytes > 0;
        self.today.read |= call.bytes_out.is_some();
    }

    /// Days of history behind a detector; `None` for one that is not judged by daily maxima here.
    pub(crate) fn days(&self, detector: Detector) -> Option<f64> {
        self.of(detector).map(Peak::days)
    }

    /// The usual largest value of a day of each statistic.
    pub(crate) fn usual_levels(&self) -> [(&'static str, f64); 6] {
        [
            (Detector::RunSize, RUN_SIZE),
            (Detector::Errors, COUNT),
            (Detector::Denials, COUNT),
            (Detector::BytesSent, BYTES),
            (Detector::BytesRead, BYTES),
            (Detector::FanOut, COUNT),
        ]
        .map(|(detector, scale)| {
            (detector.as_str(), self.of(detector).map_or(0.0, |peak| peak.usual(scale)))
        })
    }

    /// Ends a day of `calls` calls.
    pub(crate) fn end_day(&mut self, calls: u32) {
        let Told { status, sent, read } = self.today;
        self.run_size.end_day(RUN_SIZE, calls, true);
        self.errors.end_day(COUNT, calls, status);
        self.denials.end_day(COUNT, calls, status);
        self.bytes_sent.end_day(BYTES, calls, sent);
        self.bytes_read.end_day(BYTES, calls, read);
        self.fan_out.end_day(COUNT, calls, true);
        self.today = Told::default();
    }

    /// The usual range of a statistic's daily maxima, and the largest value that stays silent.
    pub(crate) fn range(
        &self,
        detector: Detector,
        measure: &Measure,
        budget: f64,
    ) -> Option<((f64, f64), f64)> {
        self.of(detector).map(|peak| peak.range(measure, budget))
    }

    const fn of(&self, detector: Detector) -> Option<&Peak> {
        match detector {
            Detector::RunSize => Some(&self.run_size),
            Detector::Errors => Some(&self.errors),
            Detector::Denials => Some(&self.denials),
            Detector::BytesSent => Some(&self.bytes_sent),
            Detector::BytesRead => Some(&self.bytes_read),
            Detector::FanOut => Some(&self.fan_out),
            _ => None,
        }
    }

    const fn of_mut(&mut self, detector: Detector) -> Option<&mut Peak> {
        match detector {
            Detector::RunSize => Some(&mut self.run_size),
            Detector::Errors => Some(&mut self.errors),
            Detector::Denials => Some(&mut self.denials),
            Detector::BytesSent => Some(&mut self.bytes_sent),
            Detector::BytesRead => Some(&mut self.bytes_read),
            Detector::FanOut => Some(&mut self.fan_out),
            _ => None,
        }
    }
}

impl AgentState {
    /// Learns a value that is too small to fire, whatever the history, or a part of another alert.
    ///
    /// The same as [`Self::stand`] with a reading that may not fire, for most calls.
    pub(crate) fn pass(&mut self, detector: Detector, seen: Seen) {
        let is_gated = !self.open.is_empty() && self.gates(detector);
        if let Some(peak) = self.peaks.of_mut(detector) {
            if is_gated {
                peak.disturb();
            } else {
                peak.note(seen);
            }
        }
    }

    /// Whether an open episode keeps a detector's values from being learned.
    fn gates(&self, detector: Detector) -> bool {
        [Detector::Repeat, Detector::CallRate, detector]
            .iter()
            .any(|detector| self.is_open(*detector))
    }

    /// Judges a value and learns it; `Some` when it fires. A value that a person expects does not.
    ///
    /// Nothing is learned while a loop, a flood or the detector's own episode is open: its calls would
    /// pass for work. A value that is large enough and cannot fire for another reason teaches at most
    /// the largest silent one.
    pub(crate) fn stand(
        &mut self,
        judgement: &Judgement<'_>,
        reading: &Reading,
        verdict: &mut Verdict,
    ) -> Option<Standing> {
        let Reading { detector, value, may_fire, .. } = *reading;
        let is_gated = self.gates(detector);
        let peak = self.peaks.of_mut(detector)?;
        let hour = judgement.call.time.hour_of_day();
        let seen = Seen { value, hour };
        let is_expected = may_fire && judgement.said.is_expected_amount(detector, value);
        if is_expected {
            let standing = peak.stand(value, &reading.measure, reading.budget);
            if !is_gated {
                peak.note(seen);
            }
            if standing.is_some_and(|standing| standing.ratio >= 1.0) {
                self.audit_level(judgement, (detector, value), verdict);
            }
            return None;
        }
        if !may_fire && (is_gated || value < reading.least) {
            if is_gated {
                peak.disturb();
            } else {
                peak.note(seen);
            }
            return None;
        }
        let standing = peak.stand(value, &reading.measure, reading.budget)?;
        if !may_fire {
            peak.note(Seen { value: value.min(standing.silent), hour });
            return None;
        }
        if is_gated && standing.ratio < 1.0 {
            peak.disturb();
        } else {
            // What fires takes its run-up back, whatever else is open by then.
            peak.raise(seen, &standing);
        }
        self.weigh(judgement, (detector, standing.ratio), verdict);
        (standing.ratio >= 1.0).then_some(standing)
    }

    /// What an alert's expectation rests on, for a statistic named `what`.
    pub(crate) fn basis(&self, detector: Detector, what: &str) -> String {
        match self.peaks.days(detector) {
            Some(days) if days >= 2.0 => {
                format!("{what} of each of {} active days", self.history.days)
            }
            _ => "what is usual of agents; this one has too few days".to_owned(),
        }
    }
}

/// A measure on `scale` with a prior that says: usually `maximum`, give or take `deviation` of its
/// logarithm, nobody steadier than `deviation_min`.
pub(crate) const fn measure(
    scale: Scale,
    maximum: f64,
    (deviation, deviation_min): (f64, f64),
) -> Measure {
    Measure { scale, prior: Prior { maximum, deviation, days: PRIOR_DAYS, deviation_min } }
}
