//! Evidence that a steady agent's rate has changed: Shiryaev-Roberts e-detectors on ten-second
//! buckets.
//!
//! Each hypothesis keeps `R <- (R + mass) e`, where `e` has a mean of at most 1 while the agent is
//! as it was. Then, for every horizon, `R` reaches `c` at most `mass / c` times on average, without
//! a threshold to be tuned (Shin, Ramdas and Rinaldo, E-detectors, 2023). Masses are parts of one
//! expected active day, so a budget an active agent-day times `R` is a ratio that fires at 1.

use serde::{Deserialize, Serialize};

/// How many times too many: small shifts that last, and floods.
pub(crate) const TOO_MANY: [f64; 4] = [1.5, 2.5, 5.0, 15.0];

/// What is left of the usual rate: some of it, and nothing.
pub(crate) const TOO_FEW: [f64; 2] = [0.4, 0.02];

/// The shares of a day's mass that the hypotheses of a shift get: each of the four up, and the one
/// down. A stop has a mass of its own.
const MANY_SHARE: f64 = 0.23;
const FEW_SHARE: f64 = 0.08;

/// Evidence beyond this is not told apart; it keeps sums finite and lets them fall again.
const EVIDENCE_MAX: f64 = 1e7;

/// The root that is kept of the factors of a bucket.
const ROOT: f64 = 16.0;

/// What is normal in one bucket.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Null {
    /// Calls expected in the bucket.
    pub(crate) mean: f64,
    /// The index of dispersion, at least 1.
    pub(crate) dispersion: f64,
    /// The dispersion assumed for the lower side, at least the other one.
    pub(crate) dispersion_low: f64,
    /// The factor within which the true mean lies, at least 1.
    pub(crate) tolerance: f64,
    /// The part of an expected active day that the bucket is.
    pub(crate) mass: f64,
}

/// One e-value: what it is multiplied by at a call and over a bucket.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Tilt {
    /// The logarithm of the factor of one call.
    pub(crate) call: f64,
    /// The logarithm of the factor of one bucket.
    pub(crate) bucket: f64,
}

/// The tilt towards `times` the usual rate of counts that are negative binomial with a fixed index
/// of dispersion: exact for those, conservative for batches of constant or geometric size.
#[must_use]
pub(crate) fn too_many(times: f64, null: &Null) -> Tilt {
    let extra = null.dispersion - 1.0;
    let mean = null.mean * null.tolerance;
    if extra < 1e-6 {
        return Tilt { call: libm::log(times), bucket: -(times - 1.0) * mean };
    }
    let factor = times * null.dispersion / (1.0 + times * extra);
    let psi = -libm::log1p(-extra * (factor - 1.0)) / extra;
    Tilt { call: libm::log(factor), bucket: -psi * mean }
}

/// The tilt towards `times` the usual rate, below 1: valid for batches of any sizes with this
/// dispersion, by Jensen's inequality.
#[must_use]
pub(crate) fn too_few(times: f64, null: &Null) -> Tilt {
    let dispersion = null.dispersion_low;
    let mean = null.mean / null.tolerance;
    Tilt { call: libm::log(times) / dispersion, bucket: (1.0 - times) / dispersion * mean }
}

/// The evidence against one agent's usual rate, in units of one expected active day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Evidence {
    /// In double precision: the whole of a bucket is allowed for at once, so that after the opening of
    /// one in which hundreds of calls are expected there is next to nothing, and it must not be 0.
    many: [f64; 4],
    few: [f32; 2],
    /// The factors of one call: `many`, then `few`.
    calls: [f32; 6],
    /// Of the factors of one bucket the sixteenth root, which four bytes hold, and those factors.
    roots_many: [f32; 4],
    buckets_few: [f32; 2],
    mass: f32,
}

impl Evidence {
    /// Takes what is normal from now on.
    pub(crate) fn assume(&mut self, null: &Null) {
        let many = TOO_MANY.map(|times| too_many(times, null));
        let few = TOO_FEW.map(|times| too_few(times, null));
        for (call, tilt) in self.calls.iter_mut().zip(many.iter().chain(&few)) {
            *call = narrow(libm::exp(tilt.call));
        }
        self.roots_many = many.map(|tilt| narrow(libm::exp(tilt.bucket / ROOT)));
        self.buckets_few = few.map(|tilt| narrow(libm::exp(tilt.bucket)));
        self.mass = narrow(null.mass);
    }

    /// Counts one call in the open bucket.
    pub(crate) fn add_call(&mut self) {
        let (many, few) = self.calls.split_at(4);
        for (evidence, factor) in self.many.iter_mut().zip(many) {
            *evidence = (*evidence * f64::from(*factor)).min(EVIDENCE_MAX);
        }
        for (evidence, factor) in self.few.iter_mut().zip(few) {
            *evidence = cap(f64::from(*evidence) * f64::from(*factor));
        }
    }

    /// Closes `buckets` buckets for the lower side, all but the first without a call. Only when a
    /// bucket is over is it known that too little happened in it.
    pub(crate) fn close(&mut self, buckets: u32) {
        let mass = f64::from(self.mass);
        for ((evidence, factor), share) in
            self.few.iter_mut().zip(&self.buckets_few).zip([FEW_SHARE, 1.0])
        {
            let (power, sum) = geometric(f64::from(*factor), buckets);
            *evidence = cap(f64::from(*evidence) * power + share * mass * sum);
        }
    }

    /// Opens `buckets` buckets for the upper side, all but the last without a call. The whole of a
    /// bucket is allowed for at once: calls to come can only add.
    pub(crate) fn open(&mut self, buckets: u32) {
        let mass = f64::from(self.mass) * MANY_SHARE;
        for (evidence, root) in self.many.iter_mut().zip(self.roots_many) {
            let factor = whole_of(root);
            let (power, sum) = geometric(factor, buckets);
            *evidence = (*evidence * power + mass * factor * sum).min(EVIDENCE_MAX);
        }
    }

    /// The part of an expected active day that a bucket is.
    #[must_use]
    pub(crate) fn mass(&self) -> f64 {
        self.mass.into()
    }

    /// The evidence that there are too many calls.
    #[must_use]
    pub(crate) fn many(&self) -> f64 {
        self.many.iter().sum()
    }

    /// The evidence that there are too few calls, and yet some.
    #[must_use]
    pub(crate) fn few(&self) -> f64 {
        f64::from(self.few[0])
    }

    /// The evidence that calls have stopped.
    #[must_use]
    pub(crate) fn stopped(&self) -> f64 {
        f64::from(self.few[1])
    }

    /// After how many closed buckets without a call the evidence that they have stopped reaches
    /// `level`; `None` if never.
    #[must_use]
    pub(crate) fn stops_in(&self, level: f64) -> Option<u32> {
        let (evidence, mass) = (self.stopped(), f64::from(self.mass));
        let growth = f64::from(self.buckets_few[1]) - 1.0;
        if evidence >= level {
            return Some(0);
        }
        if growth <= 0.0 || mass <= 0.0 {
            return None;
        }
        let share = mass / growth;
        let steps =
            libm::ceil(libm::log((level + share) / (evidence + share)) / libm::log1p(growth));
        whole(steps)
    }

    /// Of the newest calls, how many fewer would keep the evidence of too many below `level`; at
    /// most `calls`.
    #[must_use]
    pub(crate) fn calls_too_many(&self, level: f64, calls: u32) -> u32 {
        let mut many = self.many;
        let mut fewer = 0;
        while fewer < calls && many.iter().sum::<f64>() >= level {
            for (evidence, factor) in many.iter_mut().zip(&self.calls) {
                *evidence /= f64::from(*factor);
            }
            fewer += 1;
        }
        fewer
    }

    /// How many more calls would keep the evidence of too few below `level`.
    #[must_use]
    pub(crate) fn calls_too_few(&self, level: f64) -> u32 {
        let [_, _, _, _, factor, _] = self.calls;
        let excess = libm::log((self.few() / level).max(1.0));
        whole(libm::floor(excess / -libm::log(f64::from(factor)).min(-1e-6)) + 1.0).unwrap_or(1)
    }

    /// The factors of one call and one bucket of the hypothesis that dates a shift up (2.5 times)
    /// and down (.4).
    #[must_use]
    pub(crate) fn dating(&self, is_up: bool) -> (f64, f64) {
        let [_, up, _, _, down, _] = self.calls.map(f64::from);
        if is_up { (up, whole_of(self.roots_many[1])) } else { (down, self.buckets_few[0].into()) }
    }

    /// Forgets the evidence of a shift down, which a stop or a return explains.
    pub(crate) fn forget_few(&mut self) {
        self.few[0] = 0.0;
    }

    /// Forgets all evidence; what is normal stays.
    pub(crate) fn forget(&mut self) {
        self.many = [0.0; 4];
        self.few = [0.0; 2];
    }
}

/// The factor that a root is of.
fn whole_of(root: f32) -> f64 {
    power(root.into(), 16)
}

/// `factor` to the power of `steps`, and the sum of its powers below that.
#[must_use]
pub(crate) fn geometric(factor: f64, steps: u32) -> (f64, f64) {
    // Below infinity, which times nothing would be no number.
    let power = power(factor, steps).min(f64::MAX);
    let growth = factor - 1.0;
    let sum = if growth.abs() < 1e-9 { f64::from(steps) } else { (power - 1.0) / growth };
    (power, sum)
}

/// By squaring: the same bits on every machine.
fn power(mut base: f64, mut exponent: u32) -> f64 {
    let mut result = 1.0;
    while exponent > 0 {
        if exponent & 1 == 1 {
            result *= base;
        }
        base *= base;
        exponent >>= 1;
    }
    result
}

fn cap(evidence: f64) -> f32 {
    narrow(evidence.min(EVIDENCE_MAX))
}

/// As it is kept: seven digits are more than the model is good for.
pub(crate) fn narrow(value: f64) -> f32 {
    #[expect(clippy::cast_possible_truncation, clippy::as_conversions, reason = "see above")]
    let narrow = value.clamp(-1e30, 1e30) as f32;
    narrow
}

fn whole(value: f64) -> Option<u32> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::as_conversions,
        reason = "within the range"
    )]
    let whole = (0.0..1e9).contains(&value).then_some(value as u32);
    whole
}
