"""Every reader of bundles, called in the same way: a bundle and a file of signals in, verdicts out."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnxruntime

from sri_sdk.records import Rule
from sri_sdk.scoring.runtime import OLDEST
from tests.runtimes import packages, programs
from tests.runtimes.programs import RUNTIMES, Absent

ROOT = RUNTIMES.parents[2]
COMMAND_LINE = "from sri_sdk.cli import main; main()"


@dataclass(frozen=True)
class Reader:
    """A program that scores."""

    name: str
    versions: str
    """What it ran on."""
    command: tuple[str, ...]
    """Followed by bundle, signals and `--rule`; prints a verdict per line."""
    folder: Path = ROOT

    def verdicts(self, bundle: Path, signals: Path, rule: Rule) -> list[dict[str, Any]]:
        """What it says of every row.

        Raises:
            RuntimeError: it refuses, or crashes.
        """
        done = subprocess.run(
            [*self.command, str(bundle), str(signals), "--rule", rule],
            cwd=self.folder, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"{self.name}: exit code {done.returncode}: {done.stderr.strip()[-2000:]}")
        return [json.loads(line) for line in done.stdout.splitlines()]


def _python(_: Path) -> Reader:
    versions = f"Python {_python_version()}, onnxruntime {onnxruntime.__version__}"
    versions = f"Python {_python_version()}, onnxruntime {onnxruntime.__version__}"
    return Reader("python", versions, tuple(_cli(sys.executable)))


def _oldest_python(folder: Path) -> Reader:
    """The oldest onnxruntime that may load a bundle, in an environment of its own."""
    wanted = ".".join(map(str, OLDEST))
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    others = [one for one in declared if not one.startswith("onnxruntime")]
    with programs.once(folder, f"onnxruntime-{wanted}") as out:
        if out:
            subprocess.run([sys.executable, "-m", "venv", str(out)], check=True)
            install = [str(out / "bin/python"), "-m", "pip", "install", "--quiet", f"onnxruntime=={wanted}.*", *others]
            done = subprocess.run(install, capture_output=True, text=True)
            if done.returncode:
                raise Absent(f"pip cannot install onnxruntime {wanted}: {done.stderr.strip()[-200:]}")
    python = str(folder / f"onnxruntime-{wanted}/bin/python")
    found = _described([python, "-c", "import onnxruntime; print(onnxruntime.__version__)"])
    return Reader("python-oldest", f"Python {_python_version()}, onnxruntime {found}", tuple(_cli(python)))


def _node(backend: str, package: str) -> Callable[[Path], Reader]:
    def make(_: Path) -> Reader:
        folder = packages.ready("node")
        version = json.loads((folder / "node_modules" / package / "package.json").read_text())["version"]
        command = "node", str(folder / "bin/sri-score.js"), "--backend", backend
        name = "node" if backend == "native" else f"node-{backend}"
        return Reader(name, f"Node {_described(['node', '--version'])[1:]}, {package} {version}", command, folder)

    return make


def _program(language: str, version: list[str]) -> Callable[[Path], Reader]:
    def make(folder: Path) -> Reader:
        program = programs.build(language, folder)
        found = re.findall(r"\d+\.\d+(?:\.\d+)*", _described(version))[-1 if language == "c" else 0]
        called = {"c": "gcc", "rust": "Rust", "go": "Go", "java": "Java"}[language]
        return Reader(language, f"{called} {found}, onnxruntime {onnxruntime.__version__}", program.command)

    return make


READERS: dict[str, Callable[[Path], Reader]] = {
    "python": _python,
    "python-oldest": _oldest_python,
    "node": _node("native", "onnxruntime-node"),
    "node-wasm": _node("wasm", "onnxruntime-web"),
    "c": _program("c", ["gcc", "--version"]),
    "rust": _program("rust", ["rustc", "--version"]),
    "go": _program("go", ["go", "version"]),
    "java": _program("java", ["java", "--version"]),
}
"""Name -> how to make it ready in a folder; raises Absent where that cannot be done. The first is what the others are
compared with."""


def _cli(python: str) -> list[str]:
    return [python, "-c", COMMAND_LINE, "score", "--json"]


def _python_version() -> str:
    return ".".join(map(str, sys.version_info[:3]))


def _described(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[0].strip()
