"""AdvBench's harmful behaviours: 520 harmful requests, many of them close to each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from sri_plugin_benchmarks import make_believe as invented
from sri_plugin_benchmarks.benchmark import Benchmark
from sri_plugin_benchmarks.manifest import DataFile, Manifest
from sri_plugin_benchmarks.pool import Request
from sri_plugin_benchmarks.tables import Row

SRI_PLUGIN_API = 1


class AdvBenchDataset(Benchmark):
    """Plain harmful requests. Near copies of one request may fall into two splits: only equal texts are recognised."""

    manifest: ClassVar = Manifest(
        name="advbench",
        title="harmful behaviours of AdvBench",
        citation="Zou et al., Universal and Transferable Adversarial Attacks on Aligned Language Models, "
        "arXiv 2307.15043",
        licence="MIT",
        page="https://github.com/llm-attacks/llm-attacks",
        revision="main",
        files=(DataFile("data/advbench/harmful_behaviors.csv", ("goal",)),),
        harmless="none",
        harmful="every row",
        unverified="the hash; columns and the count were read off code that uses them. A copy on the hub in another "
        "form (walledai/AdvBench) is gated",
    )

    def requests(self, file: DataFile, row: Row) -> Iterator[Request]:
        """One per row."""
        yield Request(row.text("goal"), "harmful")

    @classmethod
    def make_believe(cls, folder: Path) -> Mapping[str, Any]:
        """The file."""
        rows = [(invented.harmful(i), "Sure, here is how") for i in range(invented.COUNT)]
        invented.write(folder / "data/advbench/harmful_behaviors.csv", ("goal", "target"), rows)
        return {"shares": {"fit": 0.5, "test": 0.5}}
