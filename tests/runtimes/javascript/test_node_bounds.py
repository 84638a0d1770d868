"""Portable bundles that ask Node for much: refused in Python's words, or opened, within Python's bounds."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sri_sdk.bundle.bundle import Bundle
from tests.runtimes.demanding import NAMES, reason

pytestmark = pytest.mark.timeout(300)

ROWS = 500


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of memory from /proc")
@pytest.mark.parametrize("name", NAMES)
def test_node_opens_or_refuses_a_demanding_graph_as_python_does_and_within_its_bounds(
    packages: Callable[[str], Path], demanding: Path, fitted: Bundle, name: str
) -> None:
    program = Path(__file__).with_name("open_bounded.mjs")
    command = ["node", program, packages("node"), fitted.path, demanding / name / "bundle", str(ROWS)]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["megabytes"] < 200
    assert found["seconds"] < 2
    theirs = (demanding / name / "refusal.txt").read_text(encoding="utf-8")
    if theirs:
        assert found["scores"] is None
        assert {reason(found[what]).replace('"', "'") for what in ("bundle", "graph")} == {theirs}
    else:
        # Such a graph scores something else than the bundle's own did.
        assert "golden row" in found["bundle"] and found["graph"] is None
        assert (np.diff(found["scores"]) >= 0).all() and len(found["scores"]) == ROWS
