"""A hook that was written for plugin API 1 loads, keeps every promise, gives the same signal, and is warned about."""

import importlib
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch

import sri_sdk
from sri_sdk import registry
from sri_sdk.cli.scaffold import write_plugin
from sri_sdk.errors import PluginLoadFailed
from sri_sdk.testing import hook_checks, run_checks

Installed = Callable[..., str]

AS_OF_API_1 = {
    "SRI_PLUGIN_API = 2": "SRI_PLUGIN_API = 1",
    "Match": "Fit",
    "def on_call(": "def admit(",
}
"""What the scaffold writes now -> what it wrote for API 1."""
OBSERVED = """
    observed_methods = ("prepare_inputs_for_generation",)

    def on_method_result(self, call, result, run):
        super().on_method_result(call, result, run)
        OBSERVED.append(call)


OBSERVED = []
"""
OBSERVED_AS_OF_API_1 = OBSERVED.replace("observed_methods", "hears").replace("on_method_result", "heard")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    """Installs a scaffolded autoregressive hook with some of its text replaced; returns the name of its module."""
    site, before = tmp_path_factory.mktemp("site"), set(sys.modules)

    def write(name: str, replaced: dict[str, str], more: str) -> str:
        write_plugin(name, "hook", site / name, "autoregressive")
        package = f"sri_plugin_{name.replace('-', '_')}"
        (site / name / package).rename(site / package)
        hook = site / package / "hook.py"
        text = hook.read_text(encoding="utf-8") + more
        for old, new in replaced.items():
            assert old in text, old
            text = text.replace(old, new)
        hook.write_text(text, encoding="utf-8")
        info = site / f"sri_plugin_{name.replace('-', '_')}-0.1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: sri-plugin-{name}\nVersion: 0.1.0\n")
        camel = "".join(word.capitalize() for word in name.split("-"))
        (info / "entry_points.txt").write_text(f"[sri.hooks]\n{name} = {package}.hook:{camel}Hook\n")
        importlib.invalidate_caches()
        return f"{package}.hook"

    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(site))
        yield write
    for name in set(sys.modules) - before:
        if name.startswith("sri_plugin_acme"):
            del sys.modules[name]


@pytest.fixture(scope="module")
def twins(installed: Installed) -> tuple[type, type, list[str]]:
    """The hook of API 1, that of API 2, and what was said when each was loaded twice."""
    installed("acme-old", AS_OF_API_1, OBSERVED_AS_OF_API_1)
    installed("acme-new", {}, OBSERVED)
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        old, new = (registry.load("hooks", name) for name in ("acme-old", "acme-new"))
        assert (registry.load("hooks", "acme-old"), registry.load("hooks", "acme-new")) == (old, new)
    return old, new, [f"{each.category.__name__}: {each.message}" for each in heard]


def test_loading_it_warns_once_and_names_the_plugin_its_older_names_and_what_to_do(
    twins: tuple[type, type, list[str]],
) -> None:
    (said,) = twins[2]
    assert said == (
        "FutureWarning: hooks plugin 'acme-old' (sri_plugin_acme_old.hook:AcmeOldHook, from sri-plugin-acme-old "
        "0.1.0): written for version 1 of the plugin API of hooks, the current one is 2; this is the last minor "
        "release of sri-sdk that accepts 1. Install the plugin's release for version 2, or tell its maintainer: "
        "rename `hears` (now `observed_methods`), `heard` (now `on_method_result`), `admit` (now `on_call`), `Fit` "
        "(now `Match`), and write `SRI_PLUGIN_API = 2` in sri_plugin_acme_old.hook."
    )


def test_it_keeps_every_promise(twins: tuple[type, type, list[str]]) -> None:
    results = run_checks(hook_checks(twins[0].example))
    assert len(results) > 20
    assert [(each.name, each.message) for each in results if each.state != "passed"] == []


def traces(hook_class: Any) -> tuple[Any, torch.Tensor]:
    """A watched generation in which only the call names a token that ends a response."""
    case = hook_class.example()
    width, given = case.encoded.input_ids.shape[1], {"max_new_tokens": 6, "do_sample": False}
    given["attention_mask"] = case.encoded.attention_mask
    case.hook.model.generation_config.eos_token_id = None
    end = int(case.hook.model.generate(case.encoded.input_ids, **given)[0, width + 2])
    with sri_sdk.watch(case.hook.model, hook=case.hook) as run:
        tokens = case.hook.model.generate(case.encoded.input_ids, **given, eos_token_id=end)
    return run.traces, tokens


def test_its_signal_is_that_of_its_twin_bit_for_bit(twins: tuple[type, type, list[str]]) -> None:
    (old, tokens), (new, others) = map(traces, twins[:2])
    assert torch.equal(tokens, others)
    heard = [sys.modules[hook.__module__].OBSERVED for hook in twins[:2]]
    assert set(heard[0]) == {"prepare_inputs_for_generation"} and heard[0][-6:] == heard[1][-6:]
    assert len({trace.steps for trace in old}) > 1, "no row ended before another, so `admit` was not heard"
    for one, other in zip(old, new, strict=True):
        assert one.reasons == other.reasons == () and one.expected == other.expected
        np.testing.assert_array_equal(one.phi, other.phi)


def test_one_that_uses_no_older_name_only_has_to_say_another_number(installed: Installed) -> None:
    module = installed("acme-plain", {"SRI_PLUGIN_API = 2": "SRI_PLUGIN_API = 1"}, "")
    with pytest.warns(FutureWarning, match="it uses no name that was changed: write `SRI_PLUGIN_API = 2`"):
        registry.load("hooks", "acme-plain")
    assert importlib.import_module(module).SRI_PLUGIN_API == 1


def test_one_of_api_2_that_defines_an_older_name_is_refused(installed: Installed) -> None:
    installed("acme-mixed", {"def on_call(": "def admit("}, "")
    with pytest.raises(PluginLoadFailed, match=r"defines names of version 1: `admit` \(now `on_call`\). Rename them"):
        registry.load("hooks", "acme-mixed")
