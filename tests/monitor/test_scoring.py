"""Where signals become verdicts: a scorer that dies or never was there costs verdicts, and no generation."""

import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from sri_sdk.bundle.bundle import Bundle
from sri_sdk.serve.build import build_app
from sri_sdk.serve.settings import ServeSettings
from tests.serve.conftest import running

from .conftest import asked


def wait_for(true, seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, "it did not come to that"
        time.sleep(0.02)


@pytest.fixture
def local(open_driver):
    """A driver whose scorer is a process of its own, and the texts and verdicts of scoring in this one."""
    here, _ = open_driver(mode="enforce", policy={"rule": "final", "flagged": "report", "unmonitored": "report"})
    expected: list = []
    here.generate(asked(8, 0, expected))
    here._monitor.close()
    policy = {"rule": "final", "flagged": "report", "unmonitored": "abort"}
    driver, monitor = open_driver(mode="enforce", policy=policy, scoring={"where": "local", "budget_s": 30})
    return driver, monitor, expected


def test_a_scorer_that_is_killed_costs_verdicts_and_no_generation_and_comes_back(local) -> None:
    driver, monitor, expected = local
    place = monitor.live.place
    answers: list = []
    driver.generate(asked(8, 0, answers))
    assert [each.observation.verdict for each in answers] == [each.observation.verdict for each in expected]
    first = place.pid

    os.kill(first, signal.SIGKILL)
    during: list = []
    driver.generate(asked(8, 0, during))
    while monitor.pulse.scorer is None and not any(each.decision.withheld for each in during):
        driver.generate(asked(8, 0, during := []))
    # The generation itself was unharmed, the gap is counted, and the policy is applied: unmonitored = abort.
    gap = [each for each in during if each.observation.verdict.status == "unmonitored"]
    assert gap and {each.observation.verdict.reasons for each in gap} == {("scorer_unavailable",)}
    assert all(each.response is None and each.observation.consequence == "withheld" for each in gap)
    assert {each.observation.verdict.steps_seen for each in gap} == {8}, "every step was taken and seen"
    assert monitor.balance.unmonitored >= len(gap) and monitor.balance.even

    assert place.wait_ready(60) and place.pid != first and place.restarts >= 1
    after: list = []
    driver.generate(asked(8, 0, after))
    assert [each.observation.verdict for each in after] == [each.observation.verdict for each in expected]
    assert [each.response for each in after] == [each.response for each in expected]
    assert monitor.pulse.scorer is None
    pid = place.pid
    monitor.close()
    wait_for(lambda: not Path(f"/proc/{pid}").exists())


def test_a_server_that_is_down_costs_verdicts_within_the_budget(open_driver) -> None:
    driver, monitor = open_driver(
        scoring={"where": "remote", "url": "http://127.0.0.1:9", "bundle": "toy", "budget_s": 0.2}
    )
    answers: list = []
    driver.generate(asked(4, 0, answers))
    assert {each.observation.verdict.reasons for each in answers} == {("scorer_unavailable",)}
    assert all(each.response for each in answers), "the policy says unmonitored: report"
    assert monitor.pulse.scorer == "scorer_unavailable" and monitor.pulse.unmonitored == 4


def test_a_server_that_has_the_guard_scores_as_this_process_does(open_driver, toy_folder, tmp_path) -> None:
    here, first = open_driver()
    expected = [each.verdict for each in here.generate(asked(4))]
    first.close()
    store = {"url": f"sqlite:///{tmp_path}/served.db"}
    built = build_app(
        ServeSettings.model_validate({"bundles": {"toy": {"path": toy_folder / "guard" / "bundle"}}, "store": store})
    )
    with running(built) as url:
        driver, monitor = open_driver(scoring={"where": "remote", "url": url, "bundle": "toy", "budget_s": 30})
        assert [each.verdict for each in driver.generate(asked(4))] == expected
        assert monitor.pulse.scorer is None
        monitor.close()


def test_a_server_with_another_guard_gives_no_verdict_and_the_pulse_says_so(open_driver, toy_folder, tmp_path) -> None:
    other = tmp_path / "other"
    shutil.copytree(toy_folder / "guard" / "bundle", other)
    manifest = Bundle.read(other).manifest
    # The same anchors, graphs and thresholds: only the digest tells it from the monitor's own.
    told = manifest.model_copy(update={"producer": {**manifest.producer, "sri-sdk": "0.0.0"}}).to_bytes()
    (other / "manifest.json").write_bytes(told)
    built = build_app(
        ServeSettings.model_validate({
            "bundles": {"toy": {"path": other}}, "store": {"url": f"sqlite:///{tmp_path}/served.db"},
        })
    )  # fmt: skip
    with running(built) as url:
        driver, monitor = open_driver(scoring={"where": "remote", "url": url, "bundle": "toy", "budget_s": 30})
        found = driver.generate(asked(4))
        assert {each.verdict.reasons for each in found} == {("scorer_other_guard",)}
        assert monitor.balance.unmonitored == 4 and monitor.pulse.scorer == "scorer_other_guard"
        monitor.close()
