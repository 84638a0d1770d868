"""A bundle of the tier `python` from strangers, loaded first in a process with limits.

Shapes in such graphs are not tracked, so nobody can say in advance what they take. The other process loads every graph
and scores as many rows as one call ever gets here. What ends there badly is never loaded here.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from sri_sdk.errors import BundleError

MEMORY = 3 * 2**30
"""Bytes of address space; an empty process with onnxruntime takes a third of it."""
SECONDS = 20
"""Of processor time, most of it for starting Python on a slow machine."""
_REFUSED = 3


def trial(path: Path, members: dict[str, bytes]) -> None:
    """Loads the files of a bundle in another process, where they may not take more than `MEMORY` and `SECONDS`.

    Raises:
        BundleError: it fails there, or this system cannot limit a process.
    """
    from sri_sdk.bundle.stored_zip import pack

    cure = "Give the digest or the public key of the bundle (`--digest`, `--public-key`) if you trust its source."
    if sys.platform == "win32" or not sys.executable:
        raise BundleError(f"{path}: tier python, and this system cannot try it in a process with limits. {cure}")
    command = [sys.executable, "-P", "-m", "sri_sdk.scoring.trial", str(path)]
    found = os.pathsep.join(filter(None, sys.path))
    try:
        done = subprocess.run(
            command, input=pack(members), capture_output=True, timeout=3 * SECONDS, check=False,
            env={**os.environ, "PYTHONPATH": found},
        )  # fmt: skip
    except (subprocess.TimeoutExpired, OSError) as err:
        raise BundleError(f"{path}: tier python, and its trial did not end ({type(err).__name__}). {cure}") from err
    if done.returncode == _REFUSED:
        raise BundleError(done.stdout.decode(errors="replace").strip())
    if done.returncode:
        raise BundleError(
            f"{path}: tier python, and its trial ended with {done.returncode}. It may take up to {MEMORY >> 20} MiB "
            f"and {SECONDS} s there. It was not loaded. {cure}"
        )


def _limited(path: Path) -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    import numpy as np

    from sri_sdk.bundle.bundle import Bundle
    from sri_sdk.bundle.stored_zip import unpack
    from sri_sdk.scoring.runtime import FEW, load

    bundle = Bundle.of(path, unpack(sys.stdin.buffer.read(), str(path)))
    for name in ("signal", "prefix"):
        run = load(
            bundle.graph(name), f"{path}/{name}.onnx", bundle.manifest.graphs[name], bundle.manifest.detector.tier
        )
        stored = {key: packed.unpack() for key, packed in bundle.manifest.golden[name].inputs.items()}
        run(["score", "valid"], {key: np.resize(array, (FEW, *array.shape[1:])) for key, array in stored.items()})


if __name__ == "__main__":
    try:
        _limited(Path(sys.argv[1]))
    except BundleError as err:
        sys.stdout.write(f"{err}\n")
        sys.exit(_REFUSED)
