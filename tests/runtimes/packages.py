"""The packages of npm that the readers in JavaScript need, installed into their folders. Tests and the comparison share
this."""

from __future__ import annotations

import fcntl
import re
import shutil
import subprocess
from pathlib import Path

from tests.runtimes.programs import RUNTIMES, Absent

NODE = (20, 12)
"""Oldest release that the packages support."""


def ready(name: str) -> Path:
    """The folder `node` or `web`, with what it needs from npm installed.

    Raises:
        Absent: node or npm is missing or too old, or npm cannot install.
    """
    folder = RUNTIMES / name
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise Absent("no node or npm on PATH")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    if tuple(int(x) for x in re.findall(r"\d+", version)[:2]) < NODE:
        raise Absent(f"node {version.strip()}, the package needs {'.'.join(map(str, NODE))}")
    # Two test workers must not install into one folder at once.
    with (folder / ".install-lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        wanted, stamp = (folder / "package-lock.json").read_bytes(), folder / "node_modules/.installed"
        if not stamp.exists() or stamp.read_bytes() != wanted:
            _install(npm, folder)
            stamp.write_bytes(wanted)
    return folder


def _install(npm: str, folder: Path) -> None:
    # Without its install script onnxruntime-node is complete for CPUs; the script would download CUDA libraries.
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=800)
    if done.returncode:
        raise Absent(f"npm cannot install {folder.name}'s packages: {done.stderr.strip().splitlines()[:1]}")
