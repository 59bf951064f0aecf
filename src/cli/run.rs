//! `toolwarden run`.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::engine;
use crate::cli::exit::{Exit, Failure};
use crate::cli::settings;
use crate::config::Config;
use crate::kafka::{ClientSettings, GaveUp, Topic, ensure_topics, partition_counts};
use crate::pipeline::instance::{Beginning, Instance, client_settings};
use crate::pipeline::roles::Roles;

/// What `run` is told.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// The configuration.
    #[arg(long, short, env = "TOOLWARDEN_CONFIG", default_value = "/etc/toolwarden/config.yaml")]
    config: PathBuf,
    /// Know from the start what was learned before: a file that `toolwarden baseline export` wrote.
    #[arg(long)]
    baseline: Option<PathBuf>,
    /// Learn at once from this much of the topics' history, such as 7d, before anything is told:
    /// what was read so far, or all there is in a new group, teaches and alerts nobody.
    #[arg(long, value_name = "DURATION", value_parser = settings::duration, conflicts_with = "baseline")]
    learn_from: Option<Duration>,
    /// Do only these parts of the work; repeat it, or write a list such as ingest,detect. Without
    /// it an instance does all of it.
    #[arg(long, value_name = "ROLE", value_delimiter = ',')]
    role: Vec<Role>,
    /// Die, or hang, at one place. For tests; a release build has no such option.
    #[cfg(debug_assertions)]
    #[arg(long, hide = true)]
    kill_point: Option<crate::kill_point::Armed>,
}

/// A part of the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Role {
    /// Write calls of sources that are not keyed by agent to the calls topic.
    Ingest,
    /// Judge.
    Detect,
    /// Tell receivers.
    Deliver,
}

/// The parts that were asked for.
///
/// # Errors
///
/// When there is nothing to do for one of them, or an option is for another one.
fn roles(args: &RunArgs, config: &Config) -> Result<Roles, Failure> {
    let has = |role| args.role.contains(&role);
    let asked =
        Roles { ingest: has(Role::Ingest), detect: has(Role::Detect), deliver: has(Role::Deliver) };
    let roles = if args.role.is_empty() { Roles::ALL } else { asked };
    let usage = |words: &'static str| Err(Failure::new(Exit::Usage, anyhow::anyhow!(words)));
    if asked.ingest && config.unkeyed().next().is_none() {
        return usage("`--role ingest` has nothing to do: no source has `keyed_by: none`");
    }
    if asked.deliver && config.receivers.is_empty() {
        return usage("`--role deliver` has nothing to do: there are no `receivers`");
    }
    if !roles.detect && (args.baseline.is_some() || args.learn_from.is_some()) {
        return usage("`--baseline` and `--learn-from` are for `--role detect`");
    }
    Ok(roles.with_work_in(config))
}

pub(crate) fn run(args: &RunArgs) -> Result<Exit, Failure> {
    #[cfg(debug_assertions)]
    args.kill_point.clone().into_iter().for_each(crate::kill_point::arm);
    let config = settings::load(&args.config)?;
    let roles = roles(args, &config)?;
    let rules = settings::load_rules(&config.rules)?.rules;
    let hash_key = config.privacy.hash_key.fingerprint();
    let read = |path: &PathBuf| {
        engine::read_baselines(path, engine::bounds(Some(&config)), Some(&hash_key))
    };
    let baselines = args.baseline.as_ref().map(read).transpose()?;
    if let Some(baselines) = &baselines {
        let agents = baselines.header.agents;
        tracing::info!(agents, "known from the start");
    }
    let runtime = crate::cli::runtime()?;
    let (clean, gave_up) = runtime.block_on(async {
        let client = client_settings(&config.kafka);
        make_topics(&config, roles, &client).await?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let beginning = Beginning { baselines, learn_from: args.learn_from, roles };
        let instance = Instance::start_from(&config, rules, beginning).await?;
        let hash_key = config.privacy.hash_key.fingerprint();
        tracing::info!(listen = %instance.listen, hash_key, "running");
        let gave_up = tokio::select! {
            _ = terminate.recv() => None,
            _ = interrupt.recv() => None,
            why = instance.gave_up() => Some(why),
        };
        let ended = tokio::task::spawn_blocking(move || instance.shut_down());
        Ok::<_, Failure>((ended.await.unwrap_or(false), gave_up))
    })?;
    let ended = gave_up.map_or(Ok(Exit::Done), |why| Err(end_of(why, &config)));
    if !clean {
        // A consumer that hangs on a cluster that is gone would hold up the process: what it had
        // not finished is not committed, and will be read again.
        std::process::exit(crate::cli::told(&ended));
    }
    ended
}

/// Why an instance ends that nobody asked to.
fn end_of(why: GaveUp, config: &Config) -> Failure {
    match why {
        GaveUp::Replaced => {
            let name = config.kafka.group_instance_id.as_deref().unwrap_or_default();
            Failure::new(
                Exit::Configuration,
                anyhow::anyhow!(
                    "another process has joined the group as `{name}`: each instance needs a \
                     `kafka.group_instance_id` of its own"
                ),
            )
        }
        GaveUp::Broken => Failure::new(
            Exit::Environment,
            anyhow::anyhow!("the Kafka client cannot go on: start this instance again"),
        ),
    }
}

/// Creates what is missing of the topics that `roles` write or read of one another.
async fn make_topics(
    config: &Config,
    roles: Roles,
    client: &ClientSettings,
) -> Result<(), Failure> {
    let brokers = || format!("at {}", config.kafka.brokers.join(", "));
    let calls = calls_partitions(config, roles, client)?;
    let calls = calls.map(|partitions| Topic::plain(&config.topics.calls, partitions));
    let mut created = match calls {
        Some(calls) => ensure_topics(client, &[calls]).await.with_context(brokers)?,
        None => Vec::new(),
    };
    let mut topics =
        vec![Topic::plain(&config.topics.alerts, 1), Topic::plain(&config.topics.dead_letter, 1)];
    if roles.detect {
        topics.push(Topic::plain(&config.topics.audit, 1));
        topics.push(Topic::compacted(&config.topics.verdicts));
        topics.extend(config.topics.groups.as_deref().map(Topic::compacted));
        if config.state.durable {
            let partitions = state_partitions(config, client)?;
            topics.push(Topic::beside(&config.topics.state, partitions));
        }
    }
    if roles.deliver {
        let partitions = delivery_partitions(config, client)?;
        topics.push(Topic::beside(&config.topics.deliveries, partitions));
    }
    created.extend(ensure_topics(client, &topics).await.with_context(brokers)?);
    for topic in created {
        tracing::info!(topic, "created a topic that was missing");
    }
    Ok(())
}

/// How many partitions the calls topic has, or gets: as many as the source that has the most; `None`
/// where it is not used.
fn calls_partitions(
    config: &Config,
    roles: Roles,
    client: &ClientSettings,
) -> Result<Option<i32>, Failure> {
    let is_used = roles.ingest || roles.detect;
    let mut topics: Vec<&str> = config.unkeyed().map(|source| source.topic.as_str()).collect();
    if topics.is_empty() || !is_used {
        return Ok(None);
    }
    topics.push(&config.topics.calls);
    let mut counts = partition_counts(client, &topics).map_err(anyhow::Error::from)?;
    let found = counts.pop().unwrap_or(0);
    if roles.ingest || found == 0 {
        refuse_missing(&topics, &counts)?;
    }
    let most = counts.into_iter().max().unwrap_or(1).max(1);
    Ok(Some(if found == 0 { most } else { found }))
}

/// How many partitions the state topic must have: one beside each of those that are judged.
fn state_partitions(config: &Config, client: &ClientSettings) -> Result<i32, Failure> {
    let sources = config.judged_topics();
    let counts = partition_counts(client, &sources).map_err(anyhow::Error::from)?;
    refuse_missing(&sources, &counts)?;
    let wanted = ("a source topic", "what is known");
    partitions_beside(client, &sources, &config.topics.state, wanted)
}

/// A source that is not there is refused, because nobody knows how many partitions it will have.
fn refuse_missing(sources: &[&str], counts: &[i32]) -> Result<(), Failure> {
    if let Some((topic, _)) = sources.iter().zip(counts).find(|(_, count)| **count == 0) {
        return Err(anyhow::anyhow!(
            "the source topic `{topic}` does not exist, or this user may not see it: create it with \
             `kafka-topics.sh --create --topic {topic} --partitions N`, or give the user Describe"
        )
        .into());
    }
    Ok(())
}

/// How many partitions the log of deliveries must have: one beside each of the alerts topic's.
fn delivery_partitions(config: &Config, client: &ClientSettings) -> Result<i32, Failure> {
    let alerts = config.topics.alerts.as_str();
    let wanted = (&*format!("`{alerts}`"), "what receivers have");
    partitions_beside(client, &[alerts], &config.topics.deliveries, wanted)
}

/// How many partitions the topic `log` must have: one beside each of those of `topics`. One that has
/// fewer is refused, because what belongs to the others could not be kept.
fn partitions_beside(
    client: &ClientSettings,
    topics: &[&str],
    log: &str,
    (whose, what): (&str, &str),
) -> Result<i32, Failure> {
    let topics = [topics, &[log]].concat();
    let mut counts = partition_counts(client, &topics).map_err(anyhow::Error::from)?;
    let found = counts.pop().unwrap_or(0);
    let needed = counts.into_iter().max().unwrap_or(0).max(1);
    if found != 0 && found < needed {
        return Err(anyhow::anyhow!(
            "the topic `{log}` has {found} partitions and {whose} {needed}: {what} could not be \
             kept beside it; raise it with `kafka-topics.sh --alter --topic {log} --partitions \
             {needed}`"
        )
        .into());
    }
    Ok(needed)
}
