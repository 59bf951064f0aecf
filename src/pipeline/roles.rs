//! Which parts of the work an instance does.

use crate::config::Config;

/// Parts of the work; together by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Roles {
    /// Writes calls of sources that are not keyed by agent to the calls topic, keyed.
    pub ingest: bool,
    /// Judges.
    pub detect: bool,
    /// Tells receivers.
    pub deliver: bool,
}

impl Roles {
    /// Everything.
    pub const ALL: Self = Self { ingest: true, detect: true, deliver: true };

    /// Those for which `config` has anything to do.
    #[must_use]
    pub fn with_work_in(self, config: &Config) -> Self {
        Self {
            ingest: self.ingest && config.unkeyed().next().is_some(),
            detect: self.detect,
            deliver: self.deliver && !config.receivers.is_empty(),
        }
    }
}

impl Default for Roles {
    fn default() -> Self {
        Self::ALL
    }
}
