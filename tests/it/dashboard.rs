//! The dashboard and the alert rules as files: what can be said of them without a Prometheus.
//! Whether their queries find anything is `prometheus`.

use std::collections::BTreeSet;

use serde_json::Value;
use toolwarden::telemetry::METRICS;

use crate::support::{repository, text, yaml};

const SELECTOR: &str = r#"{job=~"$job",instance=~"$instance""#;

/// One query, and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Query {
    /// The panel or the alert.
    pub(crate) place: String,
    /// The PromQL, Grafana's variables not filled in.
    pub(crate) expression: String,
}

fn dashboard() -> Value {
    serde_json::from_str(&text("helm/toolwarden/files/dashboard.json")).expect("it is JSON")
}

fn panels(dashboard: &Value) -> Vec<&Value> {
    dashboard["panels"].as_array().expect("it has panels").iter().collect()
}

/// The panels that show something: all but the row titles.
fn charts(dashboard: &Value) -> Vec<&Value> {
    panels(dashboard).into_iter().filter(|panel| panel["type"] != "row").collect()
}

fn title(panel: &Value) -> &str {
    panel["title"].as_str().filter(|title| !title.is_empty()).expect("every panel has a title")
}

/// Every query of every panel.
pub(crate) fn panel_queries() -> Vec<Query> {
    let dashboard = dashboard();
    let queries = |panel: &Value| {
        let targets = panel["targets"].as_array().expect("every panel has targets").clone();
        let place = title(panel).to_owned();
        targets.into_iter().map(move |target| Query {
            place: place.clone(),
            expression: target["expr"].as_str().expect("a target has a query").to_owned(),
        })
    };
    charts(&dashboard).into_iter().flat_map(queries).collect()
}

fn alerts() -> Vec<Value> {
    let file = yaml(&text("helm/toolwarden/files/alerts.yaml")).remove(0);
    let groups = file["groups"].as_array().expect("it has groups").clone();
    groups.iter().flat_map(|group| group["rules"].as_array().expect("rules").clone()).collect()
}

/// The condition of every alert.
pub(crate) fn alert_queries() -> Vec<Query> {
    let string = |value: &Value| value.as_str().expect("it is a string").to_owned();
    let query =
        |rule: &Value| Query { place: string(&rule["alert"]), expression: string(&rule["expr"]) };
    alerts().iter().map(query).collect()
}

/// The names of toolwarden's own metrics in a query.
pub(crate) fn metric_names(expression: &str) -> BTreeSet<&str> {
    let outside = |c: char| !c.is_ascii_alphanumeric() && c != '_';
    expression.split(outside).filter(|word| word.starts_with("toolwarden_")).collect()
}

#[test]
fn panels_have_ids_of_their_own_and_stand_side_by_side_within_24_columns() {
    let dashboard = dashboard();
    let (mut ids, mut cells) = (BTreeSet::new(), BTreeSet::new());
    for panel in panels(&dashboard) {
        let name = title(panel);
        assert!(ids.insert(panel["id"].as_u64().expect("a number")), "{name}: id used twice");
        let [x, y, w, h] =
            ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64().expect("a number"));
        assert!(w > 0 && h > 0 && x + w <= 24, "{name}: outside of the 24 columns");
        for cell in (x..x + w).flat_map(|column| (y..y + h).map(move |line| (column, line))) {
            assert!(cells.insert(cell), "{name}: stands on another panel at {cell:?}");
        }
    }
}

#[test]
fn every_panel_says_what_it_shows_in_which_unit_from_the_chosen_data_source() {
    let units = ["none", "short", "ops", "s", "bytes", "Bps", "percentunit"];
    let dashboard = dashboard();
    for panel in charts(&dashboard) {
        let name = title(panel);
        let description = panel["description"].as_str().unwrap_or_default();
        assert!(description.ends_with('.'), "{name}: the description is a sentence");
        let unit = panel["fieldConfig"]["defaults"]["unit"].as_str().unwrap_or_default();
        assert!(units.contains(&unit), "{name}: unit `{unit}`");
        let targets = panel["targets"].as_array().expect("targets");
        assert!(!targets.is_empty(), "{name}: no query");
        for source in targets.iter().chain([panel]).map(|part| &part["datasource"]["uid"]) {
            assert_eq!(source, "${datasource}", "{name}");
        }
    }
}

#[test]
fn every_query_is_limited_to_the_chosen_job_and_instance() {
    for Query { place, expression } in panel_queries() {
        let metrics =
            expression.matches("toolwarden_").count() + expression.matches("process_").count();
        assert_eq!(expression.matches(SELECTOR).count(), metrics, "{place}: {expression}");
    }
}

#[test]
fn counters_are_read_as_rates_over_the_interval_grafana_gives() {
    for Query { place, expression } in panel_queries() {
        let mut before: Vec<&str> = expression.split("_total{").collect();
        before.pop();
        for counter in before {
            let (function, _) = counter.rsplit_once('(').expect("a counter stands in a function");
            assert!(function.ends_with("rate") || function.ends_with("increase"), "{place}");
        }
        for range in expression.split('[').skip(1) {
            let known = range.starts_with("$__rate_interval]") || range.starts_with("$__range]");
            assert!(known, "{place}: {expression}");
        }
    }
}

#[test]
fn the_dashboard_is_found_by_its_uid_and_chosen_by_data_source_job_and_instance() {
    let dashboard = dashboard();
    assert_eq!(dashboard["uid"], "toolwarden-overview");
    assert_eq!(dashboard["schemaVersion"], 39);
    assert_eq!(dashboard["editable"], false);
    assert!(dashboard["id"].is_null(), "Grafana gives the id");
    let variables = dashboard["templating"]["list"].as_array().expect("variables");
    let [source, job, instance] = variables.as_slice() else { panic!("three variables") };
    assert_eq!((&source["name"], &source["label"]), (&"datasource".into(), &"Data source".into()));
    for (variable, name) in [(job, "job"), (instance, "instance")] {
        assert_eq!((&variable["name"], &variable["label"]), (&name.into(), &name.into()));
        assert_eq!((&variable["multi"], &variable["allValue"]), (&true.into(), &".+".into()));
        assert_eq!(variable["datasource"]["uid"], "${datasource}");
        assert_eq!(variable["refresh"], 2, "new instances appear when the time range changes");
    }
}

#[test]
fn every_metric_on_the_dashboard_and_in_the_alerts_exists() {
    let known: BTreeSet<&str> = METRICS.iter().map(|metric| metric.name).collect();
    for Query { place, expression } in panel_queries().into_iter().chain(alert_queries()) {
        for name in metric_names(&expression) {
            let family =
                ["_bucket", "_count", "_sum"].iter().find_map(|end| name.strip_suffix(end));
            let exists = known.contains(name) || family.is_some_and(|name| known.contains(name));
            assert!(exists, "{place}: there is no metric {name}");
        }
    }
}

#[test]
fn every_alert_has_a_severity_a_plain_summary_and_a_runbook_in_four_parts() {
    let mut runbooks = BTreeSet::new();
    for rule in alerts() {
        let alert = rule["alert"].as_str().expect("a name");
        let severity = rule["labels"]["severity"].as_str().unwrap_or_default();
        assert!(["critical", "warning", "info"].contains(&severity), "{alert}: {severity}");
        let note = |name: &str| rule["annotations"][name].as_str().unwrap_or_default().to_owned();
        assert!(note("summary").ends_with('.') && !note("summary").contains("{{"), "{alert}");
        assert!(note("description").ends_with('.'), "{alert}");
        let runbook = note("runbook_url");
        assert_eq!(runbook, format!("docs/runbooks/operations/{alert}.md"));
        let page = text(&runbook);
        let parts: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("## ")).collect();
        assert_eq!(parts, ["Meaning", "Impact", "Diagnosis", "Mitigation"], "{runbook}");
        runbooks.insert(format!("{alert}.md"));
    }
    let files = repository("docs/runbooks/operations").read_dir().expect("there are runbooks");
    let files: BTreeSet<String> = files
        .map(|file| file.expect("readable").file_name().into_string().expect("UTF-8"))
        .collect();
    assert_eq!(files, runbooks, "runbooks and alerts go together");
}
