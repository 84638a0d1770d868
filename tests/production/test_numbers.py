"""What docs/production offers for Prometheus and Grafana is about numbers that the sink `prometheus` really exports."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from sri_plugin_sinks.prometheus import PrometheusSink

import sri_sdk
from sri_sdk import strict_json

ROOT = Path(__file__).parents[2]
FILES = ROOT / "docs" / "production"
RULES = FILES / "alerts.yaml"
PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="no promtool here; Debian's package prometheus has it")


@pytest.fixture(scope="module")
def exported():
    """Name of a sample -> names of its labels, of a sink that has seen everything there is."""
    sink = PrometheusSink(PrometheusSink.Config(port=0))
    try:
        state = sri_sdk.SinkState("sql", 1, 1, 0, 0, 0)
        sink.pulse(
            sri_sdk.Pulse(
                "chat", 2, 1, 7, "enforce", "lab", "b" * 64, 0.01, sinks=(state,), canary_at=2, canary_every_s=600.0
            )
        )
        verdict = sri_sdk.Verdict("r1", "unmonitored", ("tap_silent",))
        sink.deliver([sri_sdk.Observation(verdict, 1, audited=True, generation_s=1.0, scoring_s=0.1)])
        families = list(text_string_to_metric_families(sink.text()))
    finally:
        sink.close()
    return {sample.name: set(sample.labels) for family in families for sample in family.samples}


def rules():
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def dashboard():
    return strict_json.parse((FILES / "grafana.json").read_bytes())


def panels():
    return dashboard()["panels"]


def dashboard_queries():
    found = dashboard()
    queries = [target["expr"] for panel in found["panels"] for target in panel.get("targets", [])]
    return [*queries, *(each["expr"] for each in found["annotations"]["list"])]


def plain(query):
    """A query of the dashboard as Prometheus gets it."""
    return query.replace("$__rate_interval", "5m").replace("$deployment", ".*")


QUERIES = [
    *((rule["alert"], rule["expr"]) for rule in rules()),
    *((f"panel {i}", q) for i, q in enumerate(dashboard_queries())),
]


@pytest.mark.parametrize("query", [query for _, query in QUERIES], ids=[name for name, _ in QUERIES])
def test_every_query_is_about_numbers_and_labels_that_are_exported(exported, query):
    named = re.findall(r"(sri_\w+)(?:\{([^}]*)\})?", query)
    assert named or "ALERTS" in query
    for name, selectors in named:
        assert name in exported
        assert set(re.findall(r"(\w+)(?:=|!)", selectors)) <= exported[name], name
    grouped = {label.strip() for found in re.findall(r"\b(?:by|on) \(([^)]*)\)", query) for label in found.split(",")}
    for name, _ in named:
        assert grouped <= exported[name], name


def test_what_an_alert_says_has_the_labels_that_it_is_told_by(exported):
    for rule in rules():
        told = set(re.findall(r"\$labels\.(\w+)", f"{rule['annotations']}"))
        (kept, *_) = re.findall(r"\bby \(([^)]*)\)", rule["expr"]) or [None]
        known = exported[re.search(r"sri_\w+", rule["expr"])[0]]
        assert told <= (known if kept is None else {each.strip() for each in kept.split(",")}), rule["alert"]
        assert rule["labels"]["severity"] in ("page", "ticket", "info")


def test_the_page_names_every_number_and_no_other(exported):
    page = (ROOT / "docs" / "sinks.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^\| `(sri_monitor_\w+)` \|", page, re.MULTILINE))
    names = {re.sub(r"_(bucket|count|sum)$", "", name) for name in exported}
    assert listed == names
    assert {rule["alert"] for rule in rules()} == set(re.findall(r"^\| `(Sri\w+)` \|", page, re.MULTILINE))


def test_each_alert_is_found_by_its_name_on_the_page_that_says_what_to_do():
    page = (ROOT / "docs" / "when-it-alarms.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(Sri\w+)` \|[^|]+\| \[[^]]+\]\((#[\w-]+)\) \|$", page, re.MULTILINE))
    headings = {
        "#" + re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in re.findall(r"^## (.+)$", page, re.M)
    }
    assert set(rows.values()) <= headings
    found = {rule["alert"]: rule["annotations"]["runbook_url"] for rule in rules()}
    assert found == {alert: f"docs/when-it-alarms.md{anchor}" for alert, anchor in rows.items()}


def test_the_panels_of_the_dashboard_stand_side_by_side():
    found = panels()
    assert len({panel["id"] for panel in found}) == len(found) > 15
    taken = set()
    for panel in found:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24 and not cells & taken, panel["title"]
        taken |= cells
        assert panel["type"] == "row" or (panel["description"] and panel["datasource"]["uid"] == "${datasource}")


def test_every_query_of_the_dashboard_asks_for_the_chosen_deployments():
    for query in dashboard_queries():
        assert query.count('deployment=~"$deployment"') == len(re.findall(r"sri_\w+|ALERTS", query))


@needs_promtool
def test_prometheus_takes_the_rules_and_every_query(tmp_path):
    recorded = [{"record": f"query:{i}", "expr": plain(query)} for i, query in enumerate(dashboard_queries())]
    made = tmp_path / "dashboard.yaml"
    made.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": recorded}]}))
    done = subprocess.run([PROMTOOL, "check", "rules", str(RULES), str(made)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_the_alerts_fire_when_they_should_and_at_no_other_time(tmp_path):
    for file in (RULES, Path(__file__).parent / "alerts.test.yaml"):
        shutil.copy(file, tmp_path)
    done = subprocess.run([PROMTOOL, "test", "rules", "alerts.test.yaml"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_tried():
    tried = (Path(__file__).parent / "alerts.test.yaml").read_text()
    quiet, _, loud = tried.partition("a process that hangs")
    for rule in rules():
        assert rule["alert"] in quiet and (rule["alert"] in loud or "SriSink.*" in loud), rule["alert"]


@pytest.mark.parametrize(
    ("alert", "says", "not_said"),
    [("SriReloadFailed", "a restart", "would fail"), ("SriFlagged", "on average", "them, at most")],
)
def test_an_alert_says_no_more_than_is_so(alert, says, not_said):
    (description,) = (rule["annotations"]["description"] for rule in rules() if rule["alert"] == alert)
    assert says in description and not_said not in description
