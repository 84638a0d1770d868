"""The context manager: what it changes, what it leaves as it was, and how it says that it could not steer."""

import asyncio
import contextvars
import subprocess
import sys
import threading
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sri_plugin_lab.hooks import LabCausalHook
from sri_plugin_llada.stand_ins.model import CachedLLaDAModelLM
from sri_plugin_llada.stand_ins.model import build as build_llada
from sri_plugin_toy.hook import ToyHook
from sri_plugin_toy.model import CANVAS, ToyConfig, ToyModel, build

import sri_sdk
import sri_sdk.registry
from sri_sdk import Ablate, Add, Clamp, Where
from sri_sdk.capture.modules import foreign_code
from sri_sdk.errors import ConfigError, ModelMismatch, SteeringError
from sri_sdk.steer.direction import Direction
from sri_sdk.steer.listening import replaced, states_of
from tests.steer.steered import changes, direction_for

IDS = torch.randint(3, 30, (3, 6), generator=torch.Generator().manual_seed(1))


@pytest.fixture
def hook() -> ToyHook:
    return ToyHook(build(0))


def hooks_on(model: torch.nn.Module) -> int:
    tables = ("_forward_hooks", "_forward_pre_hooks", "_forward_hooks_with_kwargs", "_forward_pre_hooks_with_kwargs")
    return sum(len(getattr(module, table)) for module in model.modules() for table in tables)


def masked(ids: torch.Tensor = IDS) -> torch.Tensor:
    return torch.cat([ids, torch.ones(len(ids), CANVAS, dtype=torch.int64)], dim=1)


def projections(states: torch.Tensor, hook: ToyHook) -> torch.Tensor:
    return states @ torch.from_numpy(direction_for(hook).vectors[0])


# -- nothing is left behind ------------------------------------------------------------------------------------


def test_afterwards_the_model_is_the_same_bit_for_bit(hook) -> None:
    before, tokens = hook.model(masked()).logits, hook.model.generate(IDS)
    with sri_sdk.steer(hook.model, direction_for(hook), Ablate()) as steering:
        during = hook.model(masked()).logits
    assert not torch.equal(before, during)
    assert torch.equal(hook.model(masked()).logits, before) and torch.equal(hook.model.generate(IDS), tokens)
    assert hooks_on(hook.model) == 0 and not {"generate", "forward"} & vars(hook.model).keys()
    steering.verify()


def test_nothing_is_left_behind_when_the_model_raises_and_its_error_is_the_one_that_shows(hook) -> None:
    broken = hook.layers()[1].register_forward_pre_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError), sri_sdk.steer(hook, direction_for(hook), Ablate()):
        hook.model.generate(IDS)
    broken.remove()
    assert hooks_on(hook.model) == 0


def test_what_cannot_be_entered_leaves_nothing_behind(hook, monkeypatch) -> None:
    steering = sri_sdk.steer(hook, direction_for(hook), Ablate())
    monkeypatch.setattr(hook, "prompt_modules", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        steering.__enter__()
    assert hooks_on(hook.model) == 0


def test_a_steering_is_entered_once(hook) -> None:
    with sri_sdk.steer(hook, direction_for(hook), Ablate()) as steering:
        hook.model(masked())
    with pytest.raises(ConfigError, match="entered once"):
        steering.__enter__()


# -- what is changed -------------------------------------------------------------------------------------------


def test_every_block_is_reached_in_every_pass_and_counted(hook) -> None:
    with sri_sdk.steer(hook, direction_for(hook), Ablate(), where=Where(sites=("block", "embedding"))) as steering:
        hook.model.generate(IDS)
    assert steering.counts == {"embedding": CANVAS, "block 0": CANVAS, "block 1": CANVAS}
    assert steering.passes == CANVAS and steering.positions == CANVAS * masked().numel()


def test_layers_restrict_blocks_and_each_block_may_have_a_vector_of_its_own(hook) -> None:
    each = direction_for(hook, each=True)
    for block in (0, 1):
        with changes(hook, each, Ablate(), block=block) as (seen, _):
            hook.model(masked())
        left = seen.after[0] @ torch.from_numpy(each.vectors).T
        assert left[..., block].abs().max() < 1e-5 < left[..., 1 - block].abs().max()
    with changes(hook, each, Add(1.0), where=Where(layers=(1,)), block=0) as (seen, steering):
        hook.model(masked())
    assert not seen.rows()[0].any() and steering.counts == {"block 1": 1}


def test_nested_steerings_act_in_the_order_in_which_they_were_entered(hook) -> None:
    direction = direction_for(hook)
    for one, two, wanted in [(Add(5.0), Ablate(), 0.0), (Ablate(), Add(5.0), 5.0), (Clamp(3.0), Add(-1.0), 2.0)]:
        last = []
        with sri_sdk.steer(hook, direction, one), sri_sdk.steer(hook, direction, two):
            handle = hook.layers()[0].register_forward_hook(lambda _m, _a, o, to=last: to.append(o))
            hook.model(masked())
            handle.remove()
        assert (projections(last[0], hook) - wanted).abs().max() < 1e-5
    assert hooks_on(hook.model) == 0


def test_blocks_that_end_in_another_order_than_they_began_in_each_end_their_own(hook) -> None:
    free = hook.model(masked()).logits
    first, second = (sri_sdk.steer(hook, direction_for(hook, seed=seed), Add(2.0)) for seed in (0, 1))
    first.__enter__()
    both = (second.__enter__(), hook.model(masked()).logits)[1]
    first.__exit__(None, None, None)
    alone = hook.model(masked()).logits
    second.__exit__(None, None, None)
    assert not torch.equal(both, alone) and not torch.equal(alone, free)
    assert torch.equal(hook.model(masked()).logits, free)


@pytest.mark.parametrize("order", ["watch inside", "steer inside"])
def test_a_watch_sees_what_the_model_goes_on_with(hook, order) -> None:
    steering = sri_sdk.steer(hook, direction_for(hook), Ablate())
    watching = sri_sdk.watch(hook.model, hook=hook, layers=(0, 1))
    first, second = (steering, watching) if order == "watch inside" else (watching, steering)
    with first as one, second as two:
        hook.model.generate(IDS)
    run = two if order == "watch inside" else one
    assert all(not trace.reasons for trace in run.traces)
    phi = torch.from_numpy(np.concatenate([trace.phi for trace in run.traces]))
    assert projections(phi, hook).abs().max() < 1e-5


def test_other_members_of_what_a_block_puts_out_stay() -> None:
    pair = namedtuple("pair", "states cache")
    states, new = torch.zeros(1, 2, 3), torch.ones(1, 2, 3)
    for output in ((states, "cache"), [states, "cache"], pair(states, "cache"), states):
        assert states_of(output) is states
        made = replaced(output, new)
        assert type(made) is type(output) and states_of(made) is new
        assert made is new or made[1] == "cache"
    assert states_of(({"a": 1},)) is None and states_of(torch.zeros(2, dtype=torch.int64)) is None
    model = build_llada(CachedLLaDAModelLM)
    hook = sri_sdk.registry.load("hooks", "llada")(model)
    with sri_sdk.steer(hook, direction_for(hook), Ablate()):
        assert len(model(IDS, use_cache=True).past_key_values[0]) == 2


def test_inference_mode_first_and_gradients_afterwards(hook) -> None:
    with sri_sdk.steer(hook, direction_for(hook), Ablate(), rows=[1, 0.5, 0]) as steering:
        with torch.inference_mode():
            hook.model(masked())
            steering.rows = [1, 1, 0]
        hook.model(masked()).logits[..., 5].sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in hook.layers()[0].parameters())


def test_a_module_that_stands_for_several_blocks_is_each_of_them_in_turn() -> None:
    model = ToyModel(ToyConfig()).eval()
    model.blocks = torch.nn.ModuleList([model.blocks[0]] * 3)
    hook = ToyHook(model)
    with changes(hook, direction_for(hook), Ablate(), where=Where(layers=(1,))) as (seen, steering):
        model.generate(IDS)
    acted = [bool(row.any()) for row in seen.rows()]
    assert acted == [False, True, False] * CANVAS and steering.counts == {"block 1": CANVAS}
    steering.verify()


# -- rows ------------------------------------------------------------------------------------------------------


def test_each_row_has_a_strength_of_its_own_and_none_changes_no_bit(hook) -> None:
    free = hook.model(masked()).logits
    with sri_sdk.steer(hook, direction_for(hook), Add(3.0), rows=[0.0, 1.0, 0.5]) as steering:
        mixed = hook.model(masked()).logits
        steering.rows = torch.tensor([1.0, 0.0, 1.0])
        swapped = hook.model(masked()).logits
    assert torch.equal(mixed[0], free[0]) and torch.equal(swapped[1], free[1])
    for row, share in ((1, 1.0), (2, 0.5)):
        with sri_sdk.steer(hook, direction_for(hook), Add(3.0 * share)):
            alone = hook.model(masked()[row : row + 1]).logits[0]
        torch.testing.assert_close(mixed[row], alone, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("rows", [[1.0], [1.0] * 4, torch.ones(2)])
def test_another_number_of_rows_is_an_error_and_not_a_guess(hook, rows) -> None:
    with (
        pytest.raises(SteeringError, match="a pass of 3 requests"),
        sri_sdk.steer(hook, direction_for(hook), Ablate(), rows=rows),
    ):
        hook.model(masked())


@pytest.mark.parametrize("rows", [[], [float("nan")], [[1.0]], 1.0, "abc", ["a"], [None], {1: 2}, [1j]])
def test_rows_that_are_no_numbers_per_request_are_refused(hook, rows) -> None:
    with pytest.raises(ConfigError, match="one finite number per request"):
        sri_sdk.steer(hook, direction_for(hook), Ablate(), rows=rows)


# -- threads and tasks -----------------------------------------------------------------------------------------


def test_a_generation_in_another_thread_is_not_steered_even_in_lockstep(hook) -> None:
    free = hook.model.generate(IDS)
    with sri_sdk.steer(hook, direction_for(hook), Add(4.0)):
        wanted = hook.model.generate(IDS)
    with sri_sdk.steer(hook, direction_for(hook), Add(-4.0), where=Where(positions=("masked",))):
        other = hook.model.generate(IDS)
    barrier, found = threading.Barrier(3), {}

    def meet(*_) -> None:
        barrier.wait(10)

    handle = hook.layers()[0].register_forward_pre_hook(meet)

    def work(name, *args, **options):
        if not args:
            found[name] = hook.model.generate(IDS)
            return
        with sri_sdk.steer(hook, direction_for(hook), *args, **options) as steering:
            found[name] = hook.model.generate(IDS)
        steering.verify()
        found[f"{name} counts"] = steering.counts

    threads = [
        threading.Thread(target=work, args=("free",)),
        threading.Thread(target=work, args=("one", Add(4.0))),
        threading.Thread(target=work, args=("two", Add(-4.0)), kwargs={"where": Where(positions=("masked",))}),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    handle.remove()
    assert torch.equal(found["free"], free) and torch.equal(found["one"], wanted) and torch.equal(found["two"], other)
    assert found["one counts"] == found["two counts"] == {"block 0": CANVAS, "block 1": CANVAS}
    assert not torch.equal(wanted, free) and hooks_on(hook.model) == 0


def test_a_thread_started_in_the_block_is_named_where_nothing_else_ran(hook) -> None:
    with (
        pytest.raises(SteeringError, match=r"8 passes of this model ran in other threads.*copy_context"),
        sri_sdk.steer(hook, direction_for(hook), Ablate()),
    ):
        thread = threading.Thread(target=hook.model.generate, args=(IDS,))
        thread.start()
        thread.join()
    with sri_sdk.steer(hook, direction_for(hook), Ablate()) as steering:
        thread = threading.Thread(target=contextvars.copy_context().run, args=(hook.model.generate, IDS))
        thread.start()
        thread.join()
    steering.verify()


def test_tasks_of_one_thread_do_not_steer_each_other(hook) -> None:
    free = hook.model(masked()).logits

    async def steered() -> torch.Tensor:
        with sri_sdk.steer(hook, direction_for(hook), Add(4.0)):
            await asyncio.sleep(0)
            logits = hook.model(masked()).logits
            await asyncio.sleep(0)
            return logits

    async def plain() -> list[torch.Tensor]:
        found = []
        for _ in range(4):
            found.append(hook.model(masked()).logits)
            await asyncio.sleep(0)
        return found

    async def both():
        return await asyncio.gather(steered(), plain(), steered())

    one, others, two = asyncio.run(both())
    assert all(torch.equal(each, free) for each in others)
    assert torch.equal(one, two) and not torch.equal(one, free)


# -- silence is an error ---------------------------------------------------------------------------------------


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


# -- other models ----------------------------------------------------------------------------------------------


def test_a_direction_of_another_model_is_refused(hook) -> None:
    own = direction_for(hook)
    with pytest.raises(ModelMismatch, match="of a model of 3 blocks; ToyHook has 2"):
        sri_sdk.steer(hook, replace(own, means=np.zeros((2, 3), np.float32)), Ablate())
    wide = Direction("wide", np.eye(17, dtype=np.float32)[:1], "x", np.zeros((2, 2), np.float32), {})
    with (
        pytest.raises(ModelMismatch, match="17 numbers, `block 0` puts out states of 16"),
        sri_sdk.steer(hook, wide, Ablate()),
    ):
        hook.model(masked())
    with pytest.raises(ConfigError, match="none for the embedding"):
        sri_sdk.steer(hook, direction_for(hook, each=True), Ablate(), where=Where(sites=("embedding",)))


def test_what_is_no_operation_is_refused(hook) -> None:
    with pytest.raises(ConfigError, match=r"allowed: Ablate\(\)"):
        sri_sdk.steer(hook, direction_for(hook), Ablate)
    for budget in (0, "8", 1.5, True):
        with pytest.raises(ConfigError, match=f"budget {budget!r}"):
            sri_sdk.steer(hook, direction_for(hook), Ablate(), budget=budget)


@pytest.mark.parametrize("given", ["refusal.safetensors", Path("refusal.safetensors"), np.ones(16), None])
def test_a_file_or_an_array_is_no_direction_and_the_message_says_what_makes_one(hook, given) -> None:
    with pytest.raises(ConfigError, match=r"sri_sdk.load_direction\(path\)"):
        sri_sdk.steer(hook, given, Ablate())


def test_a_dict_is_no_where(hook) -> None:
    with pytest.raises(ConfigError, match=r"where .*; pass sri_sdk.Where\(...\)"):
        sri_sdk.steer(hook, direction_for(hook), Ablate(), where={"layers": (1,)})
    with pytest.raises(ConfigError, match="where"):
        sri_sdk.steer(hook, direction_for(hook), Ablate(), where={})


@pytest.mark.parametrize("number", [0.0, np.nan, 3.0])
def test_a_direction_whose_numbers_were_changed_since_is_refused_and_poisons_nothing(hook, number) -> None:
    direction = direction_for(hook)
    direction.vectors[:] = number
    with pytest.raises(ConfigError, match="changed since it was made"):
        sri_sdk.steer(hook, direction, Ablate())


def test_two_threads_at_once_in_one_steering_are_an_error_and_not_each_others_positions(hook) -> None:
    # In lockstep: whose pass is open when a block runs is otherwise left to chance.
    barrier, errors = threading.Barrier(2), []

    def meet(*_) -> None:
        barrier.wait(10)

    def work() -> None:
        try:
            hook.model(masked())
        except SteeringError as err:
            errors.append(str(err))
            barrier.abort()
        except threading.BrokenBarrierError:
            pass

    handles = [block.register_forward_pre_hook(meet) for block in hook.layers()]
    with sri_sdk.steer(hook, direction_for(hook), Ablate()):
        threads = [threading.Thread(target=contextvars.copy_context().run, args=(work,)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        for handle in handles:
            handle.remove()
        hook.model(masked())
    assert len(errors) == 1 and "two threads" in errors[0]


def test_threads_one_after_the_other_may_share_a_steering(hook) -> None:
    with sri_sdk.steer(hook, direction_for(hook), Ablate(), rows=[1.0, 0.0, 1.0]) as steering:
        for _ in range(2):
            thread = threading.Thread(target=contextvars.copy_context().run, args=(hook.model, masked()))
            thread.start()
            thread.join(60)
    assert steering.passes == 2
    steering.verify()


def in_place(model):
    model.compile(backend="eager")
    return model


def of_a_block(model):
    model.blocks[1].compile(backend="eager")
    return model


def of_forward(model):
    model.forward = torch.compile(model.forward, backend="eager")
    return model


def a_block_replaced(model):
    model.blocks[0] = torch.compile(model.blocks[0], backend="eager")
    return model


def outside(model):
    return torch.compile(model, backend="eager")


@pytest.mark.parametrize("compiled", [in_place, of_a_block, of_forward, a_block_replaced, outside])
def test_compiled_models_and_parts_are_refused_in_words(compiled) -> None:
    model = compiled(build(0))
    with pytest.raises(ConfigError, match="is compiled, and compiled code may go on"):
        sri_sdk.steer(ToyHook(model), direction_for(ToyHook(build(0))), Ablate())


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


def test_copies_in_threads_are_refused(hook) -> None:
    class DataParallel(torch.nn.Module):
        module = hook.model

    with pytest.raises(ConfigError, match="DataParallel"):
        sri_sdk.steer(ToyHook(DataParallel()), direction_for(hook), Ablate())


@pytest.mark.parametrize(
    "first", ["", "import sri_sdk.steer.direction;", "from sri_sdk.steer.steering import steer;", "sri_sdk.steer;"]
)
def test_the_public_function_answers_whatever_was_imported_before(first) -> None:
    code = f"import sri_sdk; {first} import sri_sdk.steer.where; sri_sdk.steer(1, 2, 3)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "not callable" not in done.stderr and "no installed hook fits" in done.stderr


def test_many_threads_that_enter_and_leave_steerings_at_once_get_what_they_would_get_alone(hook) -> None:
    options = [
        {"operation": Add(4.0)},
        {"operation": Ablate(), "rows": [1, 0, 1]},
        {"operation": Add(-3.0), "where": Where(positions=("masked",))},
    ]

    def generate(number: int) -> torch.Tensor:
        if number == len(options):
            return hook.model.generate(IDS)
        with sri_sdk.steer(hook, direction_for(hook), **options[number]) as steering:
            tokens = hook.model.generate(IDS)
        steering.verify()
        return tokens

    wanted, wrong = [generate(number) for number in range(4)], []

    def work(first: int) -> None:
        for number in range(first, first + 8):
            if not torch.equal(generate(number % 4), wanted[number % 4]):
                wrong.append(number % 4)

    threads = [threading.Thread(target=work, args=(first,)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong and hooks_on(hook.model) == 0 and "generate" not in vars(hook.model)


def test_a_guard_that_stops_a_steered_generation_is_what_shows(hook) -> None:
    def stop(*_) -> None:
        raise sri_sdk.SriError("stopped")

    with pytest.raises(sri_sdk.SriError, match="stopped"), sri_sdk.steer(hook, direction_for(hook), Ablate()):
        hook.embedding().register_forward_hook(stop)
        hook.model(masked())


def test_a_steering_shows_among_foreign_code_in_its_own_thread_alone(hook) -> None:
    direction = direction_for(hook)
    assert foreign_code(hook.model) == ""
    with sri_sdk.steer(hook, direction, sri_sdk.Ablate()) as steering, ThreadPoolExecutor(1) as other:
        assert foreign_code(hook.model) == "steering Ablate along 'random'"
        with sri_sdk.steer(hook, direction, sri_sdk.Add(1.0)) as second:
            assert foreign_code(hook.model) == "steering Ablate along 'random', steering Add along 'random'"
            hook.model(masked())
            second.verify()
        assert other.submit(foreign_code, hook.model).result() == ""
        with steering.paused():
            assert foreign_code(hook.model) == ""
    assert foreign_code(hook.model) == ""


# -- what people get wrong ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "cure"),
    [
        ("refusal.safetensors", r"is a path; .*load_direction"),
        (np.ones((1, 8), np.float32), r"is ndarray; .*sri_sdk.Direction"),
    ],
)
def test_a_path_or_an_array_in_place_of_a_direction_is_told_how_to_become_one(hook, given, cure) -> None:
    with pytest.raises(ConfigError, match=cure):
        sri_sdk.steer(hook, given, Ablate())


def test_steps_that_never_came_are_no_error_and_the_count_of_positions_says_so(hook) -> None:
    with sri_sdk.steer(hook, direction_for(hook), Ablate(), where=Where(steps=(500, 600))) as steering:
        hook.model.generate(IDS)
    assert steering.passes > 0 and steering.positions == 0


def test_too_few_strengths_for_the_rows_of_a_pass_are_said_with_what_makes_more_rows(hook) -> None:
    with (
        pytest.raises(SteeringError, match=r"2 rows, and a pass of 3 requests.*Beam search"),
        sri_sdk.steer(hook, direction_for(hook), Ablate(), rows=[1, 0]),
    ):
        hook.model.generate(IDS)
