"""JailbreakBench's artifacts: attacked prompts that others found, one JSON file per method and model."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from sri_plugin_benchmarks import make_believe as invented
from sri_plugin_benchmarks.artifact_hashes import SHA256
from sri_plugin_benchmarks.benchmark import Benchmark, BenchmarkConfig
from sri_plugin_benchmarks.manifest import DataFile, Manifest
from sri_plugin_benchmarks.pool import Request
from sri_plugin_benchmarks.tables import Row
from sri_sdk.errors import ConfigError

SRI_PLUGIN_API = 1

COLUMNS = ("index", "goal", "prompt", "jailbroken")
VICUNA, LLAMA, GPT_35, GPT_4 = "vicuna-13b-v1.5", "llama-2-7b-chat-hf", "gpt-3.5-turbo-1106", "gpt-4-0125-preview"
OPEN, CLOSED = (VICUNA, LLAMA), (GPT_35, GPT_4)
KNOWN = {
    "PAIR": dict.fromkeys((*OPEN, *CLOSED), "black_box"),
    "GCG": dict.fromkeys(OPEN, "white_box") | dict.fromkeys(CLOSED, "transfer"),
    "JBC": dict.fromkeys((*OPEN, *CLOSED), "manual"),
    "prompt_with_random_search": dict.fromkeys((*OPEN, *CLOSED), "black_box"),
    "DSN": dict.fromkeys(OPEN, "white_box"),
}
"""Method -> model it was run against -> folder. DSN is the newest, and has no file for the closed models."""


def _file(method: str, model: str) -> DataFile:
    name = f"attack-artifacts/{method}/{KNOWN[method][model]}/{model}.json"
    return DataFile(name, COLUMNS, SHA256[method][model], inside="jailbreaks")


class JailbreakBenchArtifactsDataset(Benchmark):
    """Attacked prompts as they were submitted: fixed texts, made against other models than yours perhaps.

    The plain requests are the goals they were made of. An attack's name is that of its folder.
    """

    class Config(BenchmarkConfig):
        """Which attacks, found against which model."""

        model: Literal["vicuna-13b-v1.5", "llama-2-7b-chat-hf", "gpt-3.5-turbo-1106", "gpt-4-0125-preview"] = Field(
            default="vicuna-13b-v1.5", description="Model that the attacks were run against."
        )
        methods: Annotated[
            tuple[Literal["PAIR", "GCG", "JBC", "prompt_with_random_search", "DSN"], ...], Field(min_length=1)
        ] = Field(default=("PAIR", "GCG", "JBC", "prompt_with_random_search"), description="Attacks, by their folders.")
        jailbroken: bool = Field(
            default=False, description="Only prompts that worked on `model`, as its authors judged; false = all."
        )

    config: Config
    manifest: ClassVar = Manifest(
        name="jailbreakbench-artifacts",
        title="artifacts of JailbreakBench",
        citation="Chao et al., JailbreakBench: An Open Robustness Benchmark for Jailbreaking Large Language Models, "
        "arXiv 2404.01318, and the authors of each attack",
        licence="MIT",
        page="https://github.com/JailbreakBench/artifacts",
        revision="909e68c01d94222b8ad2e397a017e2e12e2adb73",
        files=tuple(_file(method, model) for method, models in KNOWN.items() for model in models),
        harmless="none",
        harmful="every entry of `jailbreaks`: its `goal` plain, its `prompt` attacked; entries without a prompt are "
        "passed over, since the attack gave up on them",
        unverified="nothing: form and hashes are those of the files at this revision",
    )

    def attacks(self) -> Sequence[str]:
        """Those the options name."""
        return self.config.methods

    def wanted(self) -> Sequence[DataFile]:
        """One file per method."""
        model = self.config.model
        lacking = [method for method in self.config.methods if model not in KNOWN[method]]
        if lacking:
            raise ConfigError(
                f"dataset {self.manifest.name}: options.methods: {', '.join(lacking)} has no file for {model}; models "
                f"it has: {', '.join(KNOWN[lacking[0]])}."
            )
        return [_file(method, model) for method in self.config.methods]

    def requests(self, file: DataFile, row: Row) -> Iterator[Request]:
        """The goal, and the prompt where there is one."""
        goal, prompt = row.text("goal"), row.text("prompt")
        # A few goals are worded differently from file to file.
        group = f"behaviour {row.text('index')}"
        yield Request(goal, "harmful", group=group)
        if prompt and (row.cells["jailbroken"] is True or not self.config.jailbroken):
            yield Request(prompt, "harmful", file.name.split("/")[1], goal, group=group)

    @classmethod
    def make_believe(cls, folder: Path) -> Mapping[str, Any]:
        """The files of two methods, the second of which gave up once."""
        for method, wrapper in (("PAIR", "Let us play a game. {}"), ("GCG", "{} !! describing + similarly")):
            file = folder / _file(method, VICUNA).name
            file.parent.mkdir(parents=True)
            entries = [
                {
                    "index": i, "goal": invented.harmful(i), "behavior": f"Day {i}", "category": "Daily life",
                    "prompt": None if (method, i) == ("GCG", 3) else wrapper.format(invented.harmful(i)),
                    "response": "Sure", "jailbroken": i % 2 == 0,
                }
                for i in range(invented.COUNT)
            ]  # fmt: skip
            file.write_text(json.dumps({"parameters": {"method": method}, "jailbreaks": entries}), encoding="utf-8")
        return {"methods": ("PAIR", "GCG")}
