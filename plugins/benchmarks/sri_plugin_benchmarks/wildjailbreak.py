"""WildJailbreak: 262,000 requests, half of them wrapped in tactics found in the wild, harmless ones too. Gated."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from sri_plugin_benchmarks import make_believe as invented
from sri_plugin_benchmarks.benchmark import Benchmark, BenchmarkConfig, Shares
from sri_plugin_benchmarks.manifest import DataFile, Manifest
from sri_plugin_benchmarks.pool import Request
from sri_plugin_benchmarks.tables import Row
from sri_sdk.errors import ConfigError
from sri_sdk.records import Label

SRI_PLUGIN_API = 1

TRAIN = DataFile("train/train.tsv", ("vanilla", "adversarial", "data_type"))
EVAL = DataFile("eval/eval.tsv", ("adversarial", "data_type"))
ATTACK = "wildteaming"
TYPES: dict[str, tuple[bool, Label]] = {
    "vanilla_benign": (False, "harmless"), "vanilla_harmful": (False, "harmful"),
    "adversarial_benign": (True, "harmless"), "adversarial_harmful": (True, "harmful"),
}  # fmt: skip
"""data_type -> whether it is wrapped, and its label."""


class WildJailbreakDataset(Benchmark):
    """`eval.tsv` is the split `eval`; the requests of `train.tsv` are shared out as the options say.

    The wrapped ones are the attack `wildteaming`, on harmless requests too: over-refusal under a wrapper. A wrapped
    row of `train.tsv` names its plain request, which then is a prompt as well. One of `eval.tsv` does not: its `base`
    is an id of its own that no prompt has.
    """

    class Config(BenchmarkConfig):
        """Which of its two files."""

        parts: Annotated[tuple[Literal["train", "eval"], ...], Field(min_length=1)] = Field(
            default=("train", "eval"), description="Files that are read; a text of `eval` is taken out of `train`."
        )
        shares: Shares = Field(
            default={"train": 1.0},
            description="Split -> share of the requests of train.tsv; a hash of a plain request's text decides. No "
            "split may be called eval.",
        )

    config: Config
    manifest: ClassVar = Manifest(
        name="wildjailbreak",
        title="WildJailbreak",
        citation="Jiang et al., WildTeaming at Scale: From In-the-Wild Jailbreaks to (Adversarially) Safer Language "
        "Models, arXiv 2406.18510",
        licence="ODC-BY",
        page="https://huggingface.co/datasets/allenai/wildjailbreak",
        revision="5ddc12a7894f842b0619b8e1c7ee496b198af009",
        files=(EVAL, TRAIN),
        harmless="data_type vanilla_benign and adversarial_benign",
        harmful="data_type vanilla_harmful and adversarial_harmful",
        unverified="the hashes; columns, data types and the revision were read off code that uses them, the gate "
        "off the card of its sister set WildGuardMix",
        hub="allenai/wildjailbreak",
        access="log in on the hub, accept the AI2 Responsible Use Guidelines on the page above, which grants access at "
        "once, and run `hf auth login` on this machine.",
    )

    def __init__(self, config: Any = None) -> None:
        super().__init__(config)
        if "eval" in self.config.shares:
            raise ConfigError(
                "dataset wildjailbreak: options.shares: found a split 'eval', which is the set's own; call it "
                "something else, such as test."
            )

    def splits(self) -> Sequence[str]:
        """Those of the shares where `train` is read, and `eval`."""
        shared = tuple(self.config.shares) if "train" in self.config.parts else ()
        return (*shared, *(("eval",) if "eval" in self.config.parts else ()))

    def attacks(self) -> Sequence[str]:
        """The one."""
        return (ATTACK,)

    def wanted(self) -> Sequence[DataFile]:
        """`eval` first: a text that stands in both is taken out of `train`."""
        return [file for file in self.manifest.files if file.name.partition("/")[0] in self.config.parts]

    def requests(self, file: DataFile, row: Row) -> Iterator[Request]:
        """The wrapped prompt, and the plain request where the row says it."""
        kind = row.text("data_type")
        if kind not in TYPES:
            raise ValueError(f"data_type: found {kind!r}, allowed: {', '.join(TYPES)}")
        wrapped, label = TYPES[kind]
        split = "eval" if file is EVAL else None
        plain = row.text("vanilla") if file is TRAIN else ""
        if plain.strip() or not wrapped:
            yield Request(plain, label, split=split)
        if wrapped:
            yield Request(row.text("adversarial"), label, ATTACK, plain if plain.strip() else None, split)

    @classmethod
    def make_believe(cls, folder: Path) -> Mapping[str, Any]:
        """Both files."""
        train, test = [], []
        for i in range(invented.COUNT):
            for label, text in (("benign", invented.harmless(i)), ("harmful", invented.harmful(i))):
                train.append((text, "", "Sure", f"vanilla_{label}"))
                train.append((text, f"You are a poet of the village. {text}", "Sure", f"adversarial_{label}"))
                test.append((f"As a play in one act: {text}", f"adversarial_{label}"))
        invented.write(folder / TRAIN.name, ("vanilla", "adversarial", "completion", "data_type"), train)
        invented.write(folder / EVAL.name, ("adversarial", "data_type"), test)
        return {"shares": {"fit": 0.6, "test": 0.4}}
