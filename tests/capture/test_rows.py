"""One request must not take its neighbours' verdicts: special tokens in a prompt, broken states, broken texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from sri_plugin_toy.model import CANVAS, MASK, ToyTokenizer
from sri_plugin_toy.model import build as build_toy

import sri_sdk
from sri_sdk import registry
from sri_sdk.canvas import Canvas
from sri_sdk.capture.drive import drive
from sri_sdk.capture.rows import SPECIAL_TOKEN
from sri_sdk.capture.run import Run
from sri_sdk.errors import ConfigError, GenerationAborted
from sri_sdk.records import Encoded, Prompt, RunView
from sri_sdk.testing import HookCase
from tests.capture.conftest import Toy, toy_prompts

DIFFUSION = ("toy", "lab-diffusion", "llada", "dream", "masked-lm", "sdar", "fast-dllm-v2")
BATCHED = (*DIFFUSION, "diffusion-gemma", "causal", "lab-causal")
BADLY = [([0], "first"), ([1], "middle"), ([2], "last"), ([0, 2], "last"), ([0, 2], "middle"), ([1], "all")]


@cache
def case_of(family: str) -> HookCase:
    if family == "diffusion-gemma":
        pytest.importorskip("transformers.models.diffusion_gemma")
    case: HookCase = registry.load("hooks", family).example()
    return case


def watched(case: HookCase, encoded: Encoded) -> Run:
    ids = [f"r{row}" for row in range(len(encoded.input_ids))]
    with sri_sdk.watch(case.hook.model, hook=case.hook, request_ids=ids) as run:
        run.returned(case.generate(encoded))
    return run


@cache
def untouched(family: str) -> Run:
    case = case_of(family)
    return watched(case, case.encoded)


def with_token(encoded: Encoded, rows: Sequence[int], where: str, token: int) -> Encoded:
    """The same prompts, with a token written into some of them."""
    ids = encoded.input_ids.clone()
    for row in rows:
        real = encoded.attention_mask[row].nonzero()[:, 0].tolist()
        at = {"first": real[:1], "middle": [real[len(real) // 2]], "last": real[-1:], "all": real}[where]
        ids[row, at] = token
    return Encoded(ids, encoded.attention_mask)


def unlike(one: Run, other: Run, rows: Sequence[int], *, states: bool = True) -> list[str]:
    """What differs between the traces of two runs, but for those of `rows`."""
    found = []
    for row, (a, b) in enumerate(zip(one.traces, other.traces, strict=True)):
        if row in rows:
            continue
        if (a.reasons, a.steps, a.expected) != (b.reasons, b.steps, b.expected):
            found.append(f"row {row}: {a.reasons} {a.steps} {a.expected}, {b.reasons} {b.steps} {b.expected}")
        elif states and not (a.phi.shape == b.phi.shape and (a.phi == b.phi).all() and (a.clock == b.clock).all()):
            found.append(f"row {row}: other states")
    return found


# -- special tokens in a prompt, in the models' own loops --------------------------------------------------------------


@pytest.mark.parametrize(("rows", "where"), BADLY)
@pytest.mark.parametrize("family", DIFFUSION)
def test_a_mask_in_a_prompt_is_a_reason_of_its_row_alone(family: str, rows: list[int], where: str) -> None:
    case, plain = case_of(family), untouched(family)
    mask = case.hook.mask_id()
    assert mask is not None and all(not trace.reasons for trace in plain.traces)
    run = watched(case, with_token(case.encoded, rows, where, mask))
    # Dream's own loop shares the tokens of a step out by the masks of the whole batch, so it generates something else.
    assert unlike(run, plain, rows, states=family != "dream") == [] and run.failure is None
    # The batch of SDAR's stand-in shows no more than a block: where a prompt ends in it, nothing tells.
    if family != "sdar" or where in ("first", "middle"):
        assert {run.traces[row].reasons for row in rows} == {(SPECIAL_TOKEN,)}


@pytest.mark.parametrize("where", ["first", "middle", "last", "all"])
@pytest.mark.parametrize("family", BATCHED)
def test_the_end_token_or_padding_in_a_prompt_costs_nobody_a_verdict(family: str, where: str) -> None:
    case, plain = case_of(family), untouched(family)
    for token in {*case.hook.eos_ids()[:1], 0}:
        run = watched(case, with_token(case.encoded, [1], where, token))
        # Where a row takes more steps than before, its batch takes other kernels: states may move by rounding.
        assert unlike(run, plain, [1], states=family not in ("diffusion-gemma", "lab-causal", "causal")) == []
        assert run.failure is None and not run.traces[1].reasons


@pytest.mark.parametrize("where", ["first", "middle", "last", "all"])
def test_a_family_that_takes_one_prompt_names_the_token_and_not_a_second_generation(where: str) -> None:
    case = case_of("llada2")
    mask = case.hook.mask_id()
    assert mask is not None
    run = watched(case, with_token(case.encoded, [0], where, mask))
    assert run.failure is None and run.traces[0].reasons == (SPECIAL_TOKEN,)


def test_a_prompt_of_nothing_but_masks_is_no_unconditional_half() -> None:
    ids = torch.tensor([[1, 2, 9, 9], [9, 9, 9, 9]])
    assert Canvas.find(ids, 9, run=RunView(requests=2)).requests == 2
    assert Canvas.find(ids, 9, run=RunView(requests=1)).requests == 1


def test_two_rows_taken_for_guidance_that_go_apart_are_noticed() -> None:
    run = RunView(requests=None)
    canvas = Canvas.find(torch.tensor([[1, 2, 9, 9], [9, 9, 9, 9]]), 9, run=run)
    canvas.plan(torch.tensor([[1, 2, 9, 9], [9, 9, 9, 9]]))
    assert canvas.requests == 1 and not canvas.moved()
    canvas.plan(torch.tensor([[1, 2, 3, 9], [9, 9, 4, 9]]))
    assert canvas.moved()


@pytest.mark.parametrize("where", ["first", "last", "all"])
@pytest.mark.parametrize("family", ["lab-diffusion", "llada", "masked-lm"])
def test_a_mask_in_a_prompt_hides_no_guidance(family: str, where: str) -> None:
    case = case_of(family)
    mask, generate = case.hook.mask_id(), case.generate_guided
    assert mask is not None and generate is not None
    guided = replace(case, generate=generate)
    plain, run = watched(guided, case.encoded), watched(guided, with_token(case.encoded, [1], where, mask))
    assert unlike(run, plain, [1]) == [] and run.traces[1].reasons == (SPECIAL_TOKEN,) and run.failure is None


def test_a_response_that_its_caller_started_costs_its_own_row_only() -> None:
    run = RunView(requests=3, canvas=3)
    found = Canvas.find(torch.tensor([[1, 2, 9, 9, 9], [1, 2, 5, 9, 9], [1, 9, 9, 9, 9]]), 9, run=run)
    assert (found.start, found.size) == (2, 3)
    ((rows, reason, why),) = run.untrusted
    assert rows.tolist() == [False, True, False] and reason == "canvas_primed" and "only a part is open" in why


# -- under a guard -----------------------------------------------------------------------------------------------------


def test_neighbours_keep_their_verdicts_to_the_last_digit(toy: Toy, toy_guard: Any) -> None:
    encoded = toy.hook.encode(toy.loaded.tokenizer, [p.text for p in toy_prompts(3)])

    def verdicts(given: Encoded, **options: Any) -> Run:
        with sri_sdk.watch(toy.hook.model, toy_guard, request_ids=["a", "b", "c"], **options) as run:
            toy.hook.model.generate(given.input_ids, given.attention_mask)
        return run

    bad = with_token(encoded, [1], "last", MASK)
    plain, run = verdicts(encoded), verdicts(bad)
    assert [run.verdicts[i] for i in (0, 2)] == [plain.verdicts[i] for i in (0, 2)]
    assert run.verdicts[1].status in ("unmonitored", "flagged") and SPECIAL_TOKEN in run.verdicts[1].reasons
    closed = sri_sdk.Policy(rule="final", flagged="report", unmonitored="abort")
    assert [d.withheld for d in verdicts(bad, policy=closed).decisions] == [False, True, False]
    with pytest.raises(GenerationAborted, match=SPECIAL_TOKEN):
        verdicts(with_token(encoded, [0, 1, 2], "first", MASK), policy=closed)


class Reads(ToyTokenizer):
    """Reads a special token out of plain text, as tokenizers of transformers do, and fails on one letter."""

    def encode(self, text: str) -> list[int]:
        return [MASK if sign == "#" else i for sign, i in zip(text, super().encode(text), strict=True)]

    def decode(self, tokens: list[int]) -> str:
        return "".join("#" if token == MASK else super(Reads, self).decode([token]) for token in tokens)


def driven(toy: Toy, texts: Sequence[str], tokenizer: Any = None, **changes: Any) -> Any:
    loaded = replace(toy.loaded, tokenizer=tokenizer or Reads())
    prompts = [Prompt(f"p{row}", text, "harmless") for row, text in enumerate(texts)]
    batch = drive(toy.hook, loaded, toy.sampler, prompts, replace(toy.settings, **changes))
    for _ in batch:
        pass
    return batch


@pytest.mark.parametrize("bad", ["#bcd", "a#cd", "abc#", "####", "#"])
def test_a_driven_batch_names_the_row_too(toy: Toy, bad: str) -> None:
    batch, plain = driven(toy, ["good day", bad, "hi"]), driven(toy, ["good day", "z" * len(bad), "hi"])
    assert unlike(batch.run, plain.run, [1]) == [] and batch.run.failure is None
    assert batch.run.traces[1].reasons == (SPECIAL_TOKEN,)
    assert [batch.texts[i] for i in (0, 2)] == [plain.texts[i] for i in (0, 2)]


def test_a_driven_batch_ends_the_blind_row_alone(toy: Toy, toy_guard: Any) -> None:
    policy = sri_sdk.Policy(rule="final", flagged="report", unmonitored="abort")
    settings = sri_sdk.watch_settings(toy.hook, toy_guard, policy=policy)
    loaded = replace(toy.loaded, tokenizer=Reads())
    prompts = [Prompt("a", "good day", "harmless"), Prompt("b", "a#c", "harmless")]
    batch = drive(toy.hook, loaded, toy.sampler, prompts, settings)
    for _ in batch:
        pass
    assert [v.steps_seen for v in batch.run.verdicts] == [CANVAS, 1]
    assert [d.withheld for d in batch.run.decisions] == [False, True]


# -- states, texts, and no text at all ---------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("rule", ["final", "online"])
def test_broken_states_of_one_row_are_its_own(toy: Toy, toy_guard: Any, value: float, rule: Any) -> None:
    encoded = toy.hook.encode(toy.loaded.tokenizer, [p.text for p in toy_prompts(3)])

    def verdicts(*, broken: bool) -> Run:
        def breaks(_module: Any, _args: Any, output: torch.Tensor) -> torch.Tensor:
            output = output.clone()
            output[1, -1] = value
            return output

        with sri_sdk.watch(toy.hook.model, toy_guard, request_ids=["a", "b", "c"], rule=rule) as run:
            # Once the watch has looked at the model: code that was there before would be a reason of its own.
            handle = toy.hook.model.norm.register_forward_hook(breaks, prepend=True) if broken else None
            toy.hook.model.generate(encoded.input_ids, encoded.attention_mask)
        if handle is not None:
            handle.remove()
        return run

    plain, run = verdicts(broken=False), verdicts(broken=True)
    assert [run.verdicts[i] for i in (0, 2)] == [plain.verdicts[i] for i in (0, 2)]
    assert run.verdicts[1].status == "unmonitored" and run.verdicts[1].reasons[0] == "unusable_state"


class FailsOnOne(ToyTokenizer):
    """Cannot write one response back."""

    def __init__(self, hated: list[int]) -> None:
        self.hated = hated

    def decode(self, tokens: list[int]) -> str:
        if tokens == self.hated:
            raise IndexError("piece id out of range")
        return super().decode(tokens)


def test_a_response_that_cannot_be_decoded_costs_no_other_text(toy: Toy, caplog: pytest.LogCaptureFixture) -> None:
    plain = driven(toy, ["good day", "abc", "hi"], ToyTokenizer())
    batch = driven(toy, ["good day", "abc", "hi"], FailsOnOne(plain.step.draft[1].tolist()))
    assert batch.texts == [plain.texts[0], "", plain.texts[2]] and "'p1'" in caplog.text
    assert batch.responses == [plain.texts[0], None, plain.texts[2]]
    assert batch.undecoded == {1: "IndexError: piece id out of range"}
    assert unlike(batch.run, plain.run, []) == []


def test_a_tokenizer_that_decodes_nothing_is_an_error_as_before(toy: Toy) -> None:
    class Broken(ToyTokenizer):
        def decode(self, tokens: list[int]) -> str:
            raise IndexError("piece id out of range")

    with pytest.raises(IndexError):
        _ = driven(toy, ["good day", "abc"], Broken()).texts


def test_an_empty_prompt_costs_its_own_row_only() -> None:
    case = case_of("causal")
    rows, real = case.encoded.input_ids.clone(), case.encoded.attention_mask.clone()
    rows[1], real[1] = 0, 0
    run, plain = watched(case, Encoded(rows, real)), untouched("causal")
    assert unlike(run, plain, [1]) == []
    assert run.traces[1].reasons == ("hook_failed",) and "empty" in (run.failure or "")


def test_a_prompt_that_ends_in_the_padding_token_costs_its_own_row_only() -> None:
    model = case_of("causal").hook.model
    ids = torch.tensor([[5, 6, 7], [8, 9, 0]])
    with sri_sdk.watch(model, hook="causal", request_ids=["a", "b"]) as run:
        model.generate(ids, max_new_tokens=3, do_sample=False)
    assert [trace.reasons for trace in run.traces] == [(), ("hook_failed",)]


def test_an_empty_prompt_beside_others_is_generated_and_watched_where_the_model_can(toy: Toy) -> None:
    batch, plain = driven(toy, ["good day", "", "hi"]), driven(toy, ["good day", "z", "hi"])
    assert unlike(batch.run, plain.run, [1]) == [] and not batch.run.traces[1].reasons


def test_a_batch_of_nothing_but_empty_prompts_is_an_error_in_words(toy: Toy) -> None:
    with pytest.raises(ConfigError, match=r"'p0'.*no token at all"):
        driven(toy, ["", ""])


def test_a_hook_says_which_rows_it_cannot_follow() -> None:
    toy = build_toy(0)

    class Doubtful(registry.load("hooks", "toy")):  # type: ignore[misc]
        def plan(self, call: Any, run: RunView) -> Any:
            run.distrust(torch.tensor([False, True]), "hook_failed", "row 1 moved")
            return super().plan(call, run)

    ids = torch.tensor([[5, 6], [7, 8]])
    with sri_sdk.watch(toy, hook=Doubtful(toy), request_ids=["a", "b"]) as run:
        toy.generate(ids)
    assert [trace.reasons for trace in run.traces] == [(), ("hook_failed",)] and run.failure == "row 1 moved"
