//! `toolwarden baseline`: what is known of an agent, and what was learned as a file.

mod file;
mod show;

use clap::Subcommand;

use crate::cli::exit::{Exit, Failure};

/// What can be done with what was learned.
#[derive(Debug, Subcommand)]
pub(crate) enum BaselineCommand {
    /// Shows what is known of an agent: how far learning is, what is usual, what is open.
    Show(Box<show::ShowArgs>),
    /// Writes what was learned to a file: from recorded calls, or by a running instance.
    Export(Box<file::ExportArgs>),
    /// Checks files of baselines and puts them together into one, for `run --baseline`.
    Import(file::ImportArgs),
}

pub(crate) fn baseline(command: &BaselineCommand) -> Result<Exit, Failure> {
    match command {
        BaselineCommand::Show(args) => show::show(args),
        BaselineCommand::Export(args) => file::export(args),
        BaselineCommand::Import(args) => file::import(args),
    }
}
