"""sri-sdk: says from a language model's hidden states whether a generation is a jailbreak in progress.

Everything a user or a plugin needs is a name of this module (`sri_sdk.watch`, `sri_sdk.Hook`, ...). Names are looked
up when first used, so that `import sri_sdk` loads none of torch, transformers, scikit-learn, onnx or pydantic: a
scoring process pays only for what it scores with.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sri_sdk._version import __version__ as __version__
from sri_sdk.errors import MissingExtra as _MissingExtra
from sri_sdk.extras import missing_extra as _missing_extra

if TYPE_CHECKING:
    from sri_sdk.anchors import Anchors
    from sri_sdk.capture.drive import drive
    from sri_sdk.capture.watch import watch
    from sri_sdk.dataset import Dataset
    from sri_sdk.detector import Detector
    from sri_sdk.errors import SriError
    from sri_sdk.exporter import Exporter
    from sri_sdk.fingerprint import Fingerprint
    from sri_sdk.graph.builder import Graph, Value
    from sri_sdk.grid import StepGrid
    from sri_sdk.hook import Hook
    from sri_sdk.judge import Judge
    from sri_sdk.plugin import Config
    from sri_sdk.records import (
        Encoded,
        Fit,
        ForwardCall,
        Intervention,
        LoadedModel,
        Match,
        Prompt,
        RunView,
        SamplerStep,
        Signals,
        StepPlan,
        Trace,
        Verdict,
    )
    from sri_sdk.sampler import Sampler
    from sri_sdk.scoring.guard import Guard
    from sri_sdk.scoring.scorer import Scorer
    from sri_sdk.sink import Sink

__all__ = [
    "Anchors",
    "Config",
    "Dataset",
    "Detector",
    "Encoded",
    "Exporter",
    "Fingerprint",
    "Fit",
    "ForwardCall",
    "Graph",
    "Guard",
    "Hook",
    "Intervention",
    "Judge",
    "LoadedModel",
    "Match",
    "Prompt",
    "RunView",
    "Sampler",
    "SamplerStep",
    "Scorer",
    "Signals",
    "Sink",
    "SriError",
    "StepGrid",
    "StepPlan",
    "Trace",
    "Value",
    "Verdict",
    "drive",
    "watch",
]

_HOME = {
    "Anchors": "anchors",
    "Config": "plugin",
    "Dataset": "dataset",
    "Detector": "detector",
    "Encoded": "records",
    "Exporter": "exporter",
    "Fingerprint": "fingerprint",
    "Fit": "records",
    "ForwardCall": "records",
    "Graph": "graph.builder",
    "Guard": "scoring.guard",
    "Hook": "hook",
    "Intervention": "records",
    "Judge": "judge",
    "LoadedModel": "records",
    "Match": "records",
    "Prompt": "records",
    "RunView": "records",
    "Sampler": "sampler",
    "SamplerStep": "records",
    "Scorer": "scoring.scorer",
    "Signals": "records",
    "Sink": "sink",
    "SriError": "errors",
    "StepGrid": "grid",
    "StepPlan": "records",
    "Trace": "records",
    "Value": "graph.builder",
    "Verdict": "records",
    "drive": "capture.drive",
    "watch": "capture.watch",
}
"""Public name -> the module under `sri_sdk` that defines it. A test keeps the three lists equal."""


def __getattr__(name: str) -> Any:
    """Loads a public name when it is first used (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; public names: {', '.join(__all__)}")
    try:
        value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    except ModuleNotFoundError as err:
        if extra := _missing_extra(err):
            raise _MissingExtra(f"sri_sdk.{name}", extra=extra) from err
        raise
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
