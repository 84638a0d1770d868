"""`sri check`."""

import json

import pytest
import sri_plugin_toy.detector
from click.testing import CliRunner
from sri_plugin_toy.detector import ToyDetector

from sri_sdk import registry
from sri_sdk.cli import main
from sri_sdk.plugin import Config
from sri_sdk.sink import Sink
from sri_sdk.testing import SinkCase


def check(*arguments: str):
    return CliRunner().invoke(main, ["check", *arguments])


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("detector", "toy"),
        ("detectors", "autoencoder"),
        ("exporter", "onnx"),
        ("hook", "toy"),
        ("sampler", "toy"),
        ("judge", "lab"),
        ("dataset", "lab"),
        ("dataset", "xstest"),
        ("judge", "llm"),
        ("baseline", "refusal-dictionary"),
        ("attack", "random-search"),
    ],
)
def test_a_first_party_plugin_passes(kind: str, name: str) -> None:
    done = check(kind, name)
    assert done.exit_code == 0, done.output
    header, *rows, last = done.stdout.splitlines()
    assert header.split() == ["CHECK", "STATE", "SECONDS", "MESSAGE"]
    assert {row.split()[1] for row in rows} == {"passed"}
    assert last == f"{kind.removesuffix('s')}s plugin '{name}': {len(rows)} of {len(rows)} checks passed"


@pytest.fixture
def upside_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """The toy detector, with the wrong sign."""
    score, export = ToyDetector.score, ToyDetector.export
    monkeypatch.setattr(ToyDetector, "score", lambda self, signals: -score(self, signals))
    monkeypatch.setattr(ToyDetector, "export", lambda self, graph, signals: export(self, graph, signals) * -1)
    # A fresh process does not know of this change.
    monkeypatch.setattr(ToyDetector, "__module__", "__main__")


@pytest.mark.usefixtures("upside_down")
def test_a_failed_check_is_named_with_its_numbers_and_exits_with_1() -> None:
    done = check("detector", "toy")
    assert done.exit_code == 1
    (row,) = [line for line in done.stdout.splitlines() if " failed " in line]
    assert row.startswith("direction ") and "AUROC 0.00 on planted attacks" in row
    (said,) = [line for line in done.stdout.splitlines() if line.startswith("restored-equals")]
    assert " passed " in said and "no fresh process" in said


@pytest.mark.usefixtures("upside_down")
def test_json_holds_every_check() -> None:
    done = check("detector", "toy", "--json")
    found = json.loads(done.stdout)
    assert done.exit_code == 1
    assert (found["kind"], found["name"], found["passed"], len(found["checks"])) == ("detectors", "toy", False, 24)
    assert set(found["checks"][0]) == {"name", "state", "message", "seconds"}


@pytest.mark.usefixtures("upside_down")
def test_a_known_failure_counts_as_passed_and_keeps_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"direction": "upside down, see the tracker"}
    monkeypatch.setattr(sri_plugin_toy.detector, "SRI_KNOWN_FAILURES", known, raising=False)
    done = check("detector", "toy")
    assert done.exit_code == 0, done.output
    assert "known   " in done.stdout and "upside down, see the tracker" in done.stdout
    assert "23 of 24 checks passed" in done.stdout


@pytest.mark.parametrize(
    ("known", "message"),
    [
        ({"bearing": "typo"}, "error: known failures: no check is named bearing; checks: one-score-per-row"),
        ({"direction": 3}, "error: sri_plugin_toy.detector.SRI_KNOWN_FAILURES: found .*, must be a dict from names"),
    ],
)
def test_a_wrong_mark_is_refused(monkeypatch: pytest.MonkeyPatch, known: object, message: str) -> None:
    monkeypatch.setattr(sri_plugin_toy.detector, "SRI_KNOWN_FAILURES", known, raising=False)
    done = check("detector", "toy")
    assert done.exit_code == 1
    assert done.stderr.startswith(message.partition(" found")[0])


def test_explain_prints_every_promise_and_runs_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ToyDetector, "fit", None)
    done = check("detector", "toy", "--explain")
    assert done.exit_code == 0
    assert "not-constant\n    Harmless generations get different scores." in done.stdout
    promises = json.loads(check("detector", "toy", "--explain", "--json").stdout)
    assert len(promises) == 24 and set(promises[0]) == {"name", "promise", "known"}


class LoudSink(Sink):
    def emit(self, verdict):
        raise OSError("disk full")


def test_a_sink_is_built_and_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    info = registry.PluginInfo("sinks", "loud", f"{__name__}:LoudSink", "made-up", "1")
    monkeypatch.setattr(registry, "installed", lambda kind: [info])
    monkeypatch.setattr(registry, "load", lambda kind, name: LoudSink)
    monkeypatch.setattr(registry, "build", lambda kind, name, options: LoudSink())
    done = check("sink", "loud")
    assert done.exit_code == 1
    assert "LoudSink.emit(): a verdict 'clear' of 'clear-0' raises OSError: disk full." in done.stdout


class PortSink(Sink):
    """Delivers to a list, which stands for a port."""

    class Config(Config):
        port: int

    def __init__(self, config=None):
        super().__init__(config)
        self.arrived = []

    def emit(self, verdict):
        if not self.config.port:
            raise ConnectionRefusedError("port 0")
        self.arrived.append(verdict.request_id)


class TriedSink(PortSink):
    @classmethod
    def example(cls):
        sink = cls(cls.Config(port=9))
        return SinkCase(sink, delivered=lambda: sink.arrived, dead=lambda: cls(cls.Config(port=0)))


def checked_sink(monkeypatch: pytest.MonkeyPatch, sink: type[Sink]):
    info = registry.PluginInfo("sinks", "port", f"{__name__}:{sink.__name__}", "made-up", "1")
    monkeypatch.setattr(registry, "installed", lambda kind: [info])
    monkeypatch.setattr(registry, "load", lambda kind, name: sink)
    return check("sink", "port")


def test_the_example_of_a_sink_says_what_arrived_and_brings_a_dead_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    done = checked_sink(monkeypatch, TriedSink)
    states = {row.split()[0]: row.split()[1] for row in done.stdout.splitlines()[1:-1]}
    assert len(states) > 4
    assert states == dict.fromkeys(states, "passed") | {"a-dead-endpoint-does-not-raise": "failed"}
    assert "raises ConnectionRefusedError: port 0" in done.stdout


def test_a_plugin_that_needs_options_and_has_no_example_is_one_line_with_the_cure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done = checked_sink(monkeypatch, PortSink)
    assert done.exit_code == 1 and done.stdout == ""
    assert "'port': port: required" in done.stderr and "give it a classmethod `example`" in done.stderr


def test_an_unknown_kind_and_an_unknown_name_are_answered_with_what_there_is() -> None:
    done = check("detektor", "toy")
    assert done.exit_code == 2
    kinds = "hook, sampler, detector, exporter, sink, judge, dataset, attack, baseline"
    assert f"kinds: {kinds}. Did you mean 'detector'?" in " ".join(done.stderr.split())
    done = check("detector", "tiy")
    assert done.exit_code == 1
    assert "Did you mean 'toy'?" in done.stderr
