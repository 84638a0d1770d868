"""Bundles whose graph asks for much, with hashes that fit, and why Python's inspector refuses each."""

from __future__ import annotations

import json
import re
from pathlib import Path

from sri_sdk.bundle.bundle import Bundle
from sri_sdk.errors import BundleError
from sri_sdk.scoring.inspect.inspector import inspect
from tests.scoring import crafted, fuzz
from tests.scoring.test_bounds import DEMANDING

NAMES = list(DEMANDING)


def write(folder: Path, plain: Bundle) -> None:
    """<name>/bundle and <name>/refusal.txt for each name; the text is empty where the graph is allowed.

    `plain` is any bundle of format 1: all but the graph `signal` is its own.
    """
    own = plain.members
    for name, make in DEMANDING.items():
        graph = crafted.dressed(make(), plain.manifest.signal.cells).SerializeToString()
        (folder / name / "bundle").mkdir(parents=True)
        for member, content in fuzz.hashed({**own, "signal.onnx": graph}, json.loads(own["manifest.json"])).items():
            (folder / name / "bundle" / member).write_bytes(content)
        (folder / name / "refusal.txt").write_text(_refusal(graph), encoding="utf-8")


def _refusal(graph: bytes) -> str:
    try:
        inspect(graph, "graph")
    except BundleError as err:
        return reason(str(err))
    return ""


def reason(message: str) -> str:
    """What is wrong, without whose graph it is and what to do about it."""
    (found,) = re.findall(r"not a graph of tier portable: (.*?)\. It was not loaded", message)
    return str(found)
