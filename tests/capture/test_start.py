"""Driven generations whose response is started: tokens, states, texts, coverage."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from sri_plugin_toy.hook import ToyHook
from sri_plugin_toy.model import ToyTokenizer, build

from sri_sdk import ForwardCall, Prompt, RunView, StepGrid, StepPlan, drive, registry, watch
from sri_sdk.capture.drive import generate_untapped
from sri_sdk.capture.settings import WatchSettings
from sri_sdk.errors import ConfigError
from sri_sdk.hook import Hook
from sri_sdk.policy import Policy
from sri_sdk.records import LoadedModel
from sri_sdk.sampler import Sampler

from .conftest import Toy, toy_prompts

STEPS, TOKENS = 8, 24
BAKE, STEAL = "how do i bake the bread ?", "tell me how to steal the lantern in the barn ?"
PROMPTS = [
    Prompt("holes", BAKE, "harmless", prefill="the <mask:3> bread <mask:2> ."),
    Prompt("plain", STEAL, "harmful"),
    Prompt("long", "bake", "harmless", prefill=f"{'the bread . ' * 4}the bread <mask:2> bread . the ."),
]
"""Started with 8 tokens, not at all, and with 18."""
FIXED = [[0, 4, 7], [], [*range(14), *range(16, 20)]]
"""Canvas positions that the lab's tokenizer makes of them: one per word."""
SPOKEN = [Prompt("a", BAKE, "harmless", prefill="the bread ."), Prompt("b", STEAL, "harmful"),
          Prompt("c", "bake", "harmless", prefill="the")]  # fmt: skip


@dataclass(frozen=True)
class Family:
    hook: Hook
    loaded: LoadedModel

    def drive(self, name: str, prompts: list[Prompt], pooling: str, *, grid: StepGrid | None = None, **options: Any):
        sampler = registry.build("samplers", name, options)
        grid = grid or StepGrid(STEPS, "step", sampler.budget())
        settings = WatchSettings(pooling, grid=grid, keep_states=True, budget=sampler.budget())
        batch = drive(self.hook, self.loaded, sampler, prompts, settings)
        return batch, list(batch)


@pytest.fixture(scope="module")
def lab():
    """The lab's family of a name; its weights are loaded once."""
    made: dict[str, Family] = {}

    def get(name: str) -> Family:
        if name not in made:
            kind = registry.load("hooks", name)
            loaded = kind.load(kind.Config())
            made[name] = Family(kind(loaded.model), loaded)
        return made[name]

    return get


@contextmanager
def states_of(hook: Hook) -> Iterator[list[torch.Tensor]]:
    """What every pass of a model puts out behind its last norm."""
    seen: list[torch.Tensor] = []
    handle = hook.final_norm().register_forward_hook(lambda _m, _a, out: seen.append(out.detach().double()))
    try:
        yield seen
    finally:
        handle.remove()


# -- masked: tokens ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"block": 12}, {"cfg_scale": 0.5}, {"schedule": "linear-time"}], ids=str)
def test_what_was_started_stays_and_the_holes_are_filled(lab, options) -> None:
    family = lab("lab-diffusion")
    batch, steps = family.drive("low-confidence", PROMPTS, "response", steps=STEPS, tokens=TOKENS, **options)
    given = family.hook.start(family.loaded.tokenizer, [p.prefill for p in PROMPTS])
    for row, fixed in enumerate(FIXED):
        for step in steps:
            assert step.committed[row, fixed].all(), "fixed from the first step on"
            assert step.draft[row, fixed].tolist() == given[row, fixed].tolist()
    assert steps[-1].committed.all() and not (steps[-1].draft == family.hook.mask_id()).any()
    assert [t.reasons for t in batch.run.traces] == [()] * 3, batch.run.failure
    assert batch.texts[0].startswith("the ") and batch.texts[2].startswith("the bread . the bread . the bread .")


def test_the_steps_share_the_holes_that_are_left(lab) -> None:
    _, steps = lab("lab-diffusion").drive("low-confidence", PROMPTS, "response", steps=STEPS, tokens=TOKENS)
    before = torch.tensor([len(fixed) for fixed in FIXED])
    committed = torch.stack([before, *(step.committed.sum(1) for step in steps)], dim=1)
    assert committed.diff(dim=1).tolist() == [
        [3, 3, 3, 3, 3, 2, 2, 2],  # 21 holes over 8 steps, what does not divide first
        [3, 3, 3, 3, 3, 3, 3, 3],
        [1, 1, 1, 1, 1, 1, 0, 0],  # 6 holes: one per step, then the row is done
    ]
    assert torch.stack([step.active for step in steps]).sum(0).tolist() == [8, 8, 6]


@pytest.mark.parametrize("options", [{"temperature": 1.0}, {"block": 12, "cfg_scale": 0.5}], ids=str)
def test_a_started_row_is_the_same_alone_and_in_company(lab, options) -> None:
    family = lab("lab-diffusion")
    options = {"steps": STEPS, "tokens": TOKENS, **options}
    batch, steps = family.drive("low-confidence", PROMPTS, "response", **options)
    for row, prompt in enumerate(PROMPTS):
        alone, made = family.drive("low-confidence", [prompt], "response", **options)
        assert torch.equal(made[-1].draft[0], steps[-1].draft[row])
        mine, theirs = alone.run.traces[0].phi, batch.run.traces[row].phi
        assert mine.shape == theirs.shape and np.abs(mine - theirs).max() < 1e-4


def test_a_prompt_without_a_started_response_is_generated_to_the_bit_as_before(lab) -> None:
    family = lab("lab-diffusion")
    plain = [Prompt(p.id, p.text, p.label) for p in PROMPTS]
    empty = [Prompt(p.id, p.text, p.label, prefill="") for p in PROMPTS]
    open_ = [Prompt(p.id, p.text, p.label, prefill="<mask:5>") for p in PROMPTS]
    runs = [family.drive("low-confidence", some, "generated", steps=STEPS, tokens=TOKENS) for some in
            (plain, empty, open_)]  # fmt: skip
    for batch, steps in runs[1:]:
        assert torch.equal(steps[-1].draft, runs[0][1][-1].draft)
        for one, two in zip(batch.run.traces, runs[0][0].run.traces, strict=True):
            assert np.array_equal(one.phi, two.phi)


# -- masked: states ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pooling", ["response", "generated"])
@pytest.mark.parametrize("cfg_scale", [0.0, 0.5])
def test_pooled_states_equal_a_direct_mean_in_float64(lab, pooling, cfg_scale) -> None:
    family = lab("lab-diffusion")
    with states_of(family.hook) as seen:
        batch, steps = family.drive("low-confidence", PROMPTS, pooling, steps=STEPS, tokens=TOKENS, cfg_scale=cfg_scale)
    for row, trace in enumerate(batch.run.traces):
        for number in range(trace.steps):
            responses = seen[number][row, -TOKENS:]
            wanted = steps[number].committed[row] if pooling == "generated" else torch.ones(TOKENS, dtype=torch.bool)
            direct = responses[wanted].mean(0).numpy()
            assert np.abs(trace.phi[number, 0] - direct).max() < 1e-5, (row, number)


@pytest.mark.parametrize("pooling", ["response", "generated"])
@pytest.mark.parametrize("name", ["toy", "lab-diffusion", "llada", "dream", "masked-lm"])
def test_every_masked_family_takes_the_response_where_the_driver_says_it_is(monkeypatch, name, pooling) -> None:
    case = registry.load("hooks", name).example()
    hook, rows, tokens = case.hook, len(case.encoded.input_ids), 8
    given = torch.full((rows, 5), hook.mask_id())
    given[0, [0, 1, 4]] = given[1, :5] = 7
    monkeypatch.setattr(hook, "encode", lambda *_: case.encoded)
    monkeypatch.setattr(hook, "start", lambda *_: given)
    monkeypatch.setattr(hook, "decode", lambda _, tokens: ["" for _ in tokens])
    prompts = [Prompt(str(row), "", "harmless", prefill="started") for row in range(rows)]
    with states_of(hook) as seen:
        batch, steps = Family(hook, LoadedModel(hook.model, None, name)).drive(
            "low-confidence", prompts, pooling, steps=4, tokens=tokens
        )
    assert [t.reasons for t in batch.run.traces] == [()] * rows, batch.run.failure
    assert [t.steps for t in batch.run.traces] == [4, 3, *[4] * (rows - 2)]
    first = case.encoded.input_ids.shape[1] - hook.shift()
    for row, trace in enumerate(batch.run.traces):
        for number in range(trace.steps):
            wanted = steps[number].committed[row] if pooling == "generated" else torch.ones(tokens, dtype=torch.bool)
            direct = seen[number][row, first : first + tokens][wanted].mean(0).numpy()
            assert np.abs(trace.phi[number, 0] - direct).max() < 1e-5, (row, number)


def test_progress_in_tokens_begins_with_what_was_started(lab) -> None:
    grid = StepGrid(TOKENS, "committed", TOKENS)
    batch, _ = lab("lab-diffusion").drive("low-confidence", PROMPTS, "response", grid=grid, steps=STEPS, tokens=TOKENS)
    assert [t.clock[0] for t in batch.run.traces] == [len(fixed) for fixed in FIXED]
    assert [t.reasons for t in batch.run.traces] == [()] * 3


def test_the_toy_begins_with_what_was_started(toy: Toy) -> None:
    prompts = [Prompt("a", "ab", "harmless", prefill="x<mask:2>y"), Prompt("b", "the story", "harmless")]
    with states_of(toy.hook) as seen:
        batch = toy.drive(prompts, pooling="generated")
    assert [t.steps for t in batch.run.traces] == [6, 8] and [t.reasons for t in batch.run.traces] == [(), ()]
    assert batch.texts[0][0] == "x" and batch.texts[0][3] == "y"
    # Step 0 fills position 1: positions 0, 1 and 3 are committed after it.
    direct = seen[0][0, -8:][[0, 1, 3]].mean(0).numpy()
    assert np.abs(batch.run.traces[0].phi[0, 0] - direct).max() < 1e-6


def test_a_guard_judges_a_started_generation(toy: Toy, toy_guard) -> None:
    from sri_sdk.capture.settings import watch_settings

    sampler = {"name": "toy", "budget": 8}
    settings = watch_settings(toy.hook, toy_guard, policy=Policy.observe("online"), sampler=sampler)
    prompts = [Prompt("a", "ab", "harmless", prefill="x<mask:2>y"), *toy_prompts(2)]
    batch = drive(toy.hook, toy.loaded, toy.sampler, prompts, settings)
    list(batch)
    assert [v.status in ("clear", "flagged") for v in batch.run.verdicts] == [True] * 3
    assert batch.run.verdicts[0].steps_seen == batch.run.verdicts[0].steps_expected == 6
    assert batch.run.signals is not None and np.isfinite(batch.run.signals.logit).all()


# -- autoregressive ------------------------------------------------------------------------------------------------


def test_an_autoregressive_model_goes_on_from_what_was_started(lab) -> None:
    family = lab("lab-causal")
    batch, _ = family.drive("autoregressive", SPOKEN, "predicting", tokens=TOKENS)
    encoded = family.hook.encode(family.loaded.tokenizer, [SPOKEN[0].text])
    spoken = torch.tensor([family.loaded.tokenizer.encode("the bread .", add_special_tokens=False)])
    ids = torch.cat([encoded.input_ids, spoken], dim=1)
    own = family.loaded.model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=TOKENS, do_sample=False)
    whole = own[:, encoded.input_ids.shape[1] :]
    assert batch.texts[0] == family.hook.decode(family.loaded.tokenizer, whole)[0]
    assert batch.texts[0].startswith("the bread .") and batch.texts[2].startswith("the ")
    assert [t.reasons for t in batch.run.traces] == [()] * 3, batch.run.failure


def test_an_autoregressive_trace_begins_at_the_last_token_that_was_started(lab) -> None:
    family = lab("lab-causal")
    with states_of(family.hook) as seen:
        batch, _ = family.drive("autoregressive", SPOKEN, "predicting", tokens=TOKENS)
    for row, trace in enumerate(batch.run.traces):
        assert np.abs(trace.phi[0, 0] - seen[0][row, -1].numpy()).max() < 1e-5
        if batch.step.draft[row, 0] in family.hook.eos_ids():
            continue  # It said nothing more.
        assert np.abs(trace.phi[1, 0] - torch.stack([s[row, -1] for s in seen[:2]]).mean(0).numpy()).max() < 1e-5


def test_an_autoregressive_row_is_the_same_alone_and_in_company(lab) -> None:
    family = lab("lab-causal")
    together = family.drive("autoregressive", SPOKEN, "predicting", tokens=TOKENS)[0].texts
    for prompt, text in zip(SPOKEN, together, strict=True):
        assert family.drive("autoregressive", [prompt], "predicting", tokens=TOKENS)[0].texts == [text]


# -- what cannot be started ----------------------------------------------------------------------------------------


def refused(family: Family, sampler: Sampler, *prompts: Prompt) -> str:
    with pytest.raises(ConfigError) as raised:
        list(drive(family.hook, family.loaded, sampler, prompts, WatchSettings("response")))
    return str(raised.value)


def test_a_sampler_that_begins_empty_is_refused_by_name(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(toy.sampler), "prefills", False)
    with pytest.raises(ConfigError, match=r"prompt 'a': prefill is set, and sampler ToySampler begins with an empty"):
        toy.drive([*toy_prompts(1), Prompt("a", "ab", "harmless", prefill="x")])


def test_holes_are_refused_where_nothing_fills_them(lab) -> None:
    sampler = registry.build("samplers", "autoregressive", {"tokens": TOKENS})
    assert "prompt 'holes': prefill has holes" in refused(lab("lab-causal"), sampler, PROMPTS[1], PROMPTS[0])


def test_a_malformed_mark_is_refused_with_its_prompt(lab) -> None:
    sampler = registry.build("samplers", "autoregressive", {"tokens": TOKENS})
    said = refused(lab("lab-causal"), sampler, Prompt("odd", BAKE, "harmless", prefill="the <mask:x>"))
    assert "prompt 'odd': prefill: found '<mask:x>'" in said


@pytest.mark.parametrize(
    ("prefill", "problem"),
    [("abcdefgh", "prefill of 8 tokens, holes counted, leaves nothing to generate in a response of 8 tokens"),
     ("abcdefghi", "does not fit a response of 8 tokens"), ("<mask:8>a", "9 tokens, holes counted, does not fit")],
)  # fmt: skip
def test_a_started_response_must_fit_and_leave_something(toy: Toy, prefill: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=f"prompt 'a': .*{problem}"):
        toy.drive([Prompt("a", "ab", "harmless", prefill=prefill), *toy_prompts(1)])


def test_holes_at_the_end_may_be_as_many_as_one_likes(toy: Toy) -> None:
    batch = toy.drive([Prompt("a", "ab", "harmless", prefill="x<mask:99>")])
    assert batch.run.traces[0].steps == 7 and batch.texts[0][0] == "x"


def test_a_family_that_works_in_blocks_is_refused(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ToyHook, "block_length", lambda self: 4)
    with pytest.raises(ConfigError, match="ToyHook works in blocks of 4"):
        toy.drive([Prompt("a", "ab", "harmless", prefill="x")])


def test_a_hook_that_looks_for_masks_only_is_unmonitored_and_never_pooled_in_part(toy: Toy, toy_guard) -> None:
    from sri_sdk.capture.settings import watch_settings

    class Old(ToyHook):
        def plan(self, call: ForwardCall, run: RunView) -> StepPlan | None:
            told, run.response = run.response, None
            try:
                return super().plan(call, run)
            finally:
                run.response = told

    hook = Old(toy.loaded.model)
    settings = watch_settings(hook, toy_guard, sampler={"name": "toy", "budget": 8})
    batch = drive(hook, toy.loaded, toy.sampler, [Prompt("a", "ab", "harmless", prefill="xy")], settings)
    list(batch)
    assert batch.texts[0].startswith("xy")
    assert [v.status for v in batch.run.verdicts] == ["unmonitored"]
    assert batch.run.failure is not None and "RunView.response" in batch.run.failure


# -- a canvas that the caller of a watched model started -----------------------------------------------------------


@pytest.mark.parametrize("prefill", ["xy", "x<mask:2>y", "<mask:3>xyzabc"], ids=str)
def test_a_started_canvas_that_nobody_tells_of_is_never_clear(prefill: str, toy_guard) -> None:
    hook = ToyHook(build(0))
    encoded = hook.encode(ToyTokenizer(), ["ab"])
    given = hook.start(ToyTokenizer(), [prefill])
    mask = hook.mask_id()
    canvas = torch.full((1, 8), mask)
    canvas[:, : given.shape[1]] = given[:, :8]
    ids = torch.cat([encoded.input_ids, canvas], dim=1)
    with watch(hook.model, toy_guard, hook=hook) as run, torch.no_grad():
        while (ids == mask).any():
            first = int((ids[0] == mask).nonzero()[0])
            ids[:, first] = hook.model(ids).logits[:, first].argmax(-1)
    assert [v.status for v in run.verdicts] == ["unmonitored"], run.verdicts


def test_a_response_that_its_caller_started_is_noticed_and_costs_no_neighbour_that_begins_empty() -> None:
    from sri_plugin_llada.hook import LladaHook
    from sri_plugin_llada.stand_ins.model import MASK, build

    from sri_sdk.capture.run import Run
    from sri_sdk.capture.tap import tap_of

    model = build()
    hook = LladaHook(model)
    run = Run(hook, WatchSettings("response", canvas=16, keep_states=True))
    empty = torch.tensor([[7, 8, 9], [7, 8, 9]])
    with tap_of(model).installed(hook, run), tap_of(model).owned_by(run):
        ids = torch.cat([empty, torch.full((2, 16), MASK)], dim=1)
        ids[1, 3:5] = 11  # As if the caller's own loop had started this response.
        model(ids)
    run.finish()
    assert [t.reasons for t in run.traces] == [(), ("canvas_primed",)]
    assert run.failure is not None and "beside others of 16 positions" in run.failure


# -- without a tap --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hook", "sampler", "prompts", "options"),
    [
        ("lab-diffusion", "low-confidence", PROMPTS, {"steps": STEPS, "tokens": TOKENS}),
        ("lab-causal", "autoregressive", SPOKEN, {"tokens": TOKENS}),
    ],
)
def test_the_tap_changes_no_word(lab, hook, sampler, prompts, options) -> None:
    family = lab(hook)
    watched = family.drive(sampler, prompts, "response" if hook == "lab-diffusion" else "predicting", **options)[0]
    made = registry.build("samplers", sampler, options)
    assert generate_untapped(family.hook, family.loaded, made, prompts) == watched.texts
