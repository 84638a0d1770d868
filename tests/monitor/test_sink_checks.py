"""Sinks are asked whether they could deliver, without one being opened: what `sri monitor --check` says of each."""

import socket
import threading
import time

import pytest
from click.testing import CliRunner
from sri_plugin_sinks.jsonl import JsonlSink
from sri_plugin_sinks.prometheus import PrometheusSink

from sri_sdk.cli import main
from sri_sdk.monitor.reading import read_monitor
from sri_sdk.monitor.sink_checks import check_sinks

from .test_operate import DATASET


@pytest.fixture
def listening():
    """A port on which something else listens."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock.getsockname()[1]


def numbers(port: int) -> dict:
    return {"name": "prometheus", "options": {"port": port}}


def checked(write_monitor, *sinks, timeout_s: float = 10.0):
    return check_sinks(read_monitor(write_monitor(sinks=list(sinks))).settings, timeout_s)


def test_each_sink_says_by_its_name_whether_it_could_deliver(write_monitor, tmp_path, listening) -> None:
    lines = {"name": "jsonl", "label": "lines", "options": {"path": str(tmp_path / "new" / "verdicts.jsonl")}}
    store = {"name": "sql", "options": {"url": f"sqlite:///{tmp_path}/verdicts.db"}}
    nobody = {"name": "webhook", "options": {"url": "http://127.0.0.1:9"}}
    found = checked(write_monitor, lines, store, nobody, numbers(listening))
    assert [(each.called, each.outcome) for each in found] == [
        ("lines", "ok"), ("sql", "ok"), ("webhook", "failed"), ("prometheus", "failed"),
    ]  # fmt: skip
    assert found[0].line.startswith("sink lines: ok: ") and "webhook: cannot deliver: http://127" in found[2].line
    assert [each.name for each in tmp_path.iterdir()] == ["monitor.yaml"], "nothing was made"


def test_a_line_names_its_sink_once(write_monitor, tmp_path) -> None:
    webhook = {"name": "webhook", "options": {"url": "http://127.0.0.1:9", "secret_file": str(tmp_path / "none")}}
    (found,) = checked(write_monitor, webhook)
    assert found.line.startswith("sink webhook: cannot deliver: secret_file: ")


def test_the_port_of_the_monitor_that_runs_is_no_fault(write_monitor) -> None:
    sink = PrometheusSink(PrometheusSink.Config(port=0))
    try:
        (found,) = checked(write_monitor, numbers(sink.port))
    finally:
        sink.close()
    assert found.outcome == "ok" and "a monitor listens there" in found.says
    (found,) = checked(write_monitor, numbers(sink.port))
    assert found.outcome == "ok" and found.says.endswith("is free")


def test_one_that_hangs_or_ends_the_process_costs_the_others_nothing(write_monitor, tmp_path, monkeypatch) -> None:
    never = threading.Event()

    def check(config, timeout_s):
        if config.path.name == "hangs":
            never.wait()
        raise SystemExit(3)

    monkeypatch.setattr(JsonlSink, "check", classmethod(lambda cls, *asked: check(*asked)))
    names = ("hangs", "ends")
    sinks = [{"name": "jsonl", "label": name, "options": {"path": str(tmp_path / name)}} for name in names]
    began = time.monotonic()
    found = checked(write_monitor, *sinks, {"name": "prometheus", "options": {"port": 0}}, timeout_s=0.5)
    never.set()
    assert time.monotonic() - began < 5.0
    assert [each.outcome for each in found] == ["failed", "failed", "ok"]
    assert "has not returned within 0.5 s" in found[0].says and "SystemExit" in found[1].says


def test_an_older_sink_is_said_not_to_be_checked(write_monitor, tmp_path, monkeypatch) -> None:
    def check(self):
        raise AssertionError("something else of that name")

    for older in (JsonlSink.__base__.check, check):
        monkeypatch.setattr(JsonlSink, "check", older)
        (found,) = checked(write_monitor, {"name": "jsonl", "options": {"path": str(tmp_path / "lines")}})
        assert found.outcome == "unknown" and found.line.startswith("sink jsonl: not checked: ")


def test_the_command_says_it_first_and_ends_with_1_where_one_could_not(write_monitor, tmp_path, listening) -> None:
    lines = {"name": "jsonl", "options": {"path": str(tmp_path / "verdicts.jsonl")}}
    path = write_monitor(requests=DATASET, sinks=[lines, numbers(listening)])
    done = CliRunner().invoke(main, ["monitor", str(path), "--check"])
    assert done.exit_code == 1 and "error: sinks that cannot deliver now: prometheus" in done.stderr
    assert done.stderr.index("sink jsonl: ok") < done.stderr.index("loading the model")
    assert "not started: only checked" in done.stderr, "the rest is checked all the same"
