//! `toolwarden test`.

use std::io::{Write, stdout};
use std::path::PathBuf;

use clap::Args;

use crate::cli::exit::{Exit, Failure};
use crate::cli::settings;
use crate::config::RuleSource;
use crate::pipeline::rule_tests::{self, Outcome};

/// What `test` is told.
#[derive(Debug, Args)]
pub(crate) struct TestArgs {
    /// The directory of rules; the shipped ones without it.
    rules: Option<PathBuf>,
    /// Run only tests whose rule id or name contains this.
    #[arg(long, default_value = "")]
    filter: String,
}

pub(crate) fn test(args: &TestArgs) -> Result<Exit, Failure> {
    let rules = settings::load_rules(&RuleSource { directory: args.rules.clone() })?;
    let outcomes = rule_tests::run(&rules.raw, &args.filter)
        .map_err(|words| Failure::new(Exit::Rules, anyhow::anyhow!("{}", words.join("\n"))))?;
    let mut out = stdout();
    for outcome in &outcomes {
        write_outcome(&mut out, outcome)?;
    }
    let failed = outcomes.iter().filter(|outcome| !outcome.passed).count();
    writeln!(out, "{} passed, {failed} failed", outcomes.len() - failed)?;
    Ok(if failed == 0 && !outcomes.is_empty() { Exit::Done } else { Exit::Found })
}

fn write_outcome(out: &mut dyn Write, outcome: &Outcome) -> std::io::Result<()> {
    let verdict = if outcome.passed { "PASS" } else { "FAIL" };
    writeln!(out, "[{verdict}] {} › {}", outcome.rule_id, outcome.test)?;
    if outcome.passed {
        return Ok(());
    }
    writeln!(out, "       {}", outcome.failure)?;
    if let (Some(score), Some(summary)) = (outcome.highest_score, &outcome.summary) {
        writeln!(out, "       nearest: score {score:.1}: {}", crate::deliver::escape(summary))?;
    }
    Ok(())
}
