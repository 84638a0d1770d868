"""HarmBench's text behaviours: 400 harmful requests, 100 of them with a context and 100 about copyright."""

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

READ = ("Behavior", "FunctionalCategory", "ContextString")
COLUMNS = ("Behavior", "FunctionalCategory", "SemanticCategory", "Tags", "ContextString", "BehaviorID")
FOLDER = "data/behavior_datasets"
CATEGORIES = ("standard", "contextual", "copyright")


class HarmBenchDataset(Benchmark):
    """Plain harmful requests. One with a context is the context, a rule, and the request, as HarmBench asks it."""

    class Config(BenchmarkConfig):
        """Which of the behaviours."""

        part: Literal["all", "val", "test"] = Field(
            default="all",
            description="HarmBench's own parts: all 400, or the 80 for tuning and the 320 for testing.",
        )
        categories: Annotated[tuple[Literal["standard", "contextual", "copyright"], ...], Field(min_length=1)] = Field(
            default=("standard", "contextual"),
            description="Functional categories. Copyright is left out: its responses are judged by comparison with a "
            "text, not by harm.",
        )

    config: Config
    manifest: ClassVar = Manifest(
        name="harmbench",
        title="text behaviours of HarmBench",
        citation="Mazeika et al., HarmBench: A Standardized Evaluation Framework for Automated Red Teaming and Robust "
        "Refusal, arXiv 2402.04249",
        licence="MIT",
        page="https://github.com/centerforaisafety/HarmBench",
        revision="main",
        files=(
            # Computed from a copy in allenai/wildteaming; a second party reports the same for the original.
            DataFile(
                f"{FOLDER}/harmbench_behaviors_text_all.csv", READ,
                "8d81accedd38eaaf8b760618622bb888417d1fd0c86eba65c427a16f1cbb4afc",
            ),
            DataFile(f"{FOLDER}/harmbench_behaviors_text_val.csv", READ),
            DataFile(f"{FOLDER}/harmbench_behaviors_text_test.csv", READ),
        ),
        harmless="none",
        harmful="every row",
        unverified="the hash and the columns are those of a copy; the original was not at hand",
    )  # fmt: skip

    def wanted(self) -> Sequence[DataFile]:
        """The file of the part."""
        return [self.manifest.file(f"harmbench_behaviors_text_{self.config.part}.csv")]

    def requests(self, file: DataFile, row: Row) -> Iterator[Request]:
        """One per row of the categories asked for."""
        category, text, context = (row.text(name) for name in ("FunctionalCategory", "Behavior", "ContextString"))
        if category not in CATEGORIES:
            raise ValueError(f"FunctionalCategory: found {category!r}, allowed: {', '.join(CATEGORIES)}")
        if category in self.config.categories:
            yield Request(f"{context}\n\n---\n\n{text}" if context.strip() else text, "harmful")

    @classmethod
    def make_believe(cls, folder: Path) -> Mapping[str, Any]:
        """The file of all."""
        rows = [
            (
                invented.harmful(i), CATEGORIES[i % 3], "illegal", "context" if i % 3 == 1 else "",
                "Lanterns hang beside doors." if i % 3 == 1 else "", f"lantern_{i}",
            )
            for i in range(invented.COUNT)
        ]  # fmt: skip
        invented.write(folder / f"{FOLDER}/harmbench_behaviors_text_all.csv", COLUMNS, rows)
        return {"shares": {"fit": 0.5, "test": 0.5}}
