//! The Helm chart, rendered by Helm itself. Nothing here talks to a cluster.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::{fail, repository, slow_tests_are_wanted, succeed, text, variable, yaml};

const VALUES: [&str; 2] = ["default", "full"];

/// `helm COMMAND`, or `None` where slow tests are not wanted.
fn helm(command: &str) -> Option<Command> {
    if !slow_tests_are_wanted() {
        return None;
    }
    let program = variable("TOOLWARDEN_HELM").expect("scripts/test sets TOOLWARDEN_HELM");
    let mut helm = Command::new(program);
    helm.arg(command).current_dir(repository("helm/toolwarden"));
    Some(helm)
}

/// `helm template` with one of the values files under `ci/`.
fn template(values: &str) -> Option<Command> {
    let mut command = helm("template")?;
    command.args(["release", ".", "--namespace", "security", "--kube-version", "1.31.0"]);
    command.args(["--values", &format!("ci/{values}-values.yaml")]);
    Some(command)
}

fn rendered(values: &str) -> Option<Vec<Value>> {
    Some(yaml(&succeed(&mut template(values)?)))
}

fn of_kind<'a>(objects: &'a [Value], kind: &str) -> &'a Value {
    let found = objects.iter().find(|object| object["kind"] == kind);
    found.unwrap_or_else(|| panic!("no {kind} was rendered"))
}

fn configuration(objects: &[Value]) -> &str {
    let file = |object: &'_ Value| object["data"]["toolwarden.yaml"].is_string();
    let map = objects.iter().find(|object| file(object)).expect("a ConfigMap has the file");
    map["data"]["toolwarden.yaml"].as_str().expect("it is a string")
}

#[test]
fn the_chart_passes_the_strict_lint() {
    for values in VALUES {
        let Some(mut lint) = helm("lint") else { return };
        lint.args([".", "--strict", "--kube-version", "1.31.0"]);
        succeed(lint.args(["--values", &format!("ci/{values}-values.yaml")]));
    }
}

#[test]
fn every_container_keeps_the_restricted_pod_security_standard() {
    for values in VALUES {
        let Some(objects) = rendered(values) else { return };
        let pods = [
            of_kind(&objects, "StatefulSet").pointer("/spec/template/spec"),
            of_kind(&objects, "Pod").pointer("/spec"),
        ];
        for pod in pods.map(|pod| pod.expect("it has a pod")) {
            assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
            assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
            assert_eq!(pod["automountServiceAccountToken"], false);
            for container in pod["containers"].as_array().expect("it has containers") {
                let context = &container["securityContext"];
                assert_eq!(context["allowPrivilegeEscalation"], false);
                assert_eq!(context["readOnlyRootFilesystem"], true);
                assert_eq!(context["capabilities"]["drop"][0], "ALL");
            }
        }
    }
}

#[test]
fn everything_that_can_be_switched_on_is_rendered_when_it_is() {
    let (Some(default), Some(full)) = (rendered("default"), rendered("full")) else { return };
    let optional = ["NetworkPolicy", "PrometheusRule", "ServiceMonitor"];
    for kind in optional {
        of_kind(&full, kind);
        assert!(default.iter().all(|object| object["kind"] != kind), "{kind} is off by default");
    }
}

#[test]
fn a_disabled_alert_is_left_out_and_the_others_name_the_runbook_base() {
    let Some(objects) = rendered("full") else { return };
    let groups = of_kind(&objects, "PrometheusRule")["spec"]["groups"].as_array().cloned();
    let rules = groups.iter().flatten().flat_map(|group| group["rules"].as_array().cloned());
    let rules: Vec<Value> = rules.flatten().collect();
    let shipped = yaml(&text("helm/toolwarden/files/alerts.yaml"));
    let shipped = shipped[0]["groups"].as_array().expect("groups").iter();
    let shipped: usize = shipped.map(|group| group["rules"].as_array().map_or(0, Vec::len)).sum();
    assert_eq!(rules.len(), shipped - 1);
    for rule in &rules {
        assert_ne!(rule["alert"], "ToolwardenNoInput");
        assert_eq!(rule["labels"]["team"], "security");
        let runbook = rule["annotations"]["runbook_url"].as_str().expect("it has a runbook");
        assert!(runbook.starts_with("https://runbooks.example.com/docs/runbooks/"), "{runbook}");
    }
}

#[test]
fn values_with_a_mistake_fail_the_schema() {
    let mistakes = [
        "config.kafka.brkers[0]=kafka:9092",
        "config.kafka.brokers=kafka:9092",
        "config.kafka.commit_interval=1 second",
        "config.kafka.start=beginning",
        "config.sources=null",
        "config.sources[0].format=csv",
        "config.receivers[0].name=soc",
        "config.server.listen=9464",
        "image.pullPolicy=Sometimes",
        "replicas=3",
        "prometheusRule.disabled.NoInput=true",
    ];
    for mistake in mistakes {
        let Some(mut command) = template("default") else { return };
        let said = fail(command.args(["--set", mistake]));
        assert!(said.contains("schema"), "{mistake}: {said}");
    }
}

#[test]
fn the_packaged_chart_has_no_tests_in_it() {
    let Some(mut package) = helm("package") else { return };
    let target = tempfile::tempdir().expect("a directory");
    succeed(package.args([".", "--destination"]).arg(target.path()));
    let archive = fs::read_dir(target.path()).expect("it is there").next().expect("one file");
    let list = succeed(Command::new("tar").arg("-tzf").arg(archive.expect("readable").path()));
    assert!(list.contains("toolwarden/files/alerts.yaml"), "{list}");
    assert!(!list.contains("alerts_test") && !list.contains("/ci/"), "{list}");
}

/// Puts the mounted files of `/etc/toolwarden` under `base`, so that the check finds them.
fn mount(configuration: &str, base: &Path) -> String {
    let secrets = base.join("secrets");
    fs::create_dir_all(&secrets).expect("a directory for secrets");
    for (name, content) in [
        ("ca.crt", "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"),
        ("kafka-password", "correct horse\n"),
        ("hash-key", "Zk3mX9vQ1tR7wB5nL2pD\n"),
        ("state-key", "Qm8tY2vK5rW9xN3cL7pZ4bD6hJ1sF0gA\n"),
        ("soc-url", "https://soc.example.com/hooks/1\n"),
        ("soc-signing-secret", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYqr\n"),
        ("soc-previous-secret", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD\n"),
    ] {
        fs::write(secrets.join(name), content).expect("a secret is written");
    }
    configuration.replace("/etc/toolwarden", &base.display().to_string())
}

/// Every field a schema knows, written as a path.
fn fields(schema: &Value, root: &Value, at: &str, found: &mut BTreeSet<String>) {
    if let Some(reference) = schema["$ref"].as_str() {
        let target = root.pointer(reference.trim_start_matches('#')).expect("it leads somewhere");
        return fields(target, root, at, found);
    }
    let alternatives = ["anyOf", "allOf", "oneOf"].map(|word| schema[word].as_array());
    for alternative in alternatives.into_iter().flatten().flatten() {
        fields(alternative, root, at, found);
    }
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{at}.{name}");
        fields(field, root, &path, found);
        found.insert(path);
    }
    if schema["items"].is_object() {
        fields(&schema["items"], root, &format!("{at}[]"), found);
    }
}

#[test]
fn the_charts_schema_knows_the_same_configuration_as_the_program() {
    let text = text("helm/toolwarden/values.schema.json");
    let chart: Value = serde_json::from_str(&text).expect("it is JSON");
    let program = toolwarden::config::schema();
    let (mut here, mut there) = (BTreeSet::new(), BTreeSet::new());
    fields(&chart["definitions"]["config"], &chart, "", &mut here);
    fields(&program, &program, "", &mut there);
    assert_eq!(here, there);
}

#[test]
fn the_rendered_configuration_passes_the_programs_own_check() {
    for values in VALUES {
        let Some(objects) = rendered(values) else { return };
        let base = tempfile::tempdir().expect("a directory");
        let file = base.path().join("toolwarden.yaml");
        fs::write(&file, mount(configuration(&objects), base.path())).expect("it is written");
        succeed(check().arg(&file));
        let broken = mount(configuration(&objects), base.path()).replace("brokers:", "brkers:");
        fs::write(&file, broken).expect("it is written");
        assert!(fail(check().arg(&file)).contains("brkers"), "the check looks at the file");
    }
}

fn check() -> Command {
    let mut check = Command::new(env!("CARGO_BIN_EXE_toolwarden"));
    check.args(["check", "--config"]);
    // As the chart sets it.
    check.env("POD_NAME", "toolwarden-0");
    check
}
