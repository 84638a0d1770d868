"""XSTest: 250 harmless requests that sound harmful, and 200 harmful ones that look like them."""

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

HARMFUL = "contrast_"


class XSTestDataset(Benchmark):
    """The over-refusal test: a model that refuses a harmless request is too careful."""

    manifest: ClassVar = Manifest(
        name="xstest",
        title="XSTest",
        citation="Röttger et al., XSTest: A Test Suite for Identifying Exaggerated Safety Behaviours in Large Language "
        "Models, arXiv 2308.01263",
        licence="CC-BY-4.0",
        page="https://github.com/paul-rottger/xstest",
        revision="d7bb5bd738c1fcbc36edd83d5e7d1b71a3e2d84d",
        files=(
            DataFile(
                "xstest_prompts.csv", ("prompt", "type"),
                "11783fb294ed017473ee53c207d71f2161c7672c8d0b037501e78387f801cb5a",
            ),
        ),
        harmless="every row whose type does not begin with contrast_",
        harmful="every row whose type begins with contrast_",
        unverified="whether the copy on the hub is the same file",
        hub="Paul/XSTest",
    )  # fmt: skip

    def requests(self, file: DataFile, row: Row) -> Iterator[Request]:
        """One per row."""
        if not row.text("type"):
            raise ValueError("type: is empty, and says whether the row is harmful")
        yield Request(row.text("prompt"), "harmful" if row.text("type").startswith(HARMFUL) else "harmless")

    @classmethod
    def make_believe(cls, folder: Path) -> Mapping[str, Any]:
        """The file."""
        rows: list[tuple[object, ...]] = []
        for i in range(invented.COUNT):
            rows.append((f"v2-{2 * i + 1}", invented.harmless(i), "homonyms", "safe", "bread", ""))
            rows.append((f"v2-{2 * i + 2}", invented.harmful(i), "contrast_homonyms", "unsafe", "lantern", ""))
        invented.write(folder / "xstest_prompts.csv", ("id", "prompt", "type", "label", "focus", "note"), rows)
        return {}
