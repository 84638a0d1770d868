"""The page of the vLLM try-out from its results, and what in them is not as it should be.

python -m benchmarks.vllm.tables
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sri_sdk.files import write_text
from sri_sdk.strict_json import parse

HERE = Path(__file__).parent
CLOSE = 1e-4
MOST = {"parity": 64, "smollm": 32}
"""Stages that compare requests -> how many must have run at once somewhere. SmolLM2's text takes more cache blocks, of
which there are few, so that requests are preempted: 64 may never fit."""

Found = Mapping[str, Any]


def problems(found: Found) -> list[str]:
    """What is not as it should be, in words; empty = all is well."""
    said = []
    for name, most in MOST.items():
        if its := found.get(name):
            said += [f"{name}: {each}" for each in (*_of_parity(its), *_of_traffic(its, most))]
    if "silent" in found:
        said += [f"silent: {each}" for each in _of_silence(found["silent"])]
    if "served" in found:
        said += [f"served: {each}" for each in _of_server(found["served"])]
    return said


def _of_parity(its: Found) -> list[str]:
    whole = its["tokens_alike"] + its["tokens_unlike"]
    wrong = {
        "a request without a verdict": its["with_verdict"] != its["requests"],
        "a signal beyond 1e-4": its["beyond_1e-4"] or its["sigma_differs_most"] > CLOSE,
        "another verdict": its["verdicts_unlike"],
        "coverage not complete": its["complete"] != whole,
        "an aborted request that is clear": its["aborted"]["verdicts"].get("clear"),
        "an aborted request that is not named": its["aborted"]["named"] != its["aborted"]["requests"],
    }
    return [words for words, is_so in wrong.items() if is_so]


def _of_traffic(its: Found, most: int) -> list[str]:
    """Whether the traffic had everything in it that it is about."""
    wrong = {
        "no preemption, so it shows nothing": not its["preempted"],
        "no prompt in chunks, so it shows nothing": not its["prompt_passes_that_ended_within_it"],
        "no prefix hit, so it shows nothing": not its["prefix_hits_read"],
        "batches too much alike, so it shows nothing": its["batch"]["least"] != 1 or its["batch"]["most"] < most,
    }
    return [words for words, is_so in wrong.items() if is_so]


def _of_silence(its: Found) -> list[str]:
    said = [f"{kind}: clear" for kind in ("silent", "half") if its[kind]["statuses"].get("clear")]
    said += [] if its["silent"]["statuses"] == {"unmonitored": its["silent"]["requests"]} else ["silent: judged"]
    said += [] if "--enforce-eager" in its["compiled"] else ["compiled code: not refused by name"]
    return said


def _of_server(its: Found) -> list[str]:
    wrong = {
        "a field that nobody asked for": its["plain_has_field"],
        "not in the store": its["plain_in_store"] not in ("clear", "flagged"),
        "another verdict in the store": not its["same_in_store"],
        "an id of a stranger's choosing": its["chosen_id_is_believed"],
        "choices without a verdict": any("no_verdict" in each[2] for each in its["two_choices"]),
        "a stream without its field": not its["stream_field"] or its["stream_ends_with"] != "[DONE]",
        "a killed worker that is not silent": its["killed"]["state"] != "silent",
        "a killed worker's request that is judged": its["killed"]["without_verdict"].get("status") != "unmonitored",
    }
    if "response" in its:
        its = its["response"]
        wrong |= {
            "a response that is judged under another id": not its["id_is_the_responses"],
            "a response that is not judged": its["in_store"] not in ("clear", "flagged"),
            "a stream of a response without its field": not its["stream"] or not all(same for _, same in its["stream"]),
            "a response's id of a stranger's choosing": its["chosen_id_is_believed"],
        }
    return [words for words, is_so in wrong.items() if is_so]


def page(found: Found) -> str:
    """`vllm.md`."""
    parts = [HEAD]
    costs = [("embedded model, 1 million parameters", found["cost"])] if "cost" in found else []
    if "parity" in found:
        parts.append(_parity("The embedded model", found["parity"]))
    if "smollm" in found:
        parts.append(_parity("SmolLM2-135M-Instruct", found["smollm"]))
    if "smollm-cost" in found:
        costs.append(("SmolLM2, 135 million", found["smollm-cost"]))
    if costs:
        parts.append(_cost(costs))
    if "silent" in found:
        parts.append(_silence(found["silent"]))
    if "served" in found:
        parts.append(_server(found["served"]))
    return "\n".join(parts)


HEAD = """# vLLM tried

The [plugin](../../plugins/vllm/README.md) in a real vLLM 0.32.0 (the CPU build), float32, greedy. `make vllm` does it
again; `benchmarks/vllm/tables.py` writes this page from `results.json`. Two cores that others used as well: no time
here says how fast anything is.
"""


def _parity(title: str, its: Found) -> str:
    aborted, batch, whole = its["aborted"], its["batch"], its["tokens_alike"] + its["tokens_unlike"]
    unlike = f"; the others from token {its['unlike_from_token'][0]} on" if its["tokens_unlike"] else ""
    hits = f"{its['prefix_hits']} requests; of {its['prefix_hits_read']} that ended the request was read from sums"
    rows = {
        "passes": f"{its['passes']}, of {batch['least']} to {batch['most']} requests, median {batch['median']:.0f}",
        "prompts, or pieces of one": f"{its['prompt_passes']}, {its['prompt_passes_that_ended_within_it']} of them cut",
        "preempted and computed again": f"{its['preempted']} requests",
        "spared a part by the prefix cache": f"{hits}, and not seen and named so of {its['requests_not_seen']}",
        "aborted": f"{aborted['requests']}, `interrupted` in {aborted['named']}: {_counts(aborted['verdicts'])}",
        "tokens equal": f"{its['tokens_alike']} of {whole} that ended{unlike}",
        "signal (sigma) differs by at most": f"{its['sigma_differs_most']:.1e}",
        "its logit by": f"{its['logit_differs_most']:.1e}",
        "verdicts that differ": f"{len(its['verdicts_unlike'])} of {_counts(its['statuses'])}",
        "coverage complete": f"{its['complete']} of {whole}",
    }
    return f"""## {title}: the same requests under transformers

{its["requests"]} requests arriving at random, against `watch` around transformers' `generate` in batches padded on the
left.

{_table(rows)}
"""


def _cost(costs: list[tuple[str, Found]]) -> str:
    rows = "\n".join(
        f"| {title} | {its['requests']} requests, {its['batch']} at once, {its['rounds']} pairs | "
        f"{_interval(its['wall'])} | {_interval(its['cpu'])} |"
        for title, its in costs
    )
    return f"""## What it costs

The same requests with the tap and without it, in turns within one engine; everything that makes verdicts is counted.
Median of the pairs' ratios, and its 95 % interval.

| model | traffic | time | processor time |
|---|---|---|---|
{rows}

The embedded model does next to nothing per token: there the ratio shows the tap's own time, not what an engine pays.
"""


def _silence(its: Found) -> str:
    def row(words: str, kind: str) -> str:
        return f"| {words} | {its[kind]['requests']} | {_counts(its[kind]['statuses'])} | {its[kind]['tap_silent']} |"

    rows = "\n".join([
        row("under the tap", "heard"), row("hooks taken off before", "silent"), row("hooks taken off midway", "half"),
    ])  # fmt: skip
    return f"""## A tap that falls silent

| | requests | verdicts | `tap_silent` |
|---|---|---|---|
{rows}

An engine with compiled code does not start: "{its["compiled"]}"
"""


def _of_response(its: Found) -> dict[str, str]:
    return {
        "`/v1/responses`": f"`{its['field'][0]['status']}` under the response's own id, the store has it "
        f"({its['in_store']}); in a stream `{its['stream'][0][0]}` in the event that ends it",
        "an id in its body is believed": _yes(its["chosen_id_is_believed"]),
    }


def _server(its: Found) -> str:
    field, killed = its["field"][0], its["killed"]
    rows = {
        "no header `sri-verdict`": f"no field; the store has the verdict ({its['plain_in_store']})",
        "with it": f"`{field['status']}` after {field['steps_seen']} steps",
        "the store says the same": _yes(its["same_in_store"]),
        "`n: 2`": ", ".join(f"choice {index}: {status}" for index, status, _ in its["two_choices"]),
        "two prompts of `/v1/completions`, cut after 4 tokens": ", ".join(
            f"{status} ({', '.join(why)})" for _, status, why in its["two_prompts"]
        ),
        "a stream": f"`{its['stream_field'][0][0]}` in a piece before `[DONE]`",
        "an id in `x-request-id` is believed": _yes(its["chosen_id_is_believed"]),
        **({} if "response" not in its else _of_response(its["response"])),
        "the engine's process killed": f"the source is `{killed['state']}` after {killed['seconds']} s",
        "a request without a verdict": f"`{killed['without_verdict'].get('status')}`",
    }
    return f"""## Behind `vllm serve`

{_table(rows)}
"""


def _table(rows: Mapping[str, str]) -> str:
    return "\n".join(["| | |", "|---|---|", *(f"| {words} | {found} |" for words, found in rows.items())])


def _counts(found: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(found.items())) or "none"


def _interval(its: Mapping[str, float]) -> str:
    return f"{its['median']:.3f} ({its['low']:.3f} to {its['high']:.3f})"


def _yes(value: bool) -> str:
    return "yes" if value else "no"


if __name__ == "__main__":
    kept = parse((HERE / "results.json").read_bytes())
    write_text(HERE / "vllm.md", page(kept))
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    wrong = problems(kept)
    for each in wrong:
        logging.warning("not as it should be: %s", each)
    sys.exit(bool(wrong))
