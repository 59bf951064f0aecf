//! Since when a shift lasts: a CUSUM of one hypothesis, kept for words and not for decisions.

use serde::{Deserialize, Serialize};

use crate::baseline::steady::evidence::{geometric, narrow};

/// Evidence beyond this is not told apart, so that the end of a shift is seen soon.
const EVIDENCE_MAX: f64 = 1e12;

/// The last bucket in which nothing spoke for a shift, and what was seen since.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Locator {
    /// The likelihood ratio since then; at most 1 when there is no shift.
    evidence: f32,
    start: i32,
    calls: u32,
    expected: f32,
}

impl Locator {
    /// Counts a call in `bucket` that multiplies the evidence by `factor`.
    pub(crate) fn add_call(&mut self, bucket: i32, factor: f64) {
        if self.evidence <= 1.0 {
            *self = Self { evidence: 1.0, start: bucket, calls: 0, expected: 0.0 };
        }
        self.calls = self.calls.saturating_add(1);
        self.multiply(factor);
    }

    /// Lets `buckets.1` buckets pass from `buckets.0` on, each multiplying the evidence by
    /// `factor`; `expected` calls were expected in them.
    pub(crate) fn pass(&mut self, buckets: (i32, u32), factor: f64, expected: f64) {
        if self.evidence <= 1.0 {
            *self = Self { evidence: 1.0, start: buckets.0, calls: 0, expected: 0.0 };
        }
        self.expected += narrow(expected);
        self.multiply(geometric(factor, buckets.1).0);
    }

    fn multiply(&mut self, factor: f64) {
        self.evidence = narrow((f64::from(self.evidence) * factor).min(EVIDENCE_MAX));
    }

    /// The bucket in which it began.
    #[must_use]
    pub(crate) const fn start(&self) -> i32 {
        self.start
    }

    /// Calls since.
    #[must_use]
    pub(crate) const fn calls(&self) -> u32 {
        self.calls
    }

    /// Calls expected since, in buckets that are over.
    #[must_use]
    pub(crate) fn expected(&self) -> f64 {
        f64::from(self.expected)
    }
}
