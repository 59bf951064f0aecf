//! Rules: what is judged, how strictly and what is said about it. Raw to checked.
//!
//! A rule names a detector, gives it a budget and carries its own words, tags, runbook and tests.
//! Reading files is `config`'s business; here a rule that exists is valid by construction.

/// The rules in force, checked.
#[derive(Clone, Debug, Default)]
pub struct Rules {}
