"""Which extra of sri-sdk brings which package, so that a missing one comes with its cure."""

from __future__ import annotations

EXTRA_WITH = {
    **dict.fromkeys(("torch", "transformers", "safetensors", "rich"), "capture"),
    **dict.fromkeys(("sklearn", "skl2onnx", "onnx", "scipy", "google"), "train"),
    **dict.fromkeys(("matplotlib", "jinja2"), "report"),
    "cryptography": "sign",
}
"""Import name -> extra. `google` is protobuf."""


def missing_package(err: BaseException | None) -> str | None:
    """Import name of the package whose absence an error reports; None = the error is about something else."""
    return err.name.partition(".")[0] if isinstance(err, ModuleNotFoundError) and err.name else None


def missing_extra(err: BaseException | None) -> str | None:
    """The extra that would have prevented an error; None = no extra would."""
    return EXTRA_WITH.get(missing_package(err) or "")
