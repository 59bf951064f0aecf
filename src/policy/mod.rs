//! Rules: what is judged, how strictly and what is said about it. Raw to checked.
//!
//! A rule names a detector, gives it a budget and carries its own words, tags, runbook and tests.
//! Reading files is `config`'s business; here a rule that exists is valid by construction.

mod acceptance;
mod case;
mod catalogue;
mod check;
mod day_parameters;
mod groups;
mod parameters;
mod raw;
mod steady_parameters;
#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::alert::Severity;

pub use acceptance::{Acceptance, AcceptanceError, RawAcceptance, Scope, Stance, VERDICT_SCHEMA};
pub use case::{
    Case, Expect, HowItEnds, Input, RawArguments, RawHistory, RawInput, RawTest, SameOrDistinct,
    UsualOrDistinct, WhatItDoes,
};
pub use catalogue::{Catalogue, Catalogues};
pub use check::RuleError;
pub use day_parameters::{
    ArgumentShapeParameters, BytesReadParameters, BytesSentParameters, DenialsParameters,
    DormantToolParameters, ErrorsParameters, FanOutParameters, RunRateParameters,
    RunSizeParameters, VersionParameters,
};
pub use groups::{GroupPattern, Groups};
pub use parameters::{
    CallRateParameters, FirstUseParameters, InjectedSessionParameters, LookAlikeParameters,
    NewToolParameters, RepeatParameters, SessionFitParameters, UnusualHourParameters,
};
pub use raw::{Detector, RawRule};
pub use steady_parameters::{
    CommonModeParameters, DriftParameters, RateShiftParameters, SilenceParameters,
};

/// The rules in force, checked. A detector without a rule is off.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// The same call again and again.
    pub repeat: Option<Rule<RepeatParameters>>,
    /// The busiest minute of a day.
    pub call_rate: Option<Rule<CallRateParameters>>,
    /// A burst of tools never used.
    pub new_tool: Option<Rule<NewToolParameters>>,
    /// Every first use of a tool, listed.
    pub first_use: Option<Rule<FirstUseParameters>>,
    /// Work in an hour of the day that never saw any.
    pub unusual_hour: Option<Rule<UnusualHourParameters>>,
    /// A session that reaches for what its group's sessions do not reach for.
    pub injected_session: Option<Rule<InjectedSessionParameters>>,
    /// A target that is nearly a known one.
    pub look_alike: Option<Rule<LookAlikeParameters>>,
    /// The calls of one run, against the largest run of each day.
    pub run_size: Option<Rule<RunSizeParameters>>,
    /// Failed calls in ten minutes, against the most of each day.
    pub errors: Option<Rule<ErrorsParameters>>,
    /// Denied calls in ten minutes, likewise.
    pub denials: Option<Rule<DenialsParameters>>,
    /// Bytes sent into tools in ten minutes, likewise.
    pub bytes_sent: Option<Rule<BytesSentParameters>>,
    /// Bytes read from tools in ten minutes, likewise.
    pub bytes_read: Option<Rule<BytesReadParameters>>,
    /// Arguments of shapes that a known tool was never given.
    pub argument_shape: Option<Rule<ArgumentShapeParameters>>,
    /// A tool that comes back after a long time, listed.
    pub dormant_tool: Option<Rule<DormantToolParameters>>,
    /// Sub-agents at work in an hour, against the most of each day.
    pub fan_out: Option<Rule<FanOutParameters>>,
    /// Calls that do not fit their session.
    pub session_fit: Option<Rule<SessionFitParameters>>,
    /// More or fewer calls than a steady agent makes at this hour.
    pub rate_shift: Option<Rule<RateShiftParameters>>,
    /// A steady agent that has stopped.
    pub silence: Option<Rule<SilenceParameters>>,
    /// Days that have slowly become unlike those of the first fortnight.
    pub drift: Option<Rule<DriftParameters>>,
    /// What a new version of the agent changed, listed.
    pub version: Option<Rule<VersionParameters>>,
    /// What changes a whole group at once.
    pub common_mode: Option<Rule<CommonModeParameters>>,
    /// Runs begun within two hours, against the most of each day.
    pub run_rate: Option<Rule<RunRateParameters>>,
    /// The bounds of one agent's state and time.
    pub limits: Limits,
    /// The tools that known products ship with.
    pub catalogues: Catalogues,
    /// The peer groups that the operator named.
    pub groups: Groups,
}

/// One rule, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule<P> {
    /// What it says and how strict it is.
    pub words: Words,
    /// What its detector is told.
    pub parameters: P,
}

/// The part of a rule that is the same for every detector.
#[derive(Clone, Debug, PartialEq)]
pub struct Words {
    /// The rule's id, which is its path: `repeat.loop` is `rules/repeat/loop.yaml`.
    pub id: String,
    /// A short title.
    pub title: String,
    /// The detector.
    pub detector: Detector,
    /// How bad it is if it is right.
    pub severity: Severity,
    /// False alarms allowed an active agent-day, above 0 and at most 1.
    pub budget: f64,
    /// ATT&CK, ATLAS and OWASP tags.
    pub tags: Vec<String>,
    /// Where it stands what to do.
    pub runbook: String,
}

/// The bounds of one agent's state and of disorder in its time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Tools remembered of one agent.
    pub tools_per_agent: usize,
    /// A call older than its agent's newest by more than this is counted and not judged.
    pub lateness: Duration,
    /// Calls that score less than this are not listed, 0 to 40.
    pub listed_score: f64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { tools_per_agent: 40, lateness: Duration::from_secs(30), listed_score: 35.0 }
    }
}

impl Rules {
    /// The rules that `raw` says, with the shipped catalogues and default limits.
    ///
    /// # Errors
    ///
    /// Every mistake in every rule, each with the rule's id and what to do about it.
    pub fn from_raw(raw: Vec<RawRule>) -> Result<Self, Vec<RuleError>> {
        check::check(raw)
    }

    /// The same rules within other bounds.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The same rules with another budget for one detector.
    #[must_use]
    pub fn with_budget(mut self, detector: Detector, budget: f64) -> Self {
        let all = [
            self.repeat.as_mut().map(|rule| &mut rule.words),
            self.call_rate.as_mut().map(|rule| &mut rule.words),
            self.new_tool.as_mut().map(|rule| &mut rule.words),
            self.first_use.as_mut().map(|rule| &mut rule.words),
            self.unusual_hour.as_mut().map(|rule| &mut rule.words),
            self.injected_session.as_mut().map(|rule| &mut rule.words),
            self.look_alike.as_mut().map(|rule| &mut rule.words),
            self.run_size.as_mut().map(|rule| &mut rule.words),
            self.errors.as_mut().map(|rule| &mut rule.words),
            self.denials.as_mut().map(|rule| &mut rule.words),
            self.bytes_sent.as_mut().map(|rule| &mut rule.words),
            self.bytes_read.as_mut().map(|rule| &mut rule.words),
            self.argument_shape.as_mut().map(|rule| &mut rule.words),
            self.dormant_tool.as_mut().map(|rule| &mut rule.words),
            self.fan_out.as_mut().map(|rule| &mut rule.words),
            self.session_fit.as_mut().map(|rule| &mut rule.words),
            self.rate_shift.as_mut().map(|rule| &mut rule.words),
            self.silence.as_mut().map(|rule| &mut rule.words),
            self.version.as_mut().map(|rule| &mut rule.words),
            self.common_mode.as_mut().map(|rule| &mut rule.words),
            self.run_rate.as_mut().map(|rule| &mut rule.words),
        ];
        for words in all.into_iter().flatten().filter(|words| words.detector == detector) {
            words.budget = budget;
        }
        self
    }

    /// The same rules with peer groups that the operator named.
    #[must_use]
    pub fn with_groups(mut self, groups: Groups) -> Self {
        self.groups = groups;
        self
    }

    /// Days after which a group's sessions are known.
    #[must_use]
    pub fn group_learn_days(&self) -> u32 {
        let parameters = self.injected_session.as_ref().map(|rule| rule.parameters);
        parameters.unwrap_or_default().learn_days
    }

    /// What every rule in force says, in the order they are judged.
    pub fn words(&self) -> impl Iterator<Item = &Words> {
        [
            self.repeat.as_ref().map(|rule| &rule.words),
            self.call_rate.as_ref().map(|rule| &rule.words),
            self.new_tool.as_ref().map(|rule| &rule.words),
            self.first_use.as_ref().map(|rule| &rule.words),
            self.unusual_hour.as_ref().map(|rule| &rule.words),
            self.injected_session.as_ref().map(|rule| &rule.words),
            self.look_alike.as_ref().map(|rule| &rule.words),
            self.run_size.as_ref().map(|rule| &rule.words),
            self.errors.as_ref().map(|rule| &rule.words),
            self.denials.as_ref().map(|rule| &rule.words),
            self.bytes_sent.as_ref().map(|rule| &rule.words),
            self.bytes_read.as_ref().map(|rule| &rule.words),
            self.argument_shape.as_ref().map(|rule| &rule.words),
            self.dormant_tool.as_ref().map(|rule| &rule.words),
            self.fan_out.as_ref().map(|rule| &rule.words),
            self.session_fit.as_ref().map(|rule| &rule.words),
            self.rate_shift.as_ref().map(|rule| &rule.words),
            self.silence.as_ref().map(|rule| &rule.words),
            self.drift.as_ref().map(|rule| &rule.words),
            self.version.as_ref().map(|rule| &rule.words),
            self.common_mode.as_ref().map(|rule| &rule.words),
            self.run_rate.as_ref().map(|rule| &rule.words),
        ]
        .into_iter()
        .flatten()
    }
}
