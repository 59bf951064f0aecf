//! pipeline

pub mod rule_tests;
