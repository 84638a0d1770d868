"""The errors a user can meet, and how a missing package comes with its cure.

    SriError
    |-- ConfigError            a YAML file, an option or a set of prompts is wrong
    |-- PluginError
    |   |-- PluginNotFound     no plugin of that kind and name is installed
    |   |-- PluginLoadFailed   it is installed, but importing or building it failed
    |   |-- PluginWrongApi     it was written for another version of the plugin API
    |   `-- PluginConflict     two distributions claim the same name for different targets
    |-- MissingExtra           an optional dependency is not installed; prints the pip command
    |-- ModelMismatch          guard, signals and model were not made for each other
    |-- CaptureError           hidden states could not be read, or contain NaN or infinity
    |   `-- TokensMoved        tokens were inserted or deleted while a model generated
    |-- SteeringError          a generation could not be steered as asked, or was not steered at all
    |-- RecoveryError          a recovery was asked for what it must never do
    |-- GenerationAborted      a guard stopped this generation, as its policy asked
    |-- BundleError            an exported artefact is damaged, incomplete or of another format
    |-- ScoringError           signals do not fit the detector that should score them
    |-- WorkerLost             workers ended over one batch more often than is allowed
    |-- SinkRejected           a sink will never take some of what it was handed
    `-- ConformanceError       a plugin breaks a promise of its interface

A message names the subject, the problem, what was found, what is allowed, and the next step. The command line
prints an `SriError` as one line and keeps the traceback of everything else, because everything else is a bug.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from difflib import get_close_matches
from typing import Self


class SriError(Exception):
    """Anything a user can mend. One message, no traceback on the command line."""


class ConfigError(SriError):
    """A YAML file, an option or a set of prompts is wrong.

    Attributes:
        problems: one `file: path: problem` line each; all of them, not only the first.
    """

    def __init__(self, message: str, problems: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems) or (message,)


class PluginError(SriError):
    """A plugin cannot be used."""


class PluginNotFound(PluginError):
    """No plugin of that kind and name is installed."""

    @classmethod
    def among(cls, kind: str, name: str, installed: Iterable[str]) -> Self:
        """The error for an unknown name: lists what is installed and suggests the closest name."""
        known = sorted(installed)
        listed = ", ".join(known) or "none"
        return cls(
            f"{kind} plugin {name!r} is not installed; installed: {listed}.{did_you_mean(name, known)} "
            "Install the package that provides it, or see `sri plugins list`."
        )


class PluginLoadFailed(PluginError):
    """The plugin is installed, but importing or building it failed."""


class PluginWrongApi(PluginError):
    """The plugin was written for another version of the plugin API."""


class PluginConflict(PluginError):
    """Two distributions claim the same plugin name for different targets."""


class MissingExtra(SriError):
    """An optional dependency is not installed."""

    def __init__(self, what: str, *, extra: str) -> None:
        super().__init__(f'{what} needs packages that are not installed. Run: pip install "sri-sdk[{extra}]"')
        self.extra = extra


class ModelMismatch(SriError):
    """Guard, signals and model were not made for each other."""


class CaptureError(SriError):
    """Hidden states could not be read, or contain NaN or infinity."""


class TokensMoved(CaptureError):
    """The number of tokens in work changed while a model generated, so positions are not the same from step to step."""


class SteeringError(SriError):
    """A generation could not be steered as asked, or was not steered at all."""


class RecoveryError(SriError):
    """A recovery was asked for what it must never do, such as taking a refusal out of a response."""


class GenerationAborted(SriError):
    """A guard stopped this generation, as its policy asked.

    Attributes:
        request_ids: the flagged requests that stopped the batch; all requests if the guard could not see.
        step: number of the last step that ran, counted from 0; -1 = it was stopped within the first one.
        blind: reason code if the guard could not see; None = it raised an alarm, or its horizon was reached.
        beyond: whether the answer was about to go on beyond the horizon of the guard.
    """

    def __init__(
        self, request_ids: tuple[str, ...], step: int, *, blind: str | None = None, beyond: bool = False
    ) -> None:
        when = f"after step {step}" if step >= 0 else "before its first token"
        super().__init__(
            f"Generation stopped {when}: {', '.join(request_ids)} would go on beyond the horizon of the "
            "guard, and the policy lets nothing go on unjudged. Generate no more tokens than the guard judges, or set "
            "`policy.beyond_horizon: report`."
            if beyond
            else f"Generation stopped {when}: flagged {', '.join(request_ids)}. "
            "The whole batch stops; drop the flagged requests and generate the others again."
            if blind is None
            else f"Generation stopped {when}: unmonitored ({blind}), and the policy stops what the guard "
            "cannot see. The log says what failed; `policy.unmonitored: report` lets generations go on."
        )
        self.request_ids = request_ids
        self.step = step
        self.blind = blind
        self.beyond = beyond


class BundleError(SriError):
    """An exported artefact is damaged, incomplete or of another format."""


class ScoringError(SriError):
    """Signals do not fit the detector that should score them."""


class WorkerLost(SriError):
    """Workers ended over one batch more often than is allowed; the message names it, the last of them, and why."""


class SinkRejected(SriError):
    """A sink will never take some of the observations that it was handed; the others are safe."""

    def __init__(self, ids: Collection[str], why: str) -> None:
        """Takes the ids of those observations, and why, without anything that a user typed."""
        super().__init__(f"{len(ids)} observations rejected: {why}")
        self.ids = frozenset(ids)
        self.why = why


class ConformanceError(SriError):
    """A plugin breaks a promise of its interface."""


def did_you_mean(found: str, allowed: Iterable[str]) -> str:
    """` Did you mean 'x'?` for the closest allowed word, or an empty string."""
    close = get_close_matches(found, list(allowed), n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


EXTRA_WITH = {
    **dict.fromkeys(("torch", "transformers", "safetensors", "rich"), "capture"),
    **dict.fromkeys(("sklearn", "skl2onnx", "onnx", "scipy", "google"), "train"),
    **dict.fromkeys(("matplotlib", "jinja2"), "report"),
    "cryptography": "sign",
    **dict.fromkeys(("uvicorn", "uvloop", "httptools", "sqlalchemy", "alembic", "prometheus_client"), "serve"),
    **dict.fromkeys(("grpc", "tritonclient"), "grpc"),
    "starlette": "dashboard",
    "psycopg": "postgres",
    "opentelemetry": "traces",
    "confluent_kafka": "kafka",
    "ray": "scale",
}
"""Import name -> extra. `google` is protobuf."""


def missing_package(err: BaseException | None) -> str | None:
    """Import name of the package whose absence an error reports; None = the error is about something else."""
    return err.name.partition(".")[0] if isinstance(err, ModuleNotFoundError) and err.name else None


def missing_extra(err: BaseException | None) -> str | None:
    """The extra that would have prevented an error; None = no extra would."""
    return EXTRA_WITH.get(missing_package(err) or "")
