"""What is refused before anything runs, in words that say what would do."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sri_plugin_toy.hook import ToyHook
from sri_plugin_toy.model import build

import sri_sdk
import sri_sdk.registry
from sri_sdk import Ablate, Where
from sri_sdk.errors import ConfigError, ModelMismatch, SteeringError
from sri_sdk.steer.direction import Direction
from tests import forks
from tests.steer.steered import IDS, direction_for, masked


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


def test_copies_in_threads_are_refused(hook) -> None:
    class DataParallel(torch.nn.Module):
        module = hook.model

    with pytest.raises(ConfigError, match="DataParallel"):
        sri_sdk.steer(ToyHook(DataParallel()), direction_for(hook), Ablate())


@pytest.fixture(scope="module")
def run_file() -> Iterator[forks.Run]:
    with forks.forks() as run:
        yield run


@pytest.mark.parametrize(
    "first", ["", "import sri_sdk.steer.direction;", "from sri_sdk.steer.steering import steer;", "sri_sdk.steer;"]
)
def test_the_public_function_answers_whatever_was_imported_before(first, run_file, tmp_path) -> None:
    (tmp_path / "steers.py").write_text(f"import sri_sdk; {first} import sri_sdk.steer.where; sri_sdk.steer(1, 2, 3)")
    code, said = run_file(tmp_path / "steers.py")
    assert code == 1 and "not callable" not in said and "no installed hook fits" in said


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


def test_too_few_strengths_for_the_rows_of_a_pass_are_said_with_what_makes_more_rows(hook) -> None:
    with (
        pytest.raises(SteeringError, match=r"2 rows, and a pass of 3 requests.*Beam search"),
        sri_sdk.steer(hook, direction_for(hook), Ablate(), rows=[1, 0]),
    ):
        hook.model.generate(IDS)
