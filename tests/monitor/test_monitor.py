"""`Monitor.watch` in the operator's own process, reloads, and what a pulse says."""

import os
import shutil

import pytest
import torch
import yaml

from sri_sdk.errors import BundleError, ConfigError, GenerationAborted, ModelMismatch
from sri_sdk.monitor.monitor import Monitor
from sri_sdk.monitor.reading import read_monitor

from .conftest import prompts


def generate(deployment, count: int = 2) -> torch.Tensor:
    """What a user's own code does: the sampler's steps, without any tap of ours."""
    from sri_sdk.capture.drive import generate_untapped

    return generate_untapped(deployment.hook, deployment.loaded, deployment.sampler, prompts(count))


def own(write_monitor, **changes):
    policy = {"rule": "final", "flagged": "abort", "unmonitored": "report"}
    return {"config": None, "policy": policy, **changes}


def test_a_generation_of_ones_own_is_watched_and_its_texts_are_the_same(open_monitor, write_monitor, deployment, kept):
    monitor = open_monitor(**own(write_monitor))
    alone = generate(deployment)
    with monitor.watch(deployment.loaded.model, request_ids=["a", "b"], tenant="acme", hook=deployment.hook) as run:
        assert [each.request_id for each in monitor.board.running()] == ["a", "b"]
        assert generate(deployment) == alone
    assert [each.request_id for each in run.verdicts] == ["a", "b"]
    assert {each.status for each in run.verdicts} <= {"clear", "flagged"}
    assert all(not decision.withheld for decision in run.decisions)
    assert run.recorded.result(20) is None and monitor.flush(20)
    assert [(each.request_id, each.tenant) for each in kept.observations] == [("a", "acme"), ("b", "acme")]
    assert monitor.balance.generated == 2 and not monitor.board.running()


def test_what_is_not_sampled_has_no_tap_and_is_said_to_be_not_sampled(open_monitor, write_monitor, deployment) -> None:
    monitor = open_monitor(**own(write_monitor, sample=0.0))
    with monitor.watch(deployment.loaded.model, request_ids=["a", "b"], hook=deployment.hook) as run:
        assert not deployment.loaded.model.embed._forward_hooks
        generate(deployment)
    assert run.run is None and {each.status for each in run.verdicts} == {"not_sampled"}
    assert not any(each.audited or each.audit_rate for each in run.observations)
    assert monitor.balance.not_sampled == 2 and monitor.balance.even


def test_a_generation_that_raises_is_unmonitored_and_counted(open_monitor, write_monitor, deployment) -> None:
    monitor = open_monitor(**own(write_monitor))
    with (
        pytest.raises(ZeroDivisionError),
        monitor.watch(deployment.loaded.model, request_ids=["a"], hook=deployment.hook) as run,
    ):
        raise ZeroDivisionError
    assert [each.verdict.status for each in run.observations] == ["unmonitored"]
    assert monitor.balance.generated == monitor.balance.unmonitored == 1


def test_a_model_of_another_guard_is_refused_and_nothing_is_counted(open_monitor, write_monitor, deployment) -> None:
    from sri_plugin_toy.hook import ToyHook
    from sri_plugin_toy.model import build

    monitor, other = open_monitor(**own(write_monitor)), build(1)
    with pytest.raises(ModelMismatch), monitor.watch(other, request_ids=["a"], hook=ToyHook(other)):
        pass
    assert monitor.balance.begun == monitor.balance.generated == 0


@pytest.mark.parametrize("mode", ["observe", "enforce"])
def test_a_running_generation_is_stopped_only_where_the_policy_is_enforced(
    open_monitor, write_monitor, deployment, mode
) -> None:
    monitor = open_monitor(**own(
        write_monitor, mode=mode, policy={"rule": "online", "flagged": "abort", "unmonitored": "report"}
    ))  # fmt: skip
    scorer = monitor.live.guard.scorer
    from dataclasses import replace

    # Everything alarms.
    scorer.thresholds["online"] = replace(scorer.thresholds["online"], value=-1e30)
    stopped = False
    try:
        with monitor.watch(deployment.loaded.model, request_ids=["a", "b"], hook=deployment.hook) as run:
            generate(deployment)
    except GenerationAborted:
        stopped = True
    assert stopped is (mode == "enforce")
    assert {each.verdict.status for each in run.observations} == {"flagged"}
    assert {each.consequence for each in run.observations} == {"withheld" if stopped else "would_withhold"}


def test_a_reload_brings_what_is_new_and_says_nothing(open_monitor, write_monitor) -> None:
    monitor = open_monitor(sample=1.0)
    before = monitor.live
    write_monitor(sample=0.25, mode="enforce", store_texts=True)
    assert monitor.reload() is None
    assert monitor.settings.sample == 0.25 and monitor.settings.mode == "enforce" and monitor.live is not before
    assert monitor.pulse.mode == "enforce" and monitor.pulse.reload_failed is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"mode": "nonsense"}, "mode: found 'nonsense'"),
        ({"name": "other"}, "name: changed"),
        ({"sinks": [{"name": "jsonl", "options": {"path": "other"}}]}, "sinks: changed"),
        ({"guard": {"path": "gone"}}, "guard.path: gone is not there"),
    ],
    ids=["nonsense", "name", "sinks", "guard"],
)
def test_a_reload_that_is_wrong_changes_nothing_and_says_so_until_one_is_right(
    open_monitor, write_monitor, changes, said
) -> None:
    monitor = open_monitor(sample=0.5)
    before = monitor.live
    write_monitor(**{"sample": 0.1, **changes})
    refused = monitor.reload()
    assert refused is not None and said in refused and "\n" not in refused
    assert monitor.live is before and monitor.settings.sample == 0.5 and monitor.pulse.reload_failed == refused
    assert monitor.pulse.needs_restart is said.endswith(": changed")
    write_monitor(sample=0.1)
    assert monitor.reload() is None and monitor.pulse.reload_failed is None and monitor.settings.sample == 0.1


def test_a_guard_that_was_damaged_is_refused_by_a_reload(open_monitor, write_monitor, toy_folder, tmp_path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(toy_folder / "guard", copy)
    monitor = open_monitor(guard={"path": str(copy)})
    before = monitor.live
    manifest = copy / "bundle" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"alpha"', '"alhpa"', 1))
    assert monitor.reload() is not None and monitor.live is before


def test_a_guard_that_is_not_the_one_trusted_is_refused(write_monitor, toy_folder) -> None:
    guard = {"path": str(toy_folder / "guard"), "trust": {"digest": "0" * 64}}
    with pytest.raises(BundleError):
        Monitor.open(write_monitor(guard=guard))


def test_a_guard_of_another_model_is_refused_by_a_reload(open_driver, monkeypatch) -> None:
    driver, monitor = open_driver()
    before = monitor.live

    def misfit(live):
        raise ModelMismatch("this guard: of another model")

    monkeypatch.setattr(driver, "settings_for", misfit)
    assert driver.reload() == "this guard: of another model" and monitor.live is before


def test_a_generation_that_runs_keeps_the_guard_that_a_reload_replaces(open_monitor, write_monitor, deployment) -> None:
    monitor = open_monitor(**own(write_monitor))
    with monitor.watch(deployment.loaded.model, request_ids=["a", "b"], hook=deployment.hook) as run:
        write_monitor(**own(write_monitor, sample=0.0))
        assert monitor.reload() is None
        generate(deployment)
    assert {each.status for each in run.verdicts} <= {"clear", "flagged"} and len(run.verdicts) == 2


def test_a_pulse_says_how_the_monitor_is(open_driver, kept) -> None:
    from .conftest import asked

    driver, monitor = open_driver()
    driver.generate(asked(3))
    monitor.close()
    pulse = kept.pulses[-1]
    assert pulse.ended
    assert (pulse.deployment, pulse.mode, pulse.promised) == ("toy", "observe", 0.3)
    assert pulse.generated == 3 == pulse.clear + pulse.flagged + pulse.unmonitored + pulse.not_sampled
    assert pulse.bundle == monitor.live.digest and pulse.scorer is None
    (sink,) = pulse.sinks
    assert (sink.accepted, sink.delivered, sink.waiting) == (3, 3, 0), "the last pulse says what became of all"


def test_a_closed_monitor_watches_nothing(open_monitor, write_monitor, deployment) -> None:
    monitor = open_monitor(**own(write_monitor))
    monitor.close()
    with pytest.raises(ConfigError, match="closed"), monitor.watch(deployment.loaded.model, request_ids=["a"]):
        pass


def test_a_closed_monitor_lends_its_guard_to_nobody(open_monitor) -> None:
    monitor = open_monitor()
    monitor.close()
    with pytest.raises(ConfigError, match="closed"), monitor.in_use():
        pass


def test_a_fork_watches_nothing_and_ends_nothing_of_its_parents(
    open_monitor, write_monitor, deployment, kept, monkeypatch
) -> None:
    monitor = open_monitor(**own(write_monitor))
    with monkeypatch.context() as child:
        child.setattr(os, "getpid", lambda: 1)
        with pytest.raises(ConfigError, match="after the fork"), monitor.watch(None, request_ids=["a"]):
            pass
        assert monitor.close() is False
    assert monitor.balance.begun == 0
    with monitor.watch(deployment.loaded.model, request_ids=["a"], hook=deployment.hook) as run:
        generate(deployment, 1)
    assert run.recorded.result(20) is None


def test_it_is_opened_by_the_path_of_its_file(write_monitor, tmp_path) -> None:
    with Monitor.open(write_monitor()) as monitor:
        assert monitor.settings == read_monitor(tmp_path / "monitor.yaml").settings
    assert yaml.safe_load((tmp_path / "monitor.yaml").read_text())["name"] == "toy"
