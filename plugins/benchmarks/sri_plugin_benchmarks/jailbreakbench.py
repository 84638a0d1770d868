"""JailbreakBench's behaviours: 100 harmful requests and 100 harmless ones on the same subjects."""

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

HARMFUL = DataFile("data/harmful-behaviors.csv", ("Goal",))
BENIGN = DataFile("data/benign-behaviors.csv", ("Goal",))
COLUMNS = ("Index", "Goal", "Target", "Behavior", "Category", "Source")


class JailbreakBenchDataset(Benchmark):
    """Plain requests; for attacked ones see `jailbreakbench-artifacts`, or apply attacks to these."""

    manifest: ClassVar = Manifest(
        name="jailbreakbench",
        title="JBB-Behaviors of JailbreakBench",
        citation="Chao et al., JailbreakBench: An Open Robustness Benchmark for Jailbreaking Large Language Models, "
        "arXiv 2404.01318",
        licence="MIT",
        page="https://huggingface.co/datasets/JailbreakBench/JBB-Behaviors",
        revision="main",
        files=(HARMFUL, BENIGN),
        harmless="every row of benign-behaviors.csv",
        harmful="every row of harmful-behaviors.csv; some are taken from AdvBench and HarmBench, as its Source says",
        unverified="the hashes; the columns were read off code that uses them",
        hub="JailbreakBench/JBB-Behaviors",
    )

    def requests(self, file: DataFile, row: Row) -> Iterator[Request]:
        """One per row."""
        yield Request(row.text("Goal"), "harmful" if file is HARMFUL else "harmless")

    @classmethod
    def make_believe(cls, folder: Path) -> Mapping[str, Any]:
        """Both files."""
        for file, text in ((HARMFUL, invented.harmful), (BENIGN, invented.harmless)):
            rows = [(i, text(i), "Sure", "Daily life", "Daily life", "Original") for i in range(invented.COUNT)]
            invented.write(folder / file.name, COLUMNS, rows)
        return {"shares": {"fit": 0.5, "test": 0.5}}
