"""What could not be steered is an error, and never a generation that was left as it was."""

import sys

import pytest
import torch
from sri_plugin_lab.hooks import LabCausalHook
from sri_plugin_toy.hook import ToyHook
from sri_plugin_toy.model import CANVAS, build

import sri_sdk
import sri_sdk.registry
from sri_sdk import Ablate, Add, Where
from sri_sdk.errors import SteeringError
from tests.steer.steered import IDS, direction_for, hooks_on, masked


def test_a_block_in_which_nothing_ran_is_an_error(hook) -> None:
    with (
        pytest.raises(SteeringError, match="nothing was steered"),
        sri_sdk.steer(hook, direction_for(hook), Ablate()),
    ):
        pass


def test_a_place_that_never_runs_is_an_error(hook, monkeypatch) -> None:
    layers = [*hook.layers()]
    for wrong in ([layers[0], torch.nn.Linear(1, 1)], [torch.nn.Linear(1, 1), layers[1]]):
        monkeypatch.setattr(hook, "layers", lambda wrong=wrong: wrong)
        with (
            pytest.raises(SteeringError, match=r"`block [01]` of ToyHook ran 0 times in 1 passes"),
            sri_sdk.steer(hook, direction_for(hook), Ablate()),
        ):
            hook.model(masked())


def test_a_place_that_is_skipped_in_one_of_many_passes_is_an_error(hook) -> None:
    own, calls = hook.model.blocks[0], iter(range(100))

    class Sometimes(torch.nn.Module):
        def forward(self, *args):
            # Around the module, as compiled code goes.
            return own(*args) if next(calls) != 3 else own.forward(*args)

    model = hook.model
    model.blocks[0] = Sometimes()
    hook.layers = lambda: [own, model.blocks[1]]
    with (
        pytest.raises(SteeringError, match="`block 0` of ToyHook ran 7 times in 8 passes"),
        sri_sdk.steer(hook, direction_for(hook), Ablate()),
    ):
        model.generate(IDS)


def test_an_interrupted_pass_is_no_silence_but_verify_names_it(hook) -> None:
    calls = iter(range(100))
    broken = hook.layers()[1].register_forward_pre_hook(lambda *_: 1 / 0 if next(calls) == 1 else None)
    with sri_sdk.steer(hook, direction_for(hook), Ablate()) as steering:
        hook.model(masked())
        with pytest.raises(ZeroDivisionError):
            hook.model(masked())
        hook.model(masked())
    broken.remove()
    with pytest.raises(SteeringError, match="`block 1` of ToyHook ran 2 times, 3 were due"):
        steering.verify()


class Raises(ToyHook):
    def plan(self, call, run):
        return super().plan(call, run) if run.forwards < 4 else sys.exit(3)


@pytest.mark.parametrize(
    "where", [Where(steps=(6, 7)), Where(positions=("prompt",)), Where(blocks=(0, 1), block_length=2)], ids=str
)
def test_a_plan_that_raises_ends_a_generation_that_would_go_on_unsteered(where) -> None:
    hook = Raises(build(0))
    with (
        pytest.raises(SteeringError, match=r"Raises.plan\(\) cannot say.*SystemExit: 3"),
        sri_sdk.steer(hook, direction_for(hook), Ablate(), where=where),
    ):
        hook.model.generate(IDS)
    assert hooks_on(hook.model) == 0


def test_a_plan_that_raises_is_not_asked_where_everything_is_steered_and_not_needed_for_strengths() -> None:
    hook = Raises(build(0))
    for rows in (None, [1.0, 0.5, 0.0]):
        with sri_sdk.steer(hook, direction_for(hook), Ablate(), rows=rows) as steering:
            hook.model.generate(IDS)
        steering.verify()


def test_a_second_generation_that_nobody_announces_is_an_error_and_begins_announces_it(hook) -> None:
    def loop(ids: torch.Tensor) -> None:
        ids = masked(ids)
        for position in range(-CANVAS, 0):
            ids[:, position] = hook.model(ids).logits[:, position].argmax(-1)

    where = Where(steps=(0, 2))
    with (
        pytest.raises(SteeringError, match=r"a second generation in one block.*steering.begins\(\)"),
        sri_sdk.steer(hook, direction_for(hook), Ablate(), where=where),
    ):
        loop(IDS)
        loop(IDS)
    with sri_sdk.steer(hook, direction_for(hook), Ablate(), where=where) as steering:
        loop(IDS)
        steering.begins()
        loop(IDS[:, :4])
    assert steering.positions == 2 * masked().numel() + 2 * masked(IDS[:, :4]).numel()


def test_calls_of_the_model_s_own_methods_are_generations_of_their_own(hook) -> None:
    with sri_sdk.steer(hook, direction_for(hook), Ablate(), where=Where(steps=(0, 2))) as steering:
        for _ in range(3):
            hook.model.generate(IDS)
        hook.model(masked())
    assert steering.positions == (3 * 2 + 1) * masked().numel()


def test_a_pass_around_the_embedding_is_steered_or_refused() -> None:
    hook = LabCausalHook.example().hook
    states = hook.embedding()(torch.tensor([[5, 6, 7]]))
    free = hook.model(inputs_embeds=states).logits
    with sri_sdk.steer(hook, direction_for(hook), Ablate()) as steering:
        first, again = hook.model(inputs_embeds=states).logits, hook.model(inputs_embeds=states).logits
    assert torch.equal(first, again) and not torch.equal(first, free) and steering.passes == 2
    steering.verify()
    with (
        pytest.raises(SteeringError, match="did not go through the token embedding"),
        sri_sdk.steer(hook, direction_for(hook), Ablate(), where=Where(positions=("prompt",))),
    ):
        hook.model(inputs_embeds=states)


def test_what_the_hook_refuses_to_follow_is_refused_before_it_runs() -> None:
    case = sri_sdk.registry.load("hooks", "causal").example()
    ids = case.encoded.input_ids
    with (
        pytest.raises(sri_sdk.SriError, match="beam"),
        sri_sdk.steer(case.hook, direction_for(case.hook), Ablate(), where=Where(positions=("prompt",))),
    ):
        case.hook.model.generate(ids, num_beams=2, max_new_tokens=3)
    with sri_sdk.steer(case.hook, direction_for(case.hook), Ablate()) as steering:
        case.hook.model.generate(ids, num_beams=2, max_new_tokens=3)
    steering.verify()


def test_paused_passes_are_free_and_belong_to_no_generation(hook) -> None:
    free, where = hook.model(masked()).logits, Where(steps=(0, 1))
    with sri_sdk.steer(hook, direction_for(hook), Add(4.0), where=where) as steering:
        with steering.paused():
            assert torch.equal(hook.model(masked()).logits, free)
        assert not torch.equal(hook.model(masked()).logits, free)
        with steering.paused():
            hook.model(masked(IDS[:1]))
        assert torch.equal(hook.model(masked()).logits, free)
    assert steering.passes == 2
    steering.verify()


@torch.no_grad()
@pytest.mark.parametrize("ran_before", [False, True])
def test_a_compiled_function_around_the_model_is_steered_or_it_is_an_error(hook, ran_before) -> None:
    torch._dynamo.reset()
    run = torch.compile(lambda ids: hook.model(ids).logits, backend="eager")
    free = hook.model(masked()).logits
    if ran_before:
        run(masked())
    with sri_sdk.steer(hook, direction_for(hook), Add(4.0)):
        wanted = hook.model(masked()).logits
    try:
        with sri_sdk.steer(hook, direction_for(hook), Add(4.0)):
            found = run(masked())
    except SteeringError as err:
        assert "nothing was steered" in str(err)
    else:
        assert torch.equal(found, wanted)
    assert torch.equal(run(masked()), free)


def test_steps_that_never_came_are_no_error_and_the_count_of_positions_says_so(hook) -> None:
    with sri_sdk.steer(hook, direction_for(hook), Ablate(), where=Where(steps=(500, 600))) as steering:
        hook.model.generate(IDS)
    assert steering.passes > 0 and steering.positions == 0
