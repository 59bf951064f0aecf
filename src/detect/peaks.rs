//! The statistics that are judged by their daily maxima: what is kept of each, and how one value
//! is judged at once, in the open window.

use crate::baseline::maxima::{Prior, whole};
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
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Peaks {
    run_size: Peak,
    errors: Peak,
    denials: Peak,
    bytes_sent: Peak,
    bytes_read: Peak,
    /// Only of an agent that ever had sub-agents.
    fan_out: Option<Box<Peak>>,
    /// Only of an agent that ever began two runs within two hours.
    run_rate: Option<Box<Peak>>,
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

/// What a statistic comes to on a day that it is not remembered of: no sub-agents, and runs that begin
/// hours apart.
const fn least(detector: Detector) -> (Scale, f64) {
    match detector {
        Detector::RunRate => (Scale::Root, 1.0),
        _ => (COUNT, 0.0),
    }
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
    pub(crate) fn usual_levels(&self) -> [(&'static str, f64); 7] {
        [
            (Detector::RunSize, RUN_SIZE),
            (Detector::Errors, COUNT),
            (Detector::Denials, COUNT),
            (Detector::BytesSent, BYTES),
            (Detector::BytesRead, BYTES),
            (Detector::FanOut, COUNT),
            (Detector::RunRate, Scale::Root),
        ]
        .map(|(detector, scale)| {
            let least = || Peak::of_days(1, 50, least(detector)).usual(scale);
            (detector.as_str(), self.of(detector).map_or_else(least, |peak| peak.usual(scale)))
        })
    }

    /// The most runs begun in two hours that a day usually has.
    pub(crate) fn usual_run_rate(&self) -> f64 {
        self.run_rate.as_ref().map_or(1.0, |peak| peak.usual(Scale::Root))
    }

    /// The most runs begun in two hours today that did not alarm.
    pub(crate) fn runs_today(&self) -> u32 {
        self.run_rate.as_ref().map_or(1, |peak| whole(peak.today()))
    }

    /// Whether anything is remembered of the runs begun within two hours.
    pub(crate) const fn knows_run_rate(&self) -> bool {
        self.run_rate.is_some()
    }

    /// Remembers a statistic that is not, as after so many days of `calls` calls on which it was at
    /// its least.
    fn begin(&mut self, detector: Detector, (days, calls): (u32, u32)) {
        let peak = match detector {
            Detector::FanOut => &mut self.fan_out,
            Detector::RunRate => &mut self.run_rate,
            _ => return,
        };
        peak.get_or_insert_with(|| Box::new(Peak::of_days(days, calls, least(detector))));
    }

    /// Bytes on the heap.
    pub(crate) fn heap_bytes(&self) -> usize {
        [&self.fan_out, &self.run_rate].into_iter().flatten().count() * size_of::<Peak>()
    }

    /// Ends a day of `calls` calls.
    pub(crate) fn end_day(&mut self, calls: u32) {
        let Told { status, sent, read } = self.today;
        self.run_size.end_day(RUN_SIZE, calls, true);
        self.errors.end_day(COUNT, calls, status);
        self.denials.end_day(COUNT, calls, status);
        self.bytes_sent.end_day(BYTES, calls, sent);
        self.bytes_read.end_day(BYTES, calls, read);
        if let Some(peak) = &mut self.fan_out {
            peak.end_day(COUNT, calls, true);
        }
        if let Some(peak) = &mut self.run_rate {
            peak.end_day(Scale::Root, calls, true);
        }
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

    fn of(&self, detector: Detector) -> Option<&Peak> {
        match detector {
            Detector::RunSize => Some(&self.run_size),
            Detector::Errors => Some(&self.errors),
            Detector::Denials => Some(&self.denials),
            Detector::BytesSent => Some(&self.bytes_sent),
            Detector::BytesRead => Some(&self.bytes_read),
            Detector::FanOut => self.fan_out.as_deref(),
            Detector::RunRate => self.run_rate.as_deref(),
            _ => None,
        }
    }

    fn of_mut(&mut self, detector: Detector) -> Option<&mut Peak> {
        match detector {
            Detector::RunSize => Some(&mut self.run_size),
            Detector::Errors => Some(&mut self.errors),
            Detector::Denials => Some(&mut self.denials),
            Detector::BytesSent => Some(&mut self.bytes_sent),
            Detector::BytesRead => Some(&mut self.bytes_read),
            Detector::FanOut => self.fan_out.as_deref_mut(),
            Detector::RunRate => self.run_rate.as_deref_mut(),
            _ => None,
        }
    }
}

impl AgentState {
    /// Remembers a statistic from now on that most agents do not need.
    pub(crate) fn begin_peak(&mut self, detector: Detector) {
        let days = self.history.days;
        let calls = self.history.calls / u64::from(days.max(1));
        self.peaks.begin(detector, (days, u32::try_from(calls).unwrap_or(u32::MAX)));
    }

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
        let hour = judgement.moment.hour_of_day;
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
