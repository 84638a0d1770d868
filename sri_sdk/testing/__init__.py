"""The conformance kit: promises of the plugin interfaces, as checks that can be called, named and explained.

Never imports pytest. A plugin's own test is three lines:

    @pytest.mark.parametrize("check", detector_checks(MyDetector), ids=str)
    def test_my_detector_keeps_its_promises(check):
        check()

and `sri check KIND NAME` runs the same list from the command line. With `lazy=True`, `hook_checks` and `sampler_checks`
build no model before a check is called, so collecting the tests stays fast.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sri_sdk.testing.check import Check, Result, mark_known, run_checks

if TYPE_CHECKING:
    from sri_sdk.testing.attacks import AttackCase, attack_checks
    from sri_sdk.testing.baselines import BaselineCase, baseline_checks
    from sri_sdk.testing.datasets import dataset_checks
    from sri_sdk.testing.detectors import detector_checks
    from sri_sdk.testing.exporters import exporter_checks
    from sri_sdk.testing.hooks import HookCase, hook_checks
    from sri_sdk.testing.judges import JudgeCase, judge_checks
    from sri_sdk.testing.samplers import SamplerCase, sampler_checks
    from sri_sdk.testing.sinks import SinkCase, sink_checks

__all__ = [
    "AttackCase",
    "BaselineCase",
    "Check",
    "HookCase",
    "JudgeCase",
    "Result",
    "SamplerCase",
    "SinkCase",
    "attack_checks",
    "baseline_checks",
    "dataset_checks",
    "detector_checks",
    "exporter_checks",
    "hook_checks",
    "judge_checks",
    "mark_known",
    "run_checks",
    "sampler_checks",
    "sink_checks",
]

_HOME = {
    "AttackCase": "attacks",
    "BaselineCase": "baselines",
    "HookCase": "hooks",
    "JudgeCase": "judges",
    "SamplerCase": "samplers",
    "SinkCase": "sinks",
    "attack_checks": "attacks",
    "baseline_checks": "baselines",
    "dataset_checks": "datasets",
    "detector_checks": "detectors",
    "exporter_checks": "exporters",
    "hook_checks": "hooks",
    "judge_checks": "judges",
    "sampler_checks": "samplers",
    "sink_checks": "sinks",
}


def __getattr__(name: str) -> Any:
    """Looked up when first used: checks of detectors need no torch."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
