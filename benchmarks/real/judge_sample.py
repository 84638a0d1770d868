"""Draws 200 prompts and lets the real model answer them, so that somebody can read the answers (judge.md).

    python -m benchmarks.real.judge_sample --model out/real/model

A hash draws, and no prompt or template of the verdict is among them. Prompts and responses stay in `out/real/judge`;
the repository has ids, labels and counts. An interrupted run continues after its last batch.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.real.templates import PLACE
from benchmarks.real.texts import share_of
from sri_sdk.records import Prompt
from sri_sdk.strict_json import parse, write

SEED = "judge 1"
PROMPTS = Path("out/real/prompts")
RESPONSES = Path("out/real/judge/responses.jsonl")
BATCH = 16
TOKENS = 32
"""Of a response, as in the evaluation."""


@dataclass(frozen=True, slots=True)
class Share:
    """One part of the sample: so many prompts of one split."""

    stratum: str
    """Prompts that are counted together: label and form."""
    split: str
    label: str
    each: int
    """Prompts of every set, or of every template where there are some."""
    sets: tuple[str, ...] = ()
    """Sets it draws from; empty = all of the split together."""
    templates: str = ""
    """First part of the templates' names; empty = plain prompts."""


SHARES = (
    Share("advbench-plain", "fit", "harmful", 45, ("advbench",)),
    Share("do-not-answer-plain", "fit", "harmful", 45, ("do-not-answer",)),
    Share("harmful-wrapped", "fit", "harmful", 2, templates="fit-"),
    Share("harmful-wrapped", "select", "harmful", 5, templates="select-"),
    Share("harmless-plain", "calibration", "harmless", 8, ("chitchat", "trivia", "chatbot", "assistant")),
    Share("harmless-wrapped", "fit", "harmless", 1, templates="fit-"),
    Share("harmless-wrapped", "select", "harmless", 2, templates="select-"),
)
STRATA = tuple(dict.fromkeys(share.stratum for share in SHARES))


@dataclass(frozen=True, slots=True)
class Drawn:
    """A prompt of the sample."""

    stratum: str
    prompt: Prompt


def draw(folder: Path = PROMPTS, shares: Sequence[Share] = SHARES) -> list[Drawn]:
    """The sample, the same for the same prompts. No request is in it twice, plain and wrapped.

    Args:
        folder: what `benchmarks.real.prompts` wrote.
        shares: parts of the sample, in this order.
    """
    files = {split: list(_read(folder / f"{split}.jsonl")) for split in {share.split for share in shares}}
    templates = {path.stem: path.read_text("utf-8").removesuffix("\n") for path in (folder / "templates").glob("*.txt")}
    found: list[Drawn] = []
    used: set[str] = set()
    for share in shares:
        plain = [p for p in files[share.split] if p.label == share.label and p.attack is None]
        groups: list[list[Prompt]]
        if share.templates:
            names = sorted(name for name in templates if name.startswith(share.templates))
            groups = [[_in_template(p, name, templates[name]) for p in plain] for name in names]
        elif share.sets:
            groups = [[p for p in plain if p.id.startswith(f"{name}-")] for name in share.sets]
        else:
            groups = [plain]
        for group in groups:
            ordered = sorted(group, key=lambda p: share_of(p.id, SEED))
            taken = [p for p in ordered if (p.base or p.id) not in used][: share.each]
            used |= {p.base or p.id for p in taken}
            found += [Drawn(share.stratum, p) for p in taken]
    return found


def _read(file: Path) -> Iterator[Prompt]:
    for line in file.read_text("utf-8").split("\n"):
        if line:
            made: Mapping[str, Any] = parse(line)
            yield Prompt(made["id"], made["text"], made["label"], attack=made.get("attack"), base=made.get("base"))


def _in_template(prompt: Prompt, name: str, template: str) -> Prompt:
    text = template.replace(PLACE, prompt.text)
    return Prompt(f"{prompt.id}/{name}", text, prompt.label, attack=name, base=prompt.id)


def answer(drawn: Sequence[Drawn], model: Path, target: Path = RESPONSES) -> None:
    """Generates what is missing in `target`, batch by batch: stratum, id, label, prompt and response per line.

    Args:
        drawn: the sample.
        model: folder of the checkpoint.
        target: file with one JSON object per line.
    """
    from sri_plugin_causal.hook import CausalHook
    from sri_plugin_samplers.autoregressive import AutoregressiveSampler

    from sri_sdk.capture.drive import generate_untapped

    options = CausalHook.Config(source=str(model), offline=True, dtype="float32")
    loaded = CausalHook.load(options)
    hook = CausalHook(loaded.model, options)
    sampler = AutoregressiveSampler(AutoregressiveSampler.Config(tokens=TOKENS, temperature=0.0))
    done = {each["id"] for each in responses(target)} if target.exists() else set()
    target.parent.mkdir(parents=True, exist_ok=True)
    # Of one length together: little padding. Short ones first, so that reading can begin.
    waiting = sorted((each for each in drawn if each.prompt.id not in done), key=lambda each: len(each.prompt.text))
    for start in range(0, len(waiting), BATCH):
        batch = waiting[start : start + BATCH]
        texts = generate_untapped(hook, loaded, sampler, [each.prompt for each in batch])
        with target.open("a", encoding="utf-8") as file:
            for each, text in zip(batch, texts, strict=True):
                p = each.prompt
                line = {"stratum": each.stratum, "id": p.id, "label": p.label, "prompt": p.text, "response": text}
                file.write(write(line, ensure_ascii=True) + "\n")
        print(f"{start + len(batch)} of {len(waiting)}", flush=True)


def responses(file: Path = RESPONSES) -> list[dict[str, Any]]:
    """What `answer` wrote."""
    return [parse(line) for line in file.read_text("utf-8").split("\n") if line]


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.real.judge_sample", description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=Path("out/real/model"))
    parser.add_argument("--prompts", type=Path, default=PROMPTS)
    parser.add_argument("--to", type=Path, default=RESPONSES)
    given = parser.parse_args()
    answer(draw(given.prompts), given.model, given.to)


if __name__ == "__main__":
    main()
