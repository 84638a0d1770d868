"""DiffusionGemma's sampler as vLLM wrote it, under the tap: no model, no GPU. `make vllm` runs it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.util import find_spec
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from sri_plugin_vllm.diffusion import canvases_of, sample
from sri_plugin_vllm.here import HERE

from sri_sdk.engine.canvas import CanvasBook

pytestmark = pytest.mark.skipif(find_spec("vllm") is None, reason="needs vLLM: make vllm")

SLOTS, CANVAS, WORDS, STEPS, WIDTH, PROMPT = 4, 8, 64, 3, 4, 5


class Named(type):
    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return staticmethod(lambda *_, **__: None)


class Pictures(ModuleType):
    """The part of vLLM that reads pictures, which needs torchvision and has no part in sampling."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Named(name, (), {})


class OnTheHost:
    """In place of memory that a GPU shares."""

    def __init__(self, size: int, dtype: torch.dtype) -> None:
        self.gpu = torch.zeros(size, dtype=dtype)
        self.np = self.gpu.numpy()

    def copy_to_uva(self) -> None: ...


@pytest.fixture
def sampler(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    name = "vllm.model_executor.models.gemma4_mm"
    if find_spec("torchvision") is None:
        monkeypatch.setitem(sys.modules, name, Pictures(name))
    vllms = pytest.importorskip("vllm.model_executor.models.diffusion_gemma")
    monkeypatch.setattr(vllms, "UvaBackedTensor", OnTheHost)
    monkeypatch.setattr(torch.accelerator, "get_memory_info", lambda: (2**30, 2**30))
    states = vllms.DiffusionGemmaRequestStates(SLOTS, CANVAS, WORDS, STEPS, torch.device("cpu"), WIDTH, 2)
    nothing = SimpleNamespace(
        get_top_k_top_p=lambda *_: (None, None), max_num_logprobs=lambda _: -1, max_num_token_ids=lambda _: 0,
        add_request=lambda *_: None,
    )  # fmt: skip
    plain = SimpleNamespace(
        sampling_states=nothing, logprob_token_ids_state=nothing, logprobs_mode="raw_logprobs",
        req_states=SimpleNamespace(draft_tokens=torch.zeros(SLOTS, CANVAS, dtype=torch.int64)),
    )  # fmt: skip
    with torch.compiler.set_stance("force_eager"):
        yield vllms.DiffusionSampler(
            plain, SimpleNamespace(canvas_length=CANVAS), WORDS, states, confidence_threshold=1e-9, t_min=0.4,
            t_max=0.8, entropy_bound=0.1, embed_weight=torch.randn(WORDS, WIDTH), normalizer=torch.tensor(2.0),
        )  # fmt: skip
    HERE.tap = None


def batch(**counts: int) -> Any:
    """Requests named after their slots, with the rows of their canvas: none while they read their prompt."""
    slots = np.array([int(name[1:]) for name in counts])
    logits = np.array(list(counts.values()), dtype=np.int32)
    tokens = np.where(logits > 0, logits, PROMPT).astype(np.int32)
    starts = np.concatenate([[0], np.cumsum(tokens)]).astype(np.int32)
    return SimpleNamespace(
        req_ids=list(counts), num_reqs=len(counts), idx_mapping_np=slots, idx_mapping=torch.tensor(slots),
        num_draft_tokens=int(logits.sum()), cu_num_logits_np=np.concatenate([[0], np.cumsum(logits)]),
        query_start_loc_np=starts, query_start_loc=torch.tensor(starts), num_scheduled_tokens=tokens,
        num_computed_prefill_tokens_np=np.zeros(len(counts), dtype=int), prefill_len_np=np.full(len(counts), PROMPT),
    )  # fmt: skip


def run(sampler: Any, tap: Any, **counts: int) -> dict[str, list[int]]:
    """One pass, and what the tap is told of it."""
    HERE.tap = tap
    made, torch_rows = batch(**counts), sum(counts.values())
    sample(type(sampler).__call__, sampler, torch.randn(torch_rows, WORDS), made)
    _, keys, marks = tap.told[-1]
    assert canvases_of(made) == {name for name, rows in counts.items() if rows}
    return dict(zip(keys, marks, strict=True))


def test_the_passes_of_a_canvas_are_told_apart(sampler: Any, tap: Any) -> None:
    sampler.diffusion_states.add_request(1)
    assert run(sampler, tap, r1=0) == {"r1": [0, 0, 0]}
    found = [run(sampler, tap, r1=CANVAS)["r1"] for _ in range(2 * (STEPS + 1))]
    assert found == 2 * [*([1, step, 0] for step in range(STEPS)), [0, STEPS, CANVAS]]
    book = CanvasBook()
    assert not any(book.take(mark).gap for mark in found)
    assert (book.closed, book.tokens) == (2 * STEPS, 2 * CANVAS)


def test_requests_of_one_pass_are_told_apart(sampler: Any, tap: Any) -> None:
    for slot in (1, 3):
        sampler.diffusion_states.add_request(slot)
    run(sampler, tap, r3=0)
    assert run(sampler, tap, r1=0, r3=CANVAS) == {"r1": [0, 0, 0], "r3": [1, 0, 0]}
    assert run(sampler, tap, r3=CANVAS, r1=CANVAS) == {"r3": [1, 1, 0], "r1": [1, 0, 0]}


def test_a_preempted_request_begins_its_canvas_anew(sampler: Any, tap: Any) -> None:
    states, book = sampler.diffusion_states, CanvasBook()
    states.add_request(1)
    run(sampler, tap, r1=0)
    for _ in range(2):
        book.take(run(sampler, tap, r1=CANVAS)["r1"])
    states.remove_request(1)
    states.add_request(2)
    run(sampler, tap, r2=0)
    found = [book.take(run(sampler, tap, r2=CANVAS)["r2"]) for _ in range(STEPS + 1)]
    assert [place.step for place in found] == [0, 1, 2, None]
    assert not any(place.gap for place in found)
    assert (book.closed, book.tokens) == (STEPS, CANVAS)


def test_a_canvas_that_is_only_read_is_given_out_with_its_last_step(sampler: Any, tap: Any) -> None:
    sampler.diffusion_states.add_request(1)
    sampler.diffusion_states.set_read_only(1)
    run(sampler, tap, r1=0)
    found = [run(sampler, tap, r1=CANVAS)["r1"] for _ in range(STEPS)]
    assert found == [[1, 0, 0], [1, 1, 0], [1, 2, CANVAS]]


def test_a_seed_and_pins_do_what_the_reasons_say(sampler: Any, tap: Any) -> None:
    """What makes them an attack: positions that hold a client's tokens after every step."""
    states = sampler.diffusion_states
    states.add_request(1)
    states.set_seed_canvas(1, list(range(CANVAS)))
    run(sampler, tap, r1=0)
    assert states.canvas[1].tolist() == list(range(CANVAS))
    states.set_pins(1, [2, 5])
    run(sampler, tap, r1=CANVAS)
    assert states.canvas[1, [2, 5]].tolist() == [2, 5]
