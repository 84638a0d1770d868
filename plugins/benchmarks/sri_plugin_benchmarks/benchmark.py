"""What all sets share: options, and the way from files to prompts. A set names its files and reads one row."""

from __future__ import annotations

import hashlib
import logging
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints

import sri_sdk
from sri_plugin_benchmarks.files import Found, locate
from sri_plugin_benchmarks.manifest import DataFile, Manifest
from sri_plugin_benchmarks.pool import Pool, Request, Sort, pooled
from sri_plugin_benchmarks.tables import Row, read_rows, refuse
from sri_sdk.errors import ConfigError, did_you_mean

LABELS = ("harmless", "harmful")
_LOG = logging.getLogger(__name__)


def _at_most_all(shares: dict[str, float]) -> dict[str, float]:
    whole = sum(shares.values())
    if not shares or whole > 1 + 1e-9:
        raise ValueError(f"shares: must hold at least one split and add up to 1 at most, found {whole:g}")
    return shares


Shares = Annotated[dict[str, Annotated[float, Field(gt=0, le=1)]], AfterValidator(_at_most_all)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-fA-F]{64}$")]


class BenchmarkConfig(sri_sdk.Config):
    """Where the files are, and which prompts are used for what."""

    path: Path | None = Field(
        default=None, description="The file, or the folder that holds the files, as published; csv, tsv, json or jsonl."
    )
    shares: Shares = Field(
        default={"test": 1.0},
        description="Split -> share of the requests, such as {fit: 0.5, calibration: 0.3, test: 0.2}. A hash of a "
        "request's text decides, its attacked forms go with it, and the order of the splits matters. Published sets "
        "are for measuring: if you fit on a share of one, say so.",
    )
    revision: str | None = Field(
        default=None, min_length=1, description="Commit, tag or branch of the publication; null = the one we know."
    )
    sha256: dict[str, Sha256] = Field(
        default={}, description="File, as the set names it -> sha256 it must have; one we know is checked anyway."
    )
    download: bool = Field(
        default=False, description="Take the files from the Hugging Face hub where `path` is null and the set is there."
    )


class Benchmark(sri_sdk.Dataset):
    """A published set. Its files are read when the first prompt is needed; every bad row is reported at once.

    A text that stands twice is drawn once, and one that the set calls both harmless and harmful is not drawn at all;
    `provenance` counts both.
    """

    manifest: ClassVar[Manifest]
    """What is known about the set."""
    Config = BenchmarkConfig
    config: BenchmarkConfig

    # -- what a set says -------------------------------------------------------------------------------------

    def wanted(self) -> Sequence[DataFile]:
        """The files that the options ask for; where two hold one text, the first counts."""
        return self.manifest.files

    @abstractmethod
    def requests(self, file: DataFile, row: Row) -> Iterable[Request]:
        """The requests in one row; none = the row is not used.

        Raises:
            ValueError: what is wrong with the row.
        """

    @classmethod
    @abstractmethod
    def make_believe(cls, folder: Path) -> Mapping[str, Any]:
        """Writes small files of the same form with invented texts, for the conformance kit; returns options."""

    # -- a dataset -------------------------------------------------------------------------------------------

    def splits(self) -> Sequence[str]:
        """The splits that the options divide the requests into."""
        return tuple(self.config.shares)

    def prompts(
        self, split: str, label: Literal["harmless", "harmful"], count: int, *, attack: str | None = None
    ) -> list[sri_sdk.Prompt]:
        """The first `count` prompts of a split, in an order that does not follow the files."""
        refuse_unknown(self, self.manifest.name, split, label, attack)
        cure = "Lower the numbers of its folds, or give it a larger share in options.shares."
        return first_of(self._pool.prompts, self.manifest.name, (split, label, attack), count, cure)

    def everything(self) -> Mapping[Sort, tuple[sri_sdk.Prompt, ...]]:
        """Every prompt by split, label and attack, in the order in which they are drawn. Reads the files.

        Raises:
            ConfigError: as `prompts`.
        """
        return self._pool.prompts

    def provenance(self) -> dict[str, Any]:
        """What was read, as JSON types: licence, citation, and the sha256 of every file. Reads the files.

        Raises:
            ConfigError: as `prompts`.
        """
        known, pool = self.manifest, self._pool
        return {
            "set": known.title, "citation": known.citation, "licence": known.licence, "page": known.page,
            "unverified": known.unverified,
            "files": [
                {"file": x.file.name, "revision": x.revision, "sha256": x.sha256, "expected": x.expected}
                for x in self._found
            ],
            "prompts": sum(map(len, pool.prompts.values())), "repeated": pool.repeated,
            "contradicting": pool.contradicting,
        }  # fmt: skip

    @classmethod
    def example(cls) -> Self:
        """A dataset on make-believe files of the same form, which are gone once it has read them."""
        with TemporaryDirectory(prefix="sri-make-believe-") as folder:
            options = cls.make_believe(Path(folder))
            made = cls(cls.Config(**{"path": folder, "sha256": _hashes(Path(folder)), **options}))
            # Read now: it keeps what it has read.
            made.provenance()
        return made

    # -- from files to prompts -------------------------------------------------------------------------------

    @cached_property
    def _found(self) -> tuple[Found, ...]:
        wanted, options = self.wanted(), self.config
        names = [file.name for file in self.manifest.files]
        if stray := sorted(set(options.sha256) - set(names)):
            raise ConfigError(
                f"dataset {self.manifest.name}: options.sha256: no file is named {stray[0]}; files: {', '.join(names)}."
                f"{did_you_mean(stray[0], names)}"
            )
        found, problems = [], []
        for file in wanted:
            try:
                each = locate(
                    self.manifest, file, path=options.path, alone=len(wanted) == 1, revision=options.revision,
                    download=options.download, pinned=options.sha256.get(file.name),
                )  # fmt: skip
            except ConfigError as err:
                # All of them at once, so that one download round is enough.
                problems.append(str(err))
                continue
            _LOG.info("%s: %s, sha256 %s", self.manifest.name, each.path, each.sha256)
            found.append(each)
        if problems:
            raise ConfigError("\n".join(problems), problems)
        return tuple(found)

    @cached_property
    def _pool(self) -> Pool:
        return pooled(self.manifest.name, self._requests(), self.config.shares)

    def _requests(self) -> Iterator[Request]:
        for found in self._found:
            problems = []
            for row in read_rows(found.path, found.file.columns, found.file.inside):
                try:
                    for request in self.requests(found.file, row):
                        if not request.text.strip():
                            raise ValueError("the text is empty")
                        yield request
                except ValueError as err:
                    problems.append(f"row {row.number}: {err}")
            refuse(found.path, problems)


def _hashes(folder: Path) -> dict[str, str]:
    files = [file for file in folder.rglob("*") if file.is_file()]
    return {file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def refuse_unknown(dataset: sri_sdk.Dataset, called: str, split: str, label: str, attack: str | None) -> None:
    """Refuses what a dataset has nothing of.

    Raises:
        ConfigError: an unknown split, label or attack.
    """
    asked = (("split", split, dataset.splits()), ("label", label, LABELS), ("attack", attack, dataset.attacks()))
    for what, name, known in asked:
        if name is not None and name not in known:
            raise ConfigError(
                f"dataset {called}: unknown {what} {name!r}; allowed: {', '.join(known) or 'none'}."
                f"{did_you_mean(name, known)}"
            )


def first_of(
    pool: Mapping[Sort, Sequence[sri_sdk.Prompt]], called: str,
    wanted: Sort, count: int, cure: str,
) -> list[sri_sdk.Prompt]:  # fmt: skip
    """The first `count` prompts of a split, label and attack.

    Raises:
        ConfigError: there are fewer; `cure` says what to do.
    """
    found, (split, label, attack) = pool.get(wanted, ()), wanted
    if len(found) < count:
        kind = f"{label} prompts" + (f" with attack {attack!r}" if attack else "")
        raise ConfigError(
            f"dataset {called}: {count} {kind} are needed of split {split!r}, it has {len(found)}. {cure}"
        )
    return list(found[:count])
