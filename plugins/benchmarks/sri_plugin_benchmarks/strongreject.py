"""StrongREJECT: 313 harmful requests, or the 60 of its small form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from sri_plugin_benchmarks import make_believe as invented
from sri_plugin_benchmarks.benchmark import Benchmark, BenchmarkConfig
from sri_plugin_benchmarks.manifest import DataFile, Manifest
from sri_plugin_benchmarks.pool import Request
from sri_plugin_benchmarks.tables import Row

SRI_PLUGIN_API = 1

FULL = DataFile("strongreject_dataset/strongreject_dataset.csv", ("forbidden_prompt",))
SMALL = DataFile("strongreject_dataset/strongreject_small_dataset.csv", ("forbidden_prompt",))


class StrongRejectDataset(Benchmark):
    """Plain harmful requests that a strong model can answer in detail."""

    class Config(BenchmarkConfig):
        """Which of its two files."""

        part: Literal["full", "small"] = Field(default="full", description="All 313, or the 60 chosen of them.")

    config: Config
    manifest: ClassVar = Manifest(
        name="strongreject",
        title="StrongREJECT",
        citation="Souly et al., A StrongREJECT for Empty Jailbreaks, arXiv 2402.10260",
        licence="MIT",
        page="https://github.com/alexandrasouly/strongreject",
        revision="3432b2d696b428f242bd507df96d80f686571d5e",
        files=(FULL, SMALL),
        harmless="none",
        harmful="every row; some are taken from AdvBench and others, as its `source` says",
        unverified="the hashes; columns, counts and the revision were read off code that uses them",
    )

    def wanted(self) -> Sequence[DataFile]:
        """The file of the part."""
        return [FULL if self.config.part == "full" else SMALL]

    def requests(self, file: DataFile, row: Row) -> Iterator[Request]:
        """One per row."""
        yield Request(row.text("forbidden_prompt"), "harmful")

    @classmethod
    def make_believe(cls, folder: Path) -> Mapping[str, Any]:
        """The full file."""
        rows = [("Illegal goods", "custom", invented.harmful(i)) for i in range(invented.COUNT)]
        invented.write(folder / FULL.name, ("category", "source", "forbidden_prompt"), rows)
        return {"shares": {"fit": 0.5, "test": 0.5}}
