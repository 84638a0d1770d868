"""The choice of a hook beside hooks that are broken."""

import importlib
import json
import logging
import sys
import textwrap
from pathlib import Path

import pytest
from click.testing import CliRunner
from sri_plugin_toy.hook import ToyHook
from sri_plugin_toy.model import build

import sri_sdk
from sri_sdk import registry
from sri_sdk.capture.choose import choose_hook
from sri_sdk.cli import main
from sri_sdk.config.schema import schema
from sri_sdk.errors import ModelMismatch, PluginLoadFailed

from .conftest import Toy, toy_prompts

GOOD = """
    import sys
    from sri_plugin_toy.hook import ToyHook
    SRI_PLUGIN_API = 2
    class Mine(ToyHook):
        @classmethod
        def fits(cls, model):
            from sri_sdk import Match
            return Match(False, "looked for Mine")
"""
BROKEN = {
    "import-error": "import a_package_that_nobody_has",
    "exit": "import sys\nsys.exit('no GPU')",
    "quiet-exit": "raise SystemExit",
    "base-exception": "class Odd(BaseException): ...\nraise Odd('odd')",
    "assert": "assert False, 'not here'",
    "syntax": "def",
    "no-api": textwrap.dedent(GOOD).replace("SRI_PLUGIN_API = 2", ""),
    "fits-raises": textwrap.dedent(GOOD).replace("from sri_sdk import Match", "model.no_such_attribute"),
    "fits-exits": textwrap.dedent(GOOD).replace("from sri_sdk import Match", "sys.exit(3)"),
    "fits-none": textwrap.dedent(GOOD).replace('return Match(False, "looked for Mine")', "return None"),
}


@pytest.fixture(params=BROKEN)
def broken(request, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Installs one broken hook under the name `broken`."""
    module = "fake_hook_" + request.param.replace("-", "_")
    (tmp_path / f"{module}.py").write_text(BROKEN[request.param])
    info = tmp_path / "fake_hook-2.5.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fake-hook\nVersion: 2.5\n")
    (info / "entry_points.txt").write_text(f"[sri.hooks]\nbroken = {module}:Mine\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    yield request.param
    sys.modules.pop(module, None)


def test_a_broken_hook_stops_no_model_of_another_family(broken: str, toy: Toy, toy_guard, caplog) -> None:
    with caplog.at_level(logging.WARNING), sri_sdk.watch(toy.loaded.model, toy_guard) as run:
        toy.loaded.model.generate(**toy.inputs(toy_prompts(2)))
    assert [v.status in ("clear", "flagged") for v in run.verdicts] == [True, True]
    assert "'broken'" in caplog.text


def test_a_broken_hook_that_was_asked_for_is_an_error_that_names_it(broken: str) -> None:
    with pytest.raises(sri_sdk.errors.PluginError, match="'broken'"):
        choose_hook(build(0), "broken")


def test_where_nothing_fits_the_broken_hook_is_among_the_reasons(broken: str) -> None:
    import torch

    with pytest.raises(ModelMismatch, match=r"broken: cannot be asked \(hooks plugin 'broken'"):
        choose_hook(torch.nn.Linear(2, 2))


def test_the_commands_and_the_schema_go_on_beside_a_broken_hook(broken: str) -> None:
    listed = CliRunner().invoke(main, ["plugins", "list", "--check", "--kind", "hooks", "--json"])
    problems = {info["name"]: info["problem"] for info in json.loads(listed.stdout)}
    assert problems["toy"] is None and (problems["broken"] is None) == broken.startswith("fits")
    assert ToyHook.Config.model_fields["seed"].description in json.dumps(schema("fit"))


@pytest.mark.parametrize("method", ["plan", "lengths"])
def test_a_hook_that_exits_during_a_generation_costs_the_verdict_and_not_the_tokens(
    method: str, toy: Toy, toy_guard, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = toy.loaded.model.generate(**toy.inputs(toy_prompts(2)))
    monkeypatch.setattr(ToyHook, method, lambda *_args, **_kwargs: sys.exit(4))
    with sri_sdk.watch(toy.loaded.model, toy_guard) as run:
        watched = toy.loaded.model.generate(**toy.inputs(toy_prompts(2)))
    assert (alone == watched).all()
    assert {v.status for v in run.verdicts} == {"unmonitored"} and "SystemExit: 4" in (run.failure or "")


def test_a_hook_whose_construction_fails_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def leave(self, model, config=None) -> None:
        sys.exit("no licence")

    monkeypatch.setattr(ToyHook, "__init__", leave)
    for name in (None, "toy"):
        with pytest.raises(PluginLoadFailed, match=r"'toy' .* building it failed with SystemExit: no licence"):
            choose_hook(build(0), name)


def test_an_interrupt_from_the_keyboard_is_nobodys_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(model) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ToyHook, "fits", interrupted)
    with pytest.raises(KeyboardInterrupt):
        choose_hook(build(0))


def test_a_sink_that_exits_while_it_is_built_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    kind = registry.load("sinks", registry.installed("sinks")[0].name)
    name = registry.installed("sinks")[0].name
    monkeypatch.setattr(kind, "__init__", lambda self, config: sys.exit(1))
    monkeypatch.setattr(registry, "_parse_options", lambda *_: None)
    with pytest.raises(PluginLoadFailed, match="building it failed with SystemExit: 1"):
        registry.build("sinks", name)
