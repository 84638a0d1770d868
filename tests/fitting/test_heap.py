"""Memory stays in the process while batches are generated, and goes back afterwards."""

from __future__ import annotations

import subprocess
import sys

import pytest

from sri_sdk.fitting.heap import kept_heap

resource = pytest.importorskip("resource")
SCRIPT = """
import resource
from pathlib import Path
import numpy as np
from sri_sdk.fitting.heap import kept_heap

def faults(arrays):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        held = [np.ones(2**20) for _ in range(arrays)]
        del held
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1])

before = resident()
with kept_heap():
    with kept_heap():
        faults(4)
    inside = faults(4)
    held = resident() - before
print(inside, held, resident() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc")
def test_pages_are_taken_once_and_given_back_behind_the_block(monkeypatch):
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True, timeout=120)
    inside, held, after = (int(word) for word in done.stdout.split())
    # Four arrays of 8 MiB are 8192 pages of 4 KiB; ten rounds would take them ten times.
    assert inside < 500
    assert held > 7000
    assert after < 1000


def test_an_allocator_that_the_environment_sets_is_left_alone(monkeypatch):
    monkeypatch.setenv("MALLOC_ARENA_MAX", "1")
    monkeypatch.setattr("sri_sdk.fitting.heap._enter", lambda _: pytest.fail("it was set"))
    with kept_heap():
        pass


def test_what_the_block_raises_ends_it():
    with pytest.raises(KeyError), kept_heap():
        raise KeyError
    with kept_heap():
        pass
