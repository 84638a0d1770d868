"""A bundle of the tier `python` from strangers, loaded first in a process with limits.

Shapes in such graphs are not tracked, so nobody can say in advance what they take. The other process loads every graph
and scores as many rows as one call ever gets here. What ends there badly is never loaded here. A graph whose shapes
depend on the values of a signal can still take more for other signals than it took there.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

from sri_sdk.bundle.bundle import Bundle
from sri_sdk.bundle.manifest import SENSITIVE
from sri_sdk.errors import BundleError

MEMORY = 3 * 2**30
"""Bytes of address space; an empty process with onnxruntime takes a third of it."""
SECONDS = 20
"""Of processor time, most of it for starting Python on a slow machine."""
_REFUSED = 3
_DONE = b"every graph was loaded and run"


def trial(bundle: Bundle, names: Collection[str]) -> None:
    """Loads and runs graphs in another process, where they may not take more than `MEMORY` and `SECONDS`.

    Args:
        bundle: from a source that nobody vouched for.
        names: the graphs that will be loaded.

    Raises:
        BundleError: it fails there, or this system cannot limit a process.
    """
    from sri_sdk.bundle.stored_zip import pack

    path = bundle.path
    cure = "Give the digest or the public key of the bundle (`--digest`, `--public-key`) if you trust its source."
    if sys.platform == "win32" or not sys.executable:
        raise BundleError(f"{path}: tier python, and this system cannot try it in a process with limits. {cure}")
    limits = str(MEMORY), str(SECONDS)
    command = [sys.executable, "-P", "-m", "sri_sdk.scoring.trial", *limits, str(path), *names]
    found = os.pathsep.join(filter(None, sys.path))
    try:
        done = subprocess.run(
            command, input=pack(bundle.members), capture_output=True, timeout=3 * SECONDS, check=False,
            env={**os.environ, "PYTHONPATH": found},
        )  # fmt: skip
    except (subprocess.TimeoutExpired, OSError) as err:
        raise BundleError(f"{path}: tier python, and its trial did not end ({type(err).__name__}). {cure}") from err
    if done.returncode == _REFUSED:
        raise BundleError(done.stdout.decode(errors="replace").strip())
    if done.returncode or done.stdout != _DONE:  # Whatever ends the process early might also end it with 0.
        raise BundleError(
            f"{path}: tier python, and its trial ended with {done.returncode}. It may take up to {MEMORY >> 20} MiB "
            f"and {SECONDS} s there. It was not loaded. {cure}"
        )


def _limited(memory: int, seconds: int, path: Path, names: Collection[str]) -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    import numpy as np

    from sri_sdk.bundle.stored_zip import unpack
    from sri_sdk.scoring.runtime import FEW, load
    from sri_sdk.scoring.self_test import golden_inputs

    bundle = Bundle.of(path, unpack(sys.stdin.buffer.read(), str(path)))
    for name in names:
        run = load(bundle.graph(name), f"{path}/{name}.onnx", bundle.manifest.graphs[name], bundle.manifest.tier)
        inputs = golden_inputs(bundle, name)
        if name not in SENSITIVE:  # Hidden states are large; those run on their golden rows only.
            inputs = {key: np.resize(array, (FEW, *array.shape[1:])) for key, array in inputs.items()}
        run(["score", "valid"], inputs)


if __name__ == "__main__":
    try:
        _limited(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:])
        sys.stdout.write(_DONE.decode())
    except BundleError as err:
        sys.stdout.write(f"{err}\n")
        sys.exit(_REFUSED)
