//! Configuration from outside: what is refused and how, what is accepted, what is published.
//!
//! `TOOLWARDEN_BLESS=1` writes the expected files anew; read the difference before committing it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;
use schemars::JsonSchema;
use secrecy::ExposeSecret;
use serde::Deserialize;
use toolwarden::cli::check::{Check, CheckOutput, check};
use toolwarden::cli::config_cmd::{self, SchemaOf, ShowOutput};
use toolwarden::config::{self, Code, Config, Environment, Loaded, Problem, Problems};
use toolwarden::decode::HashKey;

const PLANTED: &str = "hunter2";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn fixtures() -> PathBuf {
    root().join("fixtures/config")
}

/// Variables for the fixtures; everything secret in them contains [`PLANTED`].
fn environment() -> BTreeMap<String, String> {
    [
        ("GROUP", "watchers"),
        ("WORKERS", "3"),
        ("PASSWORD", "hunter2-password"),
        ("KEY_PASSWORD", "hunter2-key"),
        ("SIGNING_SECRET", "whsec_hunter2hunter2hunter2hunter2hunter2hunter2AA"),
        ("SHORT_SECRET", "whsec_hunter2A"),
        ("BARE_SECRET", "hunter2hunter2hunter2hunter2hunter2"),
        ("WEBHOOK_URL", "https://user:hunter2@hooks.example:8443/services/hunter2?t=hunter2"),
        ("URL_TOKEN", "hunter2"),
        ("HASH_KEY", "hunter2-and-more-than-16"),
        ("INJECTED", "hunter2\nadmin: true\n- [{&a *a"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

fn load(text: &str) -> Result<Loaded, Problems> {
    config::load_text("f.yaml", text, &fixtures(), &environment())
}

fn valid(name: &str) -> Loaded {
    let path = fixtures().join("valid").join(name);
    config::load(&path, &environment()).unwrap_or_else(|problems| panic!("{problems}"))
}

/// Compares with a file in the repository, or writes it when told to bless.
fn hold(path: &Path, actual: &str) {
    if config::ProcessEnvironment.get("TOOLWARDEN_BLESS").is_some() {
        fs::write(path, actual).unwrap();
    }
    let expected = fs::read_to_string(path).unwrap_or_default();
    assert!(
        expected == actual,
        "{} is out of step: run with TOOLWARDEN_BLESS=1 and read the difference\n{actual}",
        path.display()
    );
}

fn broken() -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = fs::read_dir(fixtures().join("broken"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    paths.sort();
    assert!(paths.len() >= 10);
    paths
}

fn problems_of(path: &Path) -> Problems {
    let name = path.file_name().unwrap().to_str().unwrap();
    let text = fs::read_to_string(path).unwrap();
    config::load_text(name, &text, Path::new("fixtures/config"), &environment()).unwrap_err()
}

#[test]
fn every_broken_file_is_told_all_its_mistakes_word_for_word() {
    for path in broken() {
        hold(&path.with_extension("txt"), &problems_of(&path).to_string());
    }
}

#[test]
fn every_mistake_points_at_a_line_and_column_of_its_file() {
    for path in broken() {
        let text = fs::read_to_string(&path).unwrap();
        for problem in problems_of(&path).as_slice() {
            let columns = text.lines().nth(problem.line - 1).unwrap_or("").chars().count();
            assert!((1..=columns + 1).contains(&problem.column), "{problem}");
        }
    }
}

#[test]
fn the_published_schema_refuses_what_the_loader_refuses_for_its_shape() {
    let validator = jsonschema::validator_for(&config::schema()).unwrap();
    for (text, expected) in [
        (json(&[]), true),
        (json(&[("version", "2")]), false),
        (json(&[("kafka", r#"{"brokers": []}"#)]), false),
        (json(&[("kafka", r#"{"brokers": ["h:1"], "commit_interval": "5"}"#)]), false),
        (json(&[("limits", r#"{"agents": 0}"#)]), false),
        (json(&[("x-anything", "[1]")]), true),
        (json(&[("anything", "[1]")]), false),
        (json(&[("receivers", r#"[{"name": "a", "type": "webhook", "password": "b"}]"#)]), false),
    ] {
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(validator.is_valid(&value), expected, "{text}");
        assert_eq!(load(&text).is_ok(), expected, "{text}");
    }
}

/// A small configuration as JSON with some fields replaced.
fn json(fields: &[(&str, &str)]) -> String {
    let mut all = BTreeMap::from([
        ("version", "1"),
        ("kafka", r#"{"brokers": ["127.0.0.1:9092"]}"#),
        ("sources", r#"[{"topic": "a"}]"#),
    ]);
    all.extend(fields.iter().copied());
    let fields: Vec<String> =
        all.iter().map(|(key, value)| format!("\"{key}\": {value}")).collect();
    format!("{{{}}}", fields.join(", "))
}

#[test]
fn a_minimal_file_gets_the_defaults() {
    let Loaded { config, warnings } = valid("minimal.yaml");
    assert!(warnings.is_empty());
    assert_eq!(config.kafka.group_id, "toolwarden");
    assert_eq!(config.kafka.prefetch_bytes, 64 << 20);
    assert_eq!(config.kafka.shutdown_timeout, Duration::from_secs(12));
    assert_eq!(config.event_time.lateness, Duration::from_secs(30));
    assert_eq!(config.limits.agents, 1_000_000);
    assert_eq!(config.topics.dead_letter, "toolwarden.dead-letter");
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:9464");
    assert!(config.privacy.show_targets && config.privacy.hash_key == HashKey::BUILT_IN);
    assert!(config.rules.directory.is_none() && config.receivers.is_empty());
}

#[test]
fn a_full_file_is_read_as_written() {
    let Loaded { config, warnings } = valid("full.yaml");
    assert_eq!(config.kafka.brokers, ["kafka-0.example:9093", "kafka-1.example:9093"]);
    assert_eq!((config.kafka.group_id.as_str(), config.kafka.workers), ("watchers", 3));
    let property = |name: &str| config.kafka.properties.get(name).map(String::as_str);
    assert_eq!(property("security.protocol"), Some("sasl_ssl"));
    assert_eq!(property("sasl.mechanism"), Some("SCRAM-SHA-512"));
    assert_eq!(property("socket.keepalive.enable"), Some("true"));
    assert_eq!(property("session.timeout.ms"), Some("30000"));
    assert_eq!(config.kafka.secrets["sasl.password"].expose_secret(), "hunter2-password");
    assert_eq!(config.kafka.secrets["ssl.key.password"].expose_secret(), "hunter2-key");
    assert_eq!(config.privacy.hash_key, HashKey::of_secret("hunter2-and-more-than-16"));
    assert!(!config.privacy.show_targets);
    let timeouts: Vec<u64> = config.receivers.iter().map(|r| r.timeout.as_secs()).collect();
    assert_eq!(timeouts, [5, 20], "a field written out wins over a merged one");
    let codes: Vec<Code> = warnings.iter().map(|warning| warning.code).collect();
    assert_eq!(codes, [Code::Plaintext, Code::Exposed]);
}

#[test]
fn secrets_come_out_of_files_beside_the_configuration_without_the_line_end() {
    let directory = tempfile::tempdir().unwrap();
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    fs::write(directory.path().join("secret"), format!("{secret}\n")).unwrap();
    fs::write(directory.path().join("url"), "https://h.example/x\n").unwrap();
    let receiver =
        r#"[{"name": "a", "type": "webhook", "url_file": "url", "signing_secret_file": "secret"}]"#;
    let text = json(&[("receivers", receiver)]);
    let path = directory.path().join("toolwarden.yaml");
    fs::write(&path, text).unwrap();
    let config = config::load(&path, &environment()).unwrap().config;
    assert_eq!(config.receivers[0].signing_secret.expose_secret(), secret);
    assert_eq!(config.receivers[0].url.expose_secret(), "https://h.example/x");
}

#[test]
fn the_key_of_hashes_is_read_from_a_file_and_shown_by_its_fingerprint_alone() {
    let directory = tempfile::tempdir().unwrap();
    let secret = "zFq7Lk0mYx3v9Wd1";
    fs::write(directory.path().join("key"), format!("{secret}\n")).unwrap();
    let path = directory.path().join("toolwarden.yaml");
    fs::write(&path, json(&[("privacy", r#"{"hash_key_file": "key"}"#)])).unwrap();
    let config = config::load(&path, &environment()).unwrap().config;
    assert_eq!(config.privacy.hash_key, HashKey::of_secret(secret));
    let shown = config::show_yaml(&config);
    assert!(shown.contains(&config.privacy.hash_key.fingerprint()), "{shown}");
    assert!(!shown.contains(secret));
    let problems = |privacy: &str| load(&json(&[("privacy", privacy)])).unwrap_err();
    let short = problems(r#"{"hash_key_env": "URL_TOKEN"}"#);
    assert_eq!(short.as_slice()[0].code, Code::UnusableSecret, "{short}");
    let both = problems(r#"{"hash_key_env": "HASH_KEY", "hash_key_file": "key"}"#);
    assert_eq!(both.as_slice()[0].code, Code::Conflict, "{both}");
    let written = problems(r#"{"hash_key": "hunter2hunter2hunter2"}"#).to_string();
    assert!(written.contains("hash_key_file") && !written.contains(PLANTED), "{written}");
}

#[test]
fn the_keys_of_the_state_topic_stand_one_a_line_and_are_never_shown() {
    let directory = tempfile::tempdir().unwrap();
    let (new, old) = ("qT5wZ8xC2vB7nM4kL9jH3gF6dS1aP0oI", "yU7iO2pA9sD4fG6hJ1kL8zX3cV5bN0mQ");
    fs::write(directory.path().join("keys"), format!("{new}\n{old}\n")).unwrap();
    let path = directory.path().join("toolwarden.yaml");
    fs::write(&path, json(&[("state", r#"{"mac_key_file": "keys"}"#)])).unwrap();
    let config = config::load(&path, &environment()).unwrap().config;
    let keys: Vec<&str> = config.state.mac_keys.iter().map(ExposeSecret::expose_secret).collect();
    assert_eq!(keys, [new, old]);
    let shown = config::show_yaml(&config);
    assert!(shown.contains("mac_keys") && !shown.contains(new) && !shown.contains(old), "{shown}");
    assert!(!format!("{config:?}").contains(new));
    let problems = |state: &str| load(&json(&[("state", state)])).unwrap_err();
    let short = problems(r#"{"mac_key_env": "HASH_KEY"}"#);
    assert_eq!(short.as_slice()[0].code, Code::UnusableSecret, "{short}");
    let written = problems(r#"{"mac_key": "hunter2hunter2hunter2"}"#).to_string();
    assert!(written.contains("mac_key_file") && !written.contains(PLANTED), "{written}");
    let alone = problems(r#"{"accept_unsigned": true}"#);
    assert_eq!(alone.as_slice()[0].code, Code::Conflict, "{alone}");
}

#[test]
fn who_may_export_is_a_secret_of_some_length() {
    let directory = tempfile::tempdir().unwrap();
    let secret = "zFq7Lk0mYx3v9Wd1";
    fs::write(directory.path().join("token"), format!("{secret}\n")).unwrap();
    let path = directory.path().join("toolwarden.yaml");
    fs::write(&path, json(&[("server", r#"{"export_token_file": "token"}"#)])).unwrap();
    let config = config::load(&path, &environment()).unwrap().config;
    assert_eq!(config.server.export_token.as_ref().unwrap().expose_secret(), secret);
    let shown = config::show_yaml(&config);
    assert!(shown.contains("export_token:") && !shown.contains(secret), "{shown}");
    assert!(!format!("{config:?}").contains(secret));
    let problems = |server: &str| load(&json(&[("server", server)])).unwrap_err();
    let short = problems(r#"{"export_token_env": "URL_TOKEN"}"#);
    assert_eq!(short.as_slice()[0].code, Code::UnusableSecret, "{short}");
    let written = problems(r#"{"export_token": "hunter2hunter2hunter2"}"#).to_string();
    assert!(written.contains("export_token_file") && !written.contains(PLANTED), "{written}");
}

#[test]
fn plaintext_to_another_machine_is_warned_of_and_to_this_one_is_not() {
    for (broker, expected) in [
        ("127.0.0.1:9092", 0),
        ("[::1]:9092", 0),
        ("localhost:9092", 0),
        ("kafka:9092", 1),
        ("10.0.0.1:9092", 1),
    ] {
        let kafka = format!(r#"{{"brokers": ["{broker}"]}}"#);
        let warnings = load(&json(&[("kafka", &kafka)])).unwrap().warnings;
        assert_eq!(warnings.len(), expected, "{broker}");
    }
}

#[test]
fn planted_secrets_are_nowhere_to_be_seen() {
    let mut seen = String::new();
    for path in broken() {
        let problems = problems_of(&path);
        seen.push_str(&format!("{problems}{problems:?}"));
        seen.push_str(&serde_json::to_string(&problems).unwrap());
    }
    let Loaded { config, warnings } = valid("full.yaml");
    seen.push_str(&format!("{config:?}{config:#?}{warnings:?}"));
    seen.push_str(&config::show_yaml(&config));
    seen.push_str(&config::show_json(&config).to_string());
    assert!(seen.contains("https://hooks.example:8443/***"));
    let at = seen.find(PLANTED);
    let before = at.and_then(|at| seen.get(at.saturating_sub(200)..at));
    assert!(at.is_none(), "a secret after: {before:?}");
}

#[test]
fn a_variable_cannot_add_structure() {
    let topic = r#"[{"topic": "a", "tenant": "${INJECTED}"}]"#;
    let config = load(&json(&[("sources", topic)])).unwrap().config;
    assert_eq!(config.sources.len(), 1);
    assert_eq!(config.sources[0].tenant.as_deref(), Some(environment()["INJECTED"].as_str()));
}

#[test]
fn what_is_shown_can_be_loaded_and_is_the_same() {
    let first = config::show_yaml(&valid("minimal.yaml").config);
    let second = config::show_yaml(&load(&first).unwrap().config);
    assert_eq!(first, second);
}

#[test]
fn the_first_configuration_has_no_problems_as_it_is() {
    let Loaded { config, warnings } = load(&config::init_text()).unwrap();
    assert!(warnings.is_empty());
    assert_eq!(config.sources[0].topic, "agent.calls");
}

#[test]
fn the_first_configuration_has_only_missing_files_when_all_of_it_is_used() {
    let text = config::init_text();
    let used = |line: &str| {
        let (indent, rest) = line.split_at(line.len() - line.trim_start().len());
        match rest.strip_prefix('#') {
            Some(rest) if !rest.starts_with(' ') || rest.starts_with("  ") => {
                format!("{indent}{rest}")
            }
            _ => line.to_owned(),
        }
    };
    let all: Vec<String> = text.lines().map(used).collect();
    assert!(all.iter().any(|line| line == "receivers:"));
    let problems = load(&all.join("\n")).unwrap_err();
    for problem in problems.as_slice() {
        assert_eq!(problem.code, Code::Unreadable, "{problem}");
    }
}

#[test]
fn the_published_files_are_in_step() {
    let schemas =
        [("config", SchemaOf::Config), ("alert", SchemaOf::Alert), ("rule", SchemaOf::Rule)];
    for (name, of) in schemas {
        let path = root().join(format!("schema/{name}.schema.json"));
        hold(&path, &config_cmd::schema_text(of).unwrap());
    }
    let path = root().join("docs/configuration.md");
    let page = fs::read_to_string(&path).unwrap();
    let (begin, end) = ("<!-- reference: begin -->\n", "<!-- reference: end -->\n");
    let (head, rest) = page.split_once(begin).unwrap();
    let (_, tail) = rest.split_once(end).unwrap();
    let (reference, codes) = (config::reference_text(), codes());
    hold(&path, &format!("{head}{begin}\n{reference}{codes}{end}{tail}"));
    let path = root().join("docs/judgement.md");
    let page = fs::read_to_string(&path).unwrap();
    let (head, rest) = page.split_once(begin).unwrap();
    let (_, tail) = rest.split_once(end).unwrap();
    hold(&path, &format!("{head}{begin}\n{}{end}{tail}", config::judgement_text()));
}

fn codes() -> String {
    let rows = Code::ALL.iter().map(|(_, code, meaning)| format!("| {code} | {meaning} |\n"));
    format!(
        "### Codes of problems\n\n| code | meaning |\n|---|---|\n{}\n",
        rows.collect::<String>()
    )
}

fn no_rules(name: &str, text: &str) -> Result<Vec<Problem>, Problems> {
    config::load_yaml::<Sample>(name, text, None).map(|_| Vec::new())
}

fn run_check(paths: &[PathBuf], output: CheckOutput, deny_warnings: bool) -> (u8, String) {
    let environment = environment();
    let mut out = Vec::new();
    let told = Check { paths, environment: &environment, rules: &no_rules, output, deny_warnings };
    let exit = check(&told, &mut out).unwrap();
    (exit, String::from_utf8(out).unwrap())
}

#[test]
fn check_has_an_exit_code_for_every_outcome_and_a_last_line() {
    let rules = tempfile::tempdir().unwrap();
    fs::write(rules.path().join("good.yaml"), "id: a\nwhen: {kind: rate, limit: 3}\n").unwrap();
    let good_rules = rules.path().to_owned();
    let bad = tempfile::tempdir().unwrap();
    fs::write(bad.path().join("bad.yaml"), "id: a\nwhen: {kind: rat, limit: 3}\n").unwrap();
    let bad_rules = bad.path().to_owned();
    let (minimal, full, many) = (
        fixtures().join("valid/minimal.yaml"),
        fixtures().join("valid/full.yaml"),
        fixtures().join("broken/many.yaml"),
    );
    for (paths, deny, exit, last) in [
        (vec![minimal.clone(), good_rules.clone()], true, 0, "ok: 2 files, 0 warnings"),
        (vec![full.clone()], false, 0, "ok: 1 file, 2 warnings"),
        (vec![full], true, 1, "failed: 1 file, 2 warnings, and warnings are denied"),
        (vec![minimal, bad_rules.clone()], false, 3, "failed: 2 files, 1 error, 0 warnings"),
        (vec![many, bad_rules], false, 4, "failed: 2 files, 28 errors, 0 warnings"),
        (vec![PathBuf::from("absent.yaml")], false, 4, "failed: 0 files, 1 error, 0 warnings"),
    ] {
        let (code, text) = run_check(&paths, CheckOutput::Text, deny);
        assert_eq!((code, text.lines().last().unwrap()), (exit, last), "{text}");
        let (code, text) = run_check(&paths, CheckOutput::Json, deny);
        let report: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((code, report["exit_code"].as_u64()), (exit, Some(u64::from(exit))));
    }
}

#[test]
fn show_talks_of_mistakes_and_writes_nothing_as_data() {
    let (mut out, mut talk) = (Vec::new(), Vec::new());
    let path = fixtures().join("broken/many.yaml");
    let exit =
        config_cmd::show(&path, &environment(), ShowOutput::Yaml, (&mut out, &mut talk)).unwrap();
    assert_eq!((exit, out.len()), (4, 0));
    assert!(String::from_utf8(talk).unwrap().contains("error[C012]"));
}

/// A file of another kind, with alternatives, as rules have.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only its shape matters")]
struct Sample {
    id: String,
    when: Condition,
    #[serde(default)]
    unless: Vec<Condition>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
#[expect(dead_code, reason = "only its shape matters")]
enum Condition {
    Rate { limit: u32 },
    Any { of: Vec<Condition> },
}

#[test]
fn alternatives_are_judged_against_the_one_that_is_meant() {
    let messages = |text: &str| -> Vec<String> {
        config::load_yaml::<Sample>("rule.yaml", text, None)
            .unwrap_err()
            .as_slice()
            .iter()
            .map(|p| format!("{}:{} {}", p.line, p.column, p.message))
            .collect()
    };
    assert_eq!(
        messages("id: a\nwhen: {kind: rat, limit: 3}\n"),
        ["2:14 `when.kind` must be `rate` or `any`, found the text `rat`"]
    );
    assert_eq!(
        messages("id: a\nwhen:\n  kind: any\n  of:\n  - {kind: rate, limt: 3}\n  - {limit: 3}\n"),
        [
            "5:18 unknown field `limt`, did you mean `limit`?",
            "6:5 the field `kind` is missing: `rate` or `any`",
        ]
    );
    assert_eq!(
        messages("id: $5\nwhen: {kind: rate, limit: many}\n"),
        ["2:27 `when.limit` must be a whole number, found the text `many`"]
    );
}

#[test]
fn mistakes_found_after_reading_point_into_the_file_too() {
    let text = "id: a\nwhen: {kind: rate, limit: 3}\n";
    let (_, places) = config::load_yaml_located::<Sample>("rule.yaml", text, None).unwrap();
    let at = |pointer| {
        let problem = places.problem(Code::Rule, pointer, "no", None);
        (problem.line, problem.column, problem.path)
    };
    assert_eq!(at("/when/limit"), (2, 27, "when.limit".to_owned()));
    assert_eq!(at("/when/absent"), (2, 1, "when.absent".to_owned()));
    assert_eq!(at("/absent"), (1, 1, "absent".to_owned()));
}

#[test]
fn rule_files_are_found_by_name_in_order() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["b.yaml", "a.yml", ".hidden.yaml", "readme.md"] {
        fs::write(directory.path().join(name), name).unwrap();
    }
    let files = config::load_rule_files(directory.path()).unwrap();
    let texts: Vec<&str> = files.iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!(texts, ["a.yml", "b.yaml"]);
    let empty = tempfile::tempdir().unwrap();
    assert!(config::load_rule_files(empty.path()).is_err());
}

fn read_twice(text: &str) -> Option<Config> {
    let (first, second) = (load(text), load(text));
    assert_eq!(first.as_ref().err(), second.as_ref().err());
    if let Err(problems) = &first {
        assert!(!problems.as_slice().is_empty(), "refused without a word: {text:?}");
        assert!(!problems.to_string().contains('\u{1b}'));
    }
    first.ok().map(|loaded| loaded.config)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        read_twice(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn no_text_made_of_yaml_marks_makes_it_panic(text in "[-?:,\\[\\]{}#&*!|>'\"%@` \n\ta-c0-2~<$/.=é]{0,80}") {
        read_twice(&text);
    }

    #[test]
    fn a_file_cut_or_garbled_anywhere_is_refused_in_words_or_read(
        at in 0_usize..1_400,
        noise in "[-:\\[\\]{}#&*!|'\" \n\ta0$]{0,4}",
        cut in any::<bool>(),
    ) {
        let text = fs::read_to_string(fixtures().join("valid/full.yaml")).unwrap();
        let at = (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap();
        let (head, tail) = text.split_at(at);
        let garbled = format!("{head}{noise}{}", if cut { "" } else { tail });
        if let Err(problems) = load(&garbled) {
            let told = format!("{problems}{problems:?}");
            prop_assert!(!told.contains(PLANTED));
        }
    }
}
