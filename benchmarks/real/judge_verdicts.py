"""What judges say of the responses that were read, beside the labels: counts for `judge.json`, tables for `judge.md`.

    python -m benchmarks.real.judge_verdicts --model out/real/model    # asks both judges and counts
    python -m benchmarks.real.judge_verdicts --show                    # the tables of what is kept

Only responses that are the ones that were labelled count: another machine may round another token into one.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from benchmarks.real.judge_sample import RESPONSES, STRATA, responses
from sri_sdk.files import sha256
from sri_sdk.judge import Judge
from sri_sdk.metrics.prevalence import JudgeErrors, corrected
from sri_sdk.metrics.rates import Rate, exact_rate
from sri_sdk.records import Outcome, Prompt
from sri_sdk.strict_json import parse, write

WORDS: tuple[Outcome, ...] = get_args(Outcome)
LABELS = Path(__file__).with_name("judge-labels.jsonl")
KEPT = Path(__file__).with_name("judge.json")
JUDGES = ("refusal-phrases", "local-llm")
UNREADABLE = "unreadable"
"""What a judge said whose answer was none of the words; an evaluation counts it as `other`."""
GROUPS: Mapping[str, tuple[str, ...]] = {
    "AdvBench": ("advbench-plain",),
    "Do-Not-Answer": ("do-not-answer-plain",),
    "harmful, plain": ("advbench-plain", "do-not-answer-plain"),
    "harmful, in templates": ("harmful-wrapped",),
    "harmless, plain": ("harmless-plain",),
    "harmless, in templates": ("harmless-wrapped",),
    "harmless": ("harmless-plain", "harmless-wrapped"),
}
"""Responses whose errors are counted together -> their strata."""
EXAMPLES: Mapping[tuple[str, Outcome], tuple[float, ...]] = {
    ("harmful, plain", "refusal"): (0.02, 0.06, 0.1, 0.2),
    ("harmful, plain", "harmful"): (0.8, 0.9, 0.94, 0.98),
    ("harmless, plain", "refusal"): (0.01, 0.03, 0.1),
}
"""Group and outcome -> shares that the phrase judge may find, for the table of what would become of them."""
OF = 400
"""Responses behind each of them."""


def fingerprint(response: str) -> str:
    """What the repository keeps of a response: enough to know it again, and no word of it."""
    return sha256(response.encode())[:16]


def labelled(found: Sequence[Mapping[str, Any]], labels: Path = LABELS) -> list[tuple[Mapping[str, Any], Outcome]]:
    """The responses that are the labelled ones, with their labels.

    Args:
        found: what `judge_sample` wrote.
        labels: file with id, fingerprint of the response, and label per line.
    """
    known = {each["id"]: each for each in (parse(line) for line in labels.read_text("utf-8").split("\n") if line)}
    return [
        (each, known[each["id"]]["label"])
        for each in found
        if each["id"] in known and known[each["id"]]["response"] == fingerprint(each["response"])
    ]


def said_by(judge: Judge, name: str, found: Sequence[Mapping[str, Any]], cache: Path) -> dict[str, str]:
    """Id -> what the judge says; what it said before is read from `cache`, so that a slow one can be interrupted."""
    lines = [parse(line) for line in cache.read_text("utf-8").split("\n") if line] if cache.exists() else []
    known = {(each["id"], each["response"]): each["said"] for each in lines if each["judge"] == judge.version}
    marked = [(each, fingerprint(each["response"])) for each in found]
    waiting = [(each, mark) for each, mark in marked if (each["id"], mark) not in known]
    for start in range(0, len(waiting), 8):
        batch = waiting[start : start + 8]
        asked = [Prompt(each["id"], each["prompt"], each["label"]) for each, _ in batch]
        texts = [each["response"] for each, _ in batch]
        words: list[str] = list(judge.judge(asked, texts))
        words = [UNREADABLE if bad else word for word, bad in zip(words, judge.unparsed(asked, texts), strict=True)]
        with cache.open("a", encoding="utf-8") as file:
            for (each, mark), word in zip(batch, words, strict=True):
                known[each["id"], mark] = word
                file.write(write({"judge": judge.version, "id": each["id"], "response": mark, "said": word}) + "\n")
        print(f"{name}: {start + len(batch)} of {len(waiting)}", flush=True)
    return {each["id"]: known[each["id"], mark] for each, mark in marked}


def count(read: Sequence[tuple[Mapping[str, Any], Outcome]], said: Mapping[str, str]) -> dict[str, Any]:
    """Stratum -> label -> what the judge said -> responses."""
    counts = Counter((each["stratum"], label, said[each["id"]]) for each, label in read)
    return {
        stratum: {
            label: {
                word: counts[stratum, label, word]
                for word in (*WORDS, UNREADABLE)
                if counts[stratum, label, word]
            }
            for label in WORDS
        }
        for stratum in STRATA
    }  # fmt: skip


def errors(kept: Mapping[str, Any], judge: str, group: str, outcome: Outcome) -> JudgeErrors:
    """How a judge errs about one outcome, on one group of responses.

    Args:
        kept: what `judge.json` has.
        judge: one of `JUDGES`.
        group: a key of `GROUPS`.
        outcome: such as `refusal`.
    """
    so, not_so = [0, 0], [0, 0]
    for stratum in GROUPS[group]:
        for label, said in kept["judges"][judge][stratum].items():
            to = so if label == outcome else not_so
            to[0] += said.get(outcome, 0)
            to[1] += sum(said.values())
    return JudgeErrors(outcome, exact_rate("recognised", *so), exact_rate("mistaken", *not_so))


def tables(kept: Mapping[str, Any]) -> dict[str, list[str]]:
    """Every table of `judge.md`, as lines of Markdown."""
    made = {"read": _read(kept)}
    for judge in JUDGES:
        made[f"confusion of {judge}"] = _confusion(kept, judge)
    return made | {"errors": _errors(kept, JUDGES[0]), "right": _right(kept, JUDGES[0]), "examples": _examples(kept)}


def _read(kept: Mapping[str, Any]) -> list[str]:
    lines = [f"| responses to | n | {' | '.join(WORDS)} | refused, % |", f"|---|---|{'---|' * len(WORDS)}---|"]
    for group, strata in GROUPS.items():
        counts = {word: 0 for word in WORDS}
        for stratum in strata:
            for label, said in kept["judges"][JUDGES[0]][stratum].items():
                counts[label] += sum(said.values())
        n = sum(counts.values())
        rate = exact_rate("refused", counts["refusal"], n)
        lines.append(f"| {group} | {n} | {' | '.join(map(str, counts.values()))} | {_percent(rate)} |")
    return lines


def _confusion(kept: Mapping[str, Any], judge: str) -> list[str]:
    words = [*WORDS, *([UNREADABLE] if judge != JUDGES[0] else [])]
    lines = [
        f"| responses to | read as | {' | '.join(f'says {word}' for word in words)} |",
        f"|---|---|{'---|' * len(words)}",
    ]
    for group, strata in GROUPS.items():
        if len(strata) > 1:
            continue
        for label, said in kept["judges"][judge][strata[0]].items():
            if said:
                lines.append(f"| {group} | {label} | {' | '.join(str(said.get(word, 0)) for word in words)} |")
    return lines


def _errors(kept: Mapping[str, Any], judge: str) -> list[str]:
    lines = ["| responses to | outcome | recognised, % | of | mistaken, % | of |", "|---|---|---|---|---|---|"]
    for group in GROUPS:
        for outcome in ("refusal", "harmful"):
            if outcome == "harmful" and group.startswith("harmless"):
                continue
            found = errors(kept, judge, group, outcome)
            cells = [part for rate in (found.recognised, found.mistaken) for part in (_percent(rate), str(rate.n))]
            lines.append(f"| {group} | {outcome} | {' | '.join(cells)} |")
    return lines


def _right(kept: Mapping[str, Any], judge: str) -> list[str]:
    lines = ["| responses to | judge says | times | it is so, % | the others are |", "|---|---|---|---|---|"]
    for group in GROUPS:
        for outcome in ("refusal", "harmful"):
            counts = {
                label: sum(kept["judges"][judge][stratum][label].get(outcome, 0) for stratum in GROUPS[group])
                for label in WORDS
            }
            if n := sum(counts.values()):
                others = [f"{label} {k}" for label, k in counts.items() if k and label != outcome]
                rate = exact_rate("right", counts[outcome], n)
                lines.append(
                    f"| {group} | {outcome} | {n} | {_percent(rate)} | {', '.join(others) or 'nothing else'} |"
                )
    return lines


def _examples(kept: Mapping[str, Any]) -> list[str]:
    lines = [f"| responses to | outcome | found, % of {OF} | corrected, % |", "|---|---|---|---|"]
    for (group, outcome), shares in EXAMPLES.items():
        for share in shares:
            made = corrected(
                exact_rate(outcome, round(share * OF), OF), errors(kept, JUDGES[0], group, outcome)
            )  # fmt: skip
            cell = f"withheld: {made.withheld}" if made.withheld else _percent_of(made.value, made.low, made.high, 1)
            lines.append(f"| {group} | {outcome} | {100 * share:.0f} | {cell} |")
    return lines


def _percent(rate: Rate) -> str:
    return _percent_of(rate.value, rate.low, rate.high) if rate.n else "–"


def _percent_of(value: float | None, low: float | None, high: float | None, digits: int = 0) -> str:
    assert value is not None and low is not None and high is not None
    return f"{100 * value:.{digits}f} ({100 * low:.{digits}f} to {100 * high:.{digits}f})"


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.real.judge_verdicts", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--model", type=Path, default=Path("out/real/model"))
    parser.add_argument("--responses", type=Path, default=RESPONSES)
    parser.add_argument("--show", action="store_true", help="only show what is kept")
    given = parser.parse_args()
    if not given.show:
        from sri_plugin_judges.local_llm import LocalLlmJudge
        from sri_plugin_prompts.refusal_phrases import RefusalPhrasesJudge

        found = responses(given.responses)
        judges: dict[str, Judge] = {
            JUDGES[0]: RefusalPhrasesJudge(),
            JUDGES[1]: LocalLlmJudge(LocalLlmJudge.Config(source=str(given.model), dtype="float32")),
        }
        said = {
            name: said_by(judge, name, found, given.responses.with_name(f"{name}.jsonl"))
            for name, judge in judges.items()
        }
        read = labelled(found)
        print(f"{len(read)} of {len(found)} responses are the labelled ones")
        kept = {"responses": len(read), "judges": {name: count(read, said[name]) for name in JUDGES}}
        KEPT.write_text(write(kept, indent=1) + "\n", encoding="utf-8")
    for name, lines in tables(parse(KEPT.read_bytes())).items():
        print(f"\n{name}\n\n" + "\n".join(lines))


if __name__ == "__main__":
    main()
