"""OR-Bench: 80,000 harmless requests that sound harmful, the 1,000 hardest of them, and 600 harmful ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from sri_plugin_benchmarks import make_believe as invented
from sri_plugin_benchmarks.benchmark import Benchmark, BenchmarkConfig
from sri_plugin_benchmarks.manifest import DataFile, Manifest
from sri_plugin_benchmarks.pool import Request
from sri_plugin_benchmarks.tables import Row

SRI_PLUGIN_API = 1

TOXIC = "or-bench-toxic.csv"


class OrBenchDataset(Benchmark):
    """The over-refusal test by number; its texts were written and sorted by models, so a few labels are wrong."""

    class Config(BenchmarkConfig):
        """Which of its three files."""

        parts: Annotated[tuple[Literal["80k", "hard-1k", "toxic"], ...], Field(min_length=1)] = Field(
            default=("hard-1k", "toxic"), description="Files that are read; those of hard-1k stand in 80k too."
        )

    config: Config
    manifest: ClassVar = Manifest(
        name="or-bench",
        title="OR-Bench",
        citation="Cui et al., OR-Bench: An Over-Refusal Benchmark for Large Language Models, arXiv 2405.20947",
        licence="CC-BY-4.0",
        page="https://huggingface.co/datasets/bench-llm/or-bench",
        revision="main",
        files=tuple(DataFile(f"or-bench-{part}.csv", ("prompt",)) for part in ("hard-1k", "toxic", "80k")),
        harmless="every row of or-bench-80k.csv and or-bench-hard-1k.csv",
        harmful="every row of or-bench-toxic.csv",
        unverified="the hashes; columns were read off the card of its sister set",
        hub="bench-llm/or-bench",
    )

    def wanted(self) -> Sequence[DataFile]:
        """The files of the parts."""
        return [file for file in self.manifest.files if file.base[len("or-bench-") : -len(".csv")] in self.config.parts]

    def requests(self, file: DataFile, row: Row) -> Iterator[Request]:
        """One per row."""
        yield Request(row.text("prompt"), "harmful" if file.base == TOXIC else "harmless")

    @classmethod
    def make_believe(cls, folder: Path) -> Mapping[str, Any]:
        """All three files; the hard ones stand among the many, too."""
        for part, texts in {
            "80k": [invented.harmless(i) for i in range(2 * invented.COUNT)],
            "hard-1k": [invented.harmless(i) for i in range(invented.COUNT)],
            "toxic": [invented.harmful(i) for i in range(invented.COUNT)],
        }.items():
            invented.write(
                folder / f"or-bench-{part}.csv", ("prompt", "category"), [(text, "illegal") for text in texts]
            )
        return {"parts": ("80k", "hard-1k", "toxic")}
