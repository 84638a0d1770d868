"""Passes that run twice: the run measures unsteered states, and the steered ones decide what is said."""

import pytest
import torch

import sri_sdk
from sri_sdk import registry
from sri_sdk.capture.drive import Drive
from sri_sdk.capture.settings import WatchSettings
from sri_sdk.capture.tap import tap_of
from sri_sdk.steer.operations import Add
from sri_sdk.steer.recovery.passes import Course, Passes
from sri_sdk.steer.recovery.steering import Steer, distance
from sri_sdk.steer.steering import steer
from sri_sdk.steer.where import Where

from .conftest import direction_of

TOKENS, STEPS = 24, 6


class Lab:
    """One lab model, and what drives it."""

    def __init__(self, name: str, sampler: str, pooling: str, **options) -> None:
        family = registry.load("hooks", name)
        self.loaded = family.load(family.Config())
        self.hook = family(self.loaded.model)
        self.sampler = registry.build("samplers", sampler, {"tokens": TOKENS, **options})
        self.settings = WatchSettings(pooling, budget=self.sampler.budget(), keep_states=True)
        self.prompts = registry.build("datasets", "lab", {}).prompts("test", "harmful", 3)
        # Far enough that something else is said.
        self.direction = direction_of(self.hook, seed=1, scale=25.0)

    def drive(self, courses=None, *, steered=True, prompts=None, sampler=None):
        """Drives the prompts; returns the batch, its canvases by step, and what ran the passes."""
        prompts = prompts or self.prompts
        courses = courses or [Course()] * len(prompts)
        with Steer(self.hook, self.direction, 1.0) as steering:
            passes = Passes(self.hook, courses, steering if steered else None)
            batch = Drive(
                self.hook, self.loaded, sampler or self.sampler, prompts, self.settings, seed=0, system_prompt=None,
                around=lambda _: passes,
            )  # fmt: skip
            canvases = []
            for step in batch:
                passes.step = step.index + 1
                canvases.append((step.draft.clone(), step.committed.clone()))
        return batch, canvases, passes

    def states(self, ids, attention):
        """[B, L, D] after the last norm, of an unsteered pass."""
        found = []
        handle = self.hook.final_norm().register_forward_hook(lambda _m, _a, out: found.append(out))
        with torch.inference_mode():
            self.hook.forward(ids, attention)
        handle.remove()
        return found[0]

    def encoded(self, prompts=None):
        return self.hook.encode(self.loaded.tokenizer, [p.text for p in prompts or self.prompts])


@pytest.fixture(scope="module")
def diffusion() -> Lab:
    return Lab("lab-diffusion", "low-confidence", "response", steps=STEPS)


@pytest.fixture(scope="module")
def causal() -> Lab:
    return Lab("lab-causal", "autoregressive", "predicting")


def all_steps(lab: Lab, start: int = 0, stop: int = TOKENS) -> list[Course]:
    return [Course(range(start, stop))] * len(lab.prompts)


def test_the_run_of_a_masked_model_measures_unsteered_states_of_what_steering_says(diffusion: Lab) -> None:
    batch, canvases, passes = diffusion.drive(all_steps(diffusion, stop=4))
    encoded, mask = diffusion.encoded(), diffusion.hook.mask_id()
    shown = [torch.full((3, TOKENS), mask), *(d.masked_fill(~c, mask) for d, c in canvases)]
    attention = torch.cat([encoded.attention_mask, torch.ones(3, TOKENS, dtype=torch.int64)], dim=1)
    for index in range(STEPS):
        states = diffusion.states(torch.cat([encoded.input_ids, shown[index]], dim=1), attention)
        expected = states[:, -TOKENS:].mean(1)
        for row, trace in enumerate(batch.run.traces):
            assert (torch.from_numpy(trace.phi[index, 0]) - expected[row]).abs().max() < 1e-5
    assert [t.reasons for t in batch.run.traces] == [()] * 3 and passes.calls == STEPS
    assert batch.texts != diffusion.drive(steered=False)[0].texts, "the steering decides what is said"


@pytest.mark.parametrize("k", [1, 4, STEPS])
def test_what_is_said_is_what_steering_alone_would_say(diffusion: Lab, k: int) -> None:
    batch, _, _ = diffusion.drive(all_steps(diffusion, stop=k))
    add = Add(distance(diffusion.direction))
    with steer(diffusion.hook, diffusion.direction, add, where=Where(steps=(0, k))):
        plain, _, _ = diffusion.drive(steered=False)
    assert torch.equal(batch.step.draft, plain.step.draft)


def test_guidance_steers_the_half_that_is_a_request(diffusion: Lab) -> None:
    guided = registry.build("samplers", "low-confidence", {"tokens": TOKENS, "steps": STEPS, "cfg_scale": 1.0})
    batch, _, _ = diffusion.drive(all_steps(diffusion), sampler=guided)
    with steer(diffusion.hook, diffusion.direction, Add(distance(diffusion.direction)), rows=[1.0] * 3):
        alone, _, _ = diffusion.drive(steered=False, sampler=guided)
    assert [t.reasons for t in batch.run.traces] == [()] * 3
    assert torch.equal(batch.step.draft, alone.step.draft)


@pytest.mark.parametrize("family", ["diffusion", "causal"])
def test_a_row_that_is_not_steered_is_the_same_beside_one_that_is(family, request) -> None:
    lab = request.getfixturevalue(family)
    free, _, _ = lab.drive(steered=False)
    mixed, _, _ = lab.drive([Course(), Course(range(TOKENS)), Course()])
    for row in (0, 2):
        assert torch.equal(mixed.step.draft[row], free.step.draft[row])
        assert (mixed.run.traces[row].phi == free.run.traces[row].phi).all()
    assert not torch.equal(mixed.step.draft[1], free.step.draft[1])


def test_the_run_of_an_autoregressive_model_measures_unsteered_states(causal: Lab) -> None:
    batch, _, _ = causal.drive(all_steps(causal, start=2, stop=9))
    encoded = causal.encoded()
    ids = torch.cat([encoded.input_ids, batch.step.draft], dim=1)
    attention = torch.cat([encoded.attention_mask, torch.ones_like(batch.step.draft)], dim=1)
    states = causal.states(ids, attention)[:, encoded.input_ids.shape[1] - 1 :]
    for row, trace in enumerate(batch.run.traces):
        mean = states[row, : trace.steps].cumsum(0) / torch.arange(1, trace.steps + 1)[:, None]
        assert (torch.from_numpy(trace.phi[: trace.steps, 0]) - mean).abs().max() < 1e-4
        assert trace.reasons == ()
    assert batch.texts != causal.drive(steered=False)[0].texts


def test_steered_passes_keep_a_cache_of_their_own(causal: Lab) -> None:
    batch, _, _ = causal.drive(all_steps(causal))
    with steer(causal.hook, causal.direction, Add(distance(causal.direction))):
        plain, _, _ = causal.drive(steered=False)
    assert torch.equal(batch.step.draft, plain.step.draft)


def test_a_row_that_goes_on_says_again_what_it_has_said_and_then_something_else(causal: Lab) -> None:
    free, _, _ = causal.drive(steered=False)
    kept = [tuple(free.step.draft[row, :n].tolist()) for row, n in enumerate((0, 3, 7))]
    courses = [Course(range(len(tokens), len(tokens) + 8), tokens) for tokens in kept]
    batch, _, passes = causal.drive(courses)
    for row, tokens in enumerate(kept):
        assert tuple(batch.step.draft[row, : len(tokens)].tolist()) == tokens
        # Up to there nothing was steered, so the states are those of the first time, too.
        same = len(tokens) + 1
        assert (batch.run.traces[row].phi[:same] == free.run.traces[row].phi[:same]).all()
        assert not torch.equal(batch.step.draft[row], free.step.draft[row])
    passes.step = 4
    assert [passes.cost(row) for row in range(3)] == [2, 2, 1]
    for row in range(3):
        alone, _, _ = causal.drive([courses[row]], prompts=[causal.prompts[row]])
        length = alone.step.draft.shape[1]
        assert torch.equal(alone.step.draft[0], batch.step.draft[row, :length])


def test_what_is_kept_is_said_again_under_temperature_too(causal: Lab) -> None:
    warm = registry.build("samplers", "autoregressive", {"tokens": TOKENS, "temperature": 2.0})
    free, _, _ = causal.drive(steered=False, sampler=warm)
    kept = tuple(free.step.draft[0, :5].tolist())
    again, _, _ = causal.drive([Course(kept=kept), Course(), Course()], steered=False, sampler=warm)
    assert torch.equal(again.step.draft[0], free.step.draft[0]), "the same numbers are drawn as without replaying"
    assert torch.equal(again.step.draft[1], free.step.draft[1])


def test_nothing_of_a_steering_is_left_behind(causal: Lab) -> None:
    before, _, _ = causal.drive(steered=False)
    causal.drive(all_steps(causal))
    after, _, _ = causal.drive(steered=False)
    assert torch.equal(before.step.draft, after.step.draft)
    modules = [causal.hook.final_norm(), causal.hook.embedding(), *causal.hook.layers(), causal.loaded.model]
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in modules)


def test_passes_of_a_recovery_are_no_strays_of_another_run(diffusion: Lab) -> None:
    before = tap_of(diffusion.loaded.model).unowned
    diffusion.drive(all_steps(diffusion))
    assert tap_of(diffusion.loaded.model).unowned == before
    with sri_sdk.watch(diffusion.loaded.model, hook=diffusion.hook) as run:
        diffusion.loaded.model.generate(diffusion.encoded().input_ids, max_new_tokens=TOKENS, steps=STEPS)
        with tap_of(diffusion.loaded.model).unheard():
            diffusion.hook.forward(diffusion.encoded().input_ids)
    assert run.traces[0].steps == STEPS and not run.traces[0].reasons
