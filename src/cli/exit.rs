//! One table of exit codes for all commands.

use std::fmt;
use std::process::ExitCode;

use crate::config::Problems;

/// The table, for `--help`.
pub(crate) const HELP: &str = "Exit codes:\n  0  done\n  1  something was found: a failed rule \
test, a warning under --deny-warnings, a demo that missed\n  2  the command line is wrong\n  3  \
rules are wrong\n  4  the configuration is wrong\n  5  Kafka, a file or an address cannot be \
reached";

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Done,
    /// Something was found that was looked for.
    Found,
    /// The command line is wrong.
    Usage,
    /// Rules are wrong.
    Rules,
    /// The configuration is wrong.
    Configuration,
    /// Kafka, a file or an address cannot be reached.
    Environment,
}

impl Exit {
    /// The number.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Found => 1,
            Self::Usage => 2,
            Self::Rules => 3,
            Self::Configuration => 4,
            Self::Environment => 5,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Why a command could not do what it was asked.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The exit code.
    pub(crate) exit: Exit,
    error: anyhow::Error,
}

impl Failure {
    pub(crate) fn new(exit: Exit, error: anyhow::Error) -> Self {
        Self { exit, error }
    }

    /// The configuration is wrong.
    pub(crate) fn configuration(problems: &Problems) -> Self {
        Self::new(Exit::Configuration, anyhow::anyhow!("{problems}"))
    }

    /// Rules are wrong.
    pub(crate) fn rules(problems: &Problems) -> Self {
        Self::new(Exit::Rules, anyhow::anyhow!("{problems}"))
    }
}

/// The whole chain of causes, once, at the rim.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "toolwarden: {:#}", self.error)
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::new(Exit::Environment, error)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(Exit::Environment, error.into())
    }
}
