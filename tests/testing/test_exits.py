"""A plugin that ends the process, or raises what is no Exception, fails its checks by name and does not end the kit."""

import sys

import pytest
from click.testing import CliRunner
from sri_exporter_onnx.exporter import OnnxExporter
from sri_plugin_attacks.role_play import RolePlay
from sri_plugin_baselines.refusal_dictionary import RefusalDictionaryBaseline
from sri_plugin_lab.dataset import LabDataset
from sri_plugin_lab.judge import LabJudge
from sri_plugin_sinks.jsonl import JsonlSink
from sri_plugin_toy.detector import ToyDetector
from sri_plugin_toy.hook import ToyHook
from sri_plugin_toy.sampler import ToySampler

from sri_sdk import registry, testing
from sri_sdk.cli import main
from sri_sdk.errors import ConformanceError
from sri_sdk.testing import Check, SamplerCase, run_checks


def exits(*_args, **_options):
    sys.exit(0)


class Stop(BaseException):
    pass


def stops(*_args, **_options):
    raise Stop("enough")


def on_toy(sampler):
    case = ToyHook.example()
    return SamplerCase(sampler(), case.hook, case.encoded, ["a", "b", "c"])


CALLS = [
    (OnnxExporter, "exporter", ["compile", "export"]),
    (RefusalDictionaryBaseline, "baseline", ["score"]),
    (RolePlay, "attack", ["apply", "prepare"]),
    (LabDataset, "dataset", ["prompts", "splits"]),
    (LabJudge, "judge", ["judge"]),
    (JsonlSink, "sink", ["emit", "close"]),
    (ToyDetector, "detector", ["fit", "score", "export", "state", "restore"]),
    (ToyHook, "hook", ["plan", "final_norm"]),
    (ToySampler, "sampler", ["steps", "budget"]),
]


@pytest.mark.parametrize("raises", [exits, stops])
@pytest.mark.parametrize(
    ("plugin", "kind", "method"), [(plugin, kind, name) for plugin, kind, names in CALLS for name in names]
)
@pytest.mark.filterwarnings("ignore::sri_sdk.testing.planted.NotChecked")
def test_a_method_that_ends_the_process_fails_checks_and_is_named(plugin, kind, method, raises, tmp_path) -> None:
    def broken(*args, **options):
        raises()

    broken.__name__, broken.__qualname__ = method, f"Broken.{method}"
    broken.__code__ = broken.__code__.replace(co_qualname=f"Broken.{method}")
    made = type("Broken", (plugin,), {method: broken, "__module__": "__main__"})
    make = made.example if kind == "hook" else (lambda: on_toy(made)) if kind == "sampler" else made
    if kind == "sink":
        make = lambda: made(made.Config(path=str(tmp_path / "verdicts.jsonl")))  # noqa: E731
    try:
        messages = [x.message for x in run_checks(getattr(testing, f"{kind}_checks")(make)) if x.state != "passed"]
    except ConformanceError as err:
        messages = [str(err)]
    word = "SystemExit: 0" if raises is exits else "Stop: enough"
    assert any(word in message for message in messages), messages


def test_an_exit_is_a_failed_check_that_names_the_function_and_the_line() -> None:
    (found,) = run_checks([Check("leaves", "It stays.", exits)])
    assert found.state == "failed"
    assert found.message.startswith("the plugin ends the process: SystemExit: 0 (raised in exits, test_exits.py, line ")


def test_a_mark_does_not_excuse_an_exit() -> None:
    (found,) = run_checks([Check("leaves", "It stays.", exits, known="to be seen")])
    assert found.state == "failed"


def test_the_user_may_still_interrupt() -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_checks([Check("stays", "It stays.", interrupted)])


def test_a_plugin_cannot_skip_its_own_checks() -> None:
    from unittest import SkipTest

    def skips() -> None:
        raise SkipTest("not today")

    assert [x.state for x in run_checks([Check("skips", "It runs.", skips)])] == ["crashed"]


@pytest.mark.parametrize("raises", [exits, stops])
def test_an_example_that_ends_the_process_is_one_line_that_names_the_plugin(monkeypatch, raises) -> None:
    monkeypatch.setattr(ToyHook, "example", classmethod(raises))
    done = CliRunner().invoke(main, ["check", "hook", "toy"])
    assert done.exit_code == 1 and done.stdout == ""
    assert "ends the process" in done.stderr and done.stderr.count("\n") == 1


def test_an_option_that_fails_in_the_constructor_of_an_example_names_the_plugin(monkeypatch) -> None:
    def fails(cls):
        raise OSError("no disk")

    monkeypatch.setattr(ToySampler, "example", classmethod(fails))
    done = CliRunner().invoke(main, ["check", "sampler", "toy"])
    assert done.exit_code == 1
    assert "samplers plugin 'toy'" in done.stderr and "failed with OSError: no disk" in done.stderr


@pytest.mark.parametrize("raises", [exits, stops, RuntimeError])
def test_a_validator_that_ends_the_process_is_the_plugins_fault(monkeypatch, raises) -> None:
    from pydantic import field_validator

    class Config(ToyHook.Config):
        @field_validator("seed")
        @classmethod
        def check(cls, value):
            made = raises("no licence")
            raise made  # An Exception is made, the others raise by themselves.

    monkeypatch.setattr(ToyHook, "Config", Config)
    with pytest.raises(registry.PluginLoadFailed, match=r"hooks plugin 'toy' .*: checking its options failed with"):
        registry.configure("hooks", "toy", {"seed": 3})
    from sri_sdk.config.check_fit import check_plugin

    _, (problem,) = check_plugin("model", "hook", "hooks", {"hook": "toy", "options": {"seed": 3}})
    assert problem.startswith("model.options: hooks plugin 'toy'")
