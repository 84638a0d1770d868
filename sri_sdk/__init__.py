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
from sri_sdk.errors import missing_extra as _missing_extra

if TYPE_CHECKING:
    from sri_sdk.anchors import Anchors
    from sri_sdk.attack import Attack
    from sri_sdk.baseline import Baseline
    from sri_sdk.bundle.bundle import Bundle
    from sri_sdk.calibrate.session import SessionEvidence
    from sri_sdk.canvas.canvas import Canvas
    from sri_sdk.capture.device_tape import DeviceTape
    from sri_sdk.capture.drive import drive
    from sri_sdk.capture.locate import request_spans
    from sri_sdk.capture.run import Run
    from sri_sdk.capture.settings import WatchSettings, watch_settings
    from sri_sdk.capture.watch import watch
    from sri_sdk.client.client import VerdictClient
    from sri_sdk.client.counts import ClientCounts
    from sri_sdk.client.held import HeldTokens
    from sri_sdk.client.held_response import Replacement
    from sri_sdk.client.middleware import VerdictMiddleware
    from sri_sdk.config.load import load_config, load_evaluation
    from sri_sdk.dataset import Dataset
    from sri_sdk.detector import Detector
    from sri_sdk.emitter import Delivery, Emitter
    from sri_sdk.errors import SriError
    from sri_sdk.evaluation.evaluate import evaluate
    from sri_sdk.evaluation.worker import Worker
    from sri_sdk.executor import Executor, Shard, ShardLost, ShardResult, WorkerPool
    from sri_sdk.exporter import Exporter
    from sri_sdk.fingerprint import Fingerprint
    from sri_sdk.fitting.deployment import Deployment
    from sri_sdk.fitting.fit import Fitted, fit
    from sri_sdk.graph.builder import Graph, Value
    from sri_sdk.grid import StepGrid
    from sri_sdk.hook import Hook
    from sri_sdk.judge import Judge
    from sri_sdk.metrics.results import Evaluation
    from sri_sdk.monitor.monitor import Monitor
    from sri_sdk.monitor.watched import Watched
    from sri_sdk.observation import Observation, Pulse, Running, SinkState, Trajectory
    from sri_sdk.plugin import Config
    from sri_sdk.policy import Decision, Policy
    from sri_sdk.records import (
        Encoded,
        Fit,
        ForwardCall,
        ForwardOutput,
        Generation,
        Intervention,
        LoadedModel,
        Match,
        Prompt,
        RecoveryAction,
        RequestStates,
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
    from sri_sdk.scoring.signal_files import write_signals
    from sri_sdk.serve.store.kept import Retention
    from sri_sdk.serve.store.store import VerdictStore
    from sri_sdk.sink import Sink
    from sri_sdk.steer.direction import Direction
    from sri_sdk.steer.file import load_direction, save_direction
    from sri_sdk.steer.make import extract_directions
    from sri_sdk.steer.operations import Ablate, Add, Clamp, DeadZone
    from sri_sdk.steer.recovery.recovery import Recovery
    from sri_sdk.steer.steering import steer
    from sri_sdk.steer.where import Where
    from sri_sdk.target import Target

__all__ = [
    "Ablate",
    "Add",
    "Anchors",
    "Attack",
    "Baseline",
    "Bundle",
    "Canvas",
    "Clamp",
    "ClientCounts",
    "Config",
    "Dataset",
    "DeadZone",
    "Decision",
    "Delivery",
    "Deployment",
    "Detector",
    "DeviceTape",
    "Direction",
    "Emitter",
    "Encoded",
    "Evaluation",
    "Executor",
    "Exporter",
    "Fingerprint",
    "Fit",
    "Fitted",
    "ForwardCall",
    "ForwardOutput",
    "Generation",
    "Graph",
    "Guard",
    "HeldTokens",
    "Hook",
    "Intervention",
    "Judge",
    "LoadedModel",
    "Match",
    "Monitor",
    "Observation",
    "Policy",
    "Prompt",
    "Pulse",
    "Recovery",
    "RecoveryAction",
    "Replacement",
    "RequestStates",
    "Retention",
    "Run",
    "RunView",
    "Running",
    "Sampler",
    "SamplerStep",
    "Scorer",
    "SessionEvidence",
    "Shard",
    "ShardLost",
    "ShardResult",
    "Signals",
    "Sink",
    "SinkState",
    "SriError",
    "StepGrid",
    "StepPlan",
    "Target",
    "Trace",
    "Trajectory",
    "Value",
    "Verdict",
    "VerdictClient",
    "VerdictMiddleware",
    "VerdictStore",
    "WatchSettings",
    "Watched",
    "Where",
    "Worker",
    "WorkerPool",
    "drive",
    "evaluate",
    "extract_directions",
    "fit",
    "load_config",
    "load_direction",
    "load_evaluation",
    "request_spans",
    "save_direction",
    "steer",
    "watch",
    "watch_settings",
    "write_signals",
]

_HOME = {
    "Ablate": "steer.operations",
    "Add": "steer.operations",
    "Anchors": "anchors",
    "Attack": "attack",
    "Baseline": "baseline",
    "Bundle": "bundle.bundle",
    "Canvas": "canvas.canvas",
    "Clamp": "steer.operations",
    "ClientCounts": "client.counts",
    "Config": "plugin",
    "Dataset": "dataset",
    "DeadZone": "steer.operations",
    "Decision": "policy",
    "Delivery": "emitter",
    "Deployment": "fitting.deployment",
    "Detector": "detector",
    "DeviceTape": "capture.device_tape",
    "Direction": "steer.direction",
    "Emitter": "emitter",
    "Encoded": "records",
    "Evaluation": "metrics.results",
    "Executor": "executor",
    "Exporter": "exporter",
    "Fingerprint": "fingerprint",
    "Fit": "records",
    "Fitted": "fitting.fit",
    "ForwardCall": "records",
    "ForwardOutput": "records",
    "Generation": "records",
    "Graph": "graph.builder",
    "Guard": "scoring.guard",
    "HeldTokens": "client.held",
    "Hook": "hook",
    "Intervention": "records",
    "Judge": "judge",
    "LoadedModel": "records",
    "Match": "records",
    "Monitor": "monitor.monitor",
    "Observation": "observation",
    "Policy": "policy",
    "Prompt": "records",
    "Pulse": "observation",
    "Recovery": "steer.recovery.recovery",
    "RecoveryAction": "records",
    "Replacement": "client.held_response",
    "RequestStates": "records",
    "Retention": "serve.store.kept",
    "Run": "capture.run",
    "RunView": "records",
    "Running": "observation",
    "Sampler": "sampler",
    "SamplerStep": "records",
    "Scorer": "scoring.scorer",
    "SessionEvidence": "calibrate.session",
    "Shard": "executor",
    "ShardLost": "executor",
    "ShardResult": "executor",
    "Signals": "records",
    "Sink": "sink",
    "SinkState": "observation",
    "SriError": "errors",
    "StepGrid": "grid",
    "StepPlan": "records",
    "Target": "target",
    "Trace": "records",
    "Trajectory": "observation",
    "Value": "graph.builder",
    "Verdict": "records",
    "VerdictClient": "client.client",
    "VerdictMiddleware": "client.middleware",
    "VerdictStore": "serve.store.store",
    "WatchSettings": "capture.settings",
    "Watched": "monitor.watched",
    "Where": "steer.where",
    "Worker": "evaluation.worker",
    "WorkerPool": "executor",
    "drive": "capture.drive",
    "evaluate": "evaluation.evaluate",
    "extract_directions": "steer.make",
    "fit": "fitting.fit",
    "load_config": "config.load",
    "load_direction": "steer.file",
    "load_evaluation": "config.load",
    "request_spans": "capture.locate",
    "save_direction": "steer.file",
    "steer": "steer.steering",
    "watch": "capture.watch",
    "watch_settings": "capture.settings",
    "write_signals": "scoring.signal_files",
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
