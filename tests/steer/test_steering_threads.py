"""Steerings in threads and tasks: each steers its own generation, and what two share is an error."""

import asyncio
import contextvars
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from sri_plugin_toy.model import CANVAS

import sri_sdk
import sri_sdk.registry
from sri_sdk import Ablate, Add, Where
from sri_sdk.capture.modules import foreign_code
from sri_sdk.errors import SteeringError
from tests.steer.steered import IDS, direction_for, hooks_on, masked


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
