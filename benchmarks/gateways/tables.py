"""The page of the gateways from their results, and what in them is not as it should be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

WAYS = {
    "litellm": ("whole", "streamed", "text_completions"), "nemo": ("generate", "output_rails"),
    "guardrails": ("validate", "async_validate", "fix", "stream"), "langchain": ("invoke", "ainvoke"),
    "llm_guard": ("scan_output",),
}  # fmt: skip
NAMES = {
    "litellm": "LiteLLM's proxy", "nemo": "NeMo Guardrails", "guardrails": "Guardrails AI", "langchain": "LangChain",
    "llm_guard": "LLM Guard",
}  # fmt: skip
LITELLM_SHOULD = {
    "verdict_under_the_call_id": "clear", "verdict_of_an_unknown_id": "unmonitored", "chosen_id": 400,
    "tap_off": [400, 400], "store_back": 200,
}  # fmt: skip


def problems(found: Mapping[str, Any]) -> list[str]:
    """What is not as it should be, in words; empty = all is well."""
    said = []
    for name, result in found.items():
        for way in WAYS[name]:
            counts = result[way]
            if counts["clear_released"] != counts["clear"] or counts["flagged_released"] or not counts["flagged"]:
                said.append(f"{name}: {way}: {counts}")
        said += [f"{name}: {key}" for key in ("unknown_released", "no_id_released") if result.get(key)]
        if name == "litellm":
            said += [f"{name}: {key}: {result[key]}" for key, value in LITELLM_SHOULD.items() if result[key] != value]
            said += [f"{name}: store_down"] if min(result["store_down"]) < 400 else []
    return said


def page(found: Mapping[str, Any]) -> str:
    """`gateways.md`."""
    rows = [
        f"| {NAMES[name]} {_versions(found[name])} | `{way}` | {counts['clear_released']} of {counts['clear']} "
        f"| {counts['flagged_released']} of {counts['flagged']} |"
        for name, ways in WAYS.items() if name in found
        for way in ways
        for counts in [found[name][way]]
    ]  # fmt: skip
    return "\n".join([*_HEAD, *rows, *_litellm(found.get("litellm"))]) + "\n"


def _versions(result: Mapping[str, Any]) -> str:
    (_, own), *others = result["versions"].items()
    return own + "".join(f" ({name} {version})" for name, version in others)


def _litellm(result: Mapping[str, Any] | None) -> list[str]:
    if result is None:
        return []
    down, off = result["store_down"], result["tap_off"]
    return [
        "",
        "LiteLLM's proxy, what else was tried; whole and streamed where there are two numbers:",
        "",
        "| what happens | answer |",
        "|---|---|",
        f"| the tap is off, so nobody knows the id | {off[0]}, {off[1]} |",
        f"| `sri serve` is down | {down[0]}, {down[1]} |",
        f"| `sri serve` is back | {result['store_back']} |",
        f"| the caller sends `x-litellm-call-id` of a request that was clear | {result['chosen_id']} |",
    ]


_HEAD = [
    "# Gateways and frameworks, tried with the real packages",
    "",
    "Written by `make gateways`. Behind each stand the embedded autoregressive model with its guard",
    "(`configs/lab-causal.yaml`), in a process of its own, and `sri serve` with its verdict store. Prompts are",
    "harmless and attacked ones of the lab's test split; what should happen to each was computed before, by the",
    "same guard without any server. None released a response under an id that nobody knows, nor one without an id,",
    "which LiteLLM's proxy and LangChain never have.",
    "",
    "| gateway | way | clear generations released | flagged generations released |",
    "|---|---|---|---|",
]
