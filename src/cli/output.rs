//! How one thing is written: for people or for machines.

use std::io::{IsTerminal, stdout};

use clap::ValueEnum;

/// How one thing is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Table,
    /// One JSON object.
    Json,
}

impl Output {
    /// What was asked for; a table on a terminal, else JSON.
    pub(crate) fn or_fitting(asked: Option<Self>) -> Self {
        asked.unwrap_or_else(|| if stdout().is_terminal() { Self::Table } else { Self::Json })
    }
}
