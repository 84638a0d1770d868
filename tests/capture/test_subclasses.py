"""Which hook claims a class that inherits from a family, and what a run says where passes are not what they seem."""

from typing import Any

import pytest
import torch
import transformers
from packaging.version import Version
from sri_plugin_toy.hook import ToyHook
from sri_plugin_toy.model import CANVAS, MASK, ToyModel, build

import sri_sdk
from sri_sdk import registry
from sri_sdk.capture.choose import choose_hook
from sri_sdk.capture.coverage import FinishedText
from sri_sdk.errors import ModelMismatch
from sri_sdk.structure import not_of_family

from .conftest import Toy, toy_prompts

LOOPS = {
    "llada": ("forward", "generate", "mmu_generate"),
    "masked-lm": ("forward", "generate"),
    "dream": ("forward", "diffusion_generate", "_sample"),
    "llada2": ("forward", "generate"),
    "sdar": ("forward", "generate"),
    "fast-dllm-v2": ("forward", "mdm_sample", "batch_sample"),
    "diffusion-gemma": ("forward", "generate", "_denoising_step", "_finalize_canvas"),
    "causal": ("generate", "_sample"),
}
"""Hook -> methods that make its family's passes."""
OLD = Version(transformers.__version__) < Version("5.11")


def stand_in(name: str) -> Any:
    """A model of the hook's family with random weights."""
    if name == "diffusion-gemma" and OLD:
        pytest.skip("this transformers has no DiffusionGemma")
    return registry.load("hooks", name).example().hook.model


def become(model: Any, name: str, **members: Any) -> Any:
    """The same object, of a subclass with these members."""
    model.__class__ = type(name, (type(model),), members)
    return model


@pytest.mark.parametrize(("name", "method"), [(name, method) for name in LOOPS for method in LOOPS[name]])
def test_a_subclass_with_a_loop_of_its_own_is_left_to_those_who_name_the_hook(name: str, method: str) -> None:
    model = stand_in(name)
    original = getattr(model, method, None)
    model = become(model, "Editor", **{method: lambda self, *args, **kwargs: original(*args, **kwargs)})
    found = registry.load("hooks", name).fits(model)
    assert not found.ok and method in found.why and "Editor" in found.why
    with pytest.raises(ModelMismatch, match=method) as refusal:
        choose_hook(model)
    if name == "causal":
        return  # transformers' loop is all that this hook knows.
    assert f"Editor.{method}" in found.why and f"hook={name!r}" in str(refusal.value)
    assert type(choose_hook(model, name)) is registry.load("hooks", name)


@pytest.mark.parametrize("name", LOOPS)
def test_a_subclass_that_changes_nothing_of_the_loop_is_of_the_family(name: str) -> None:
    mixin = type("Saved", (), {"save": lambda self: None})
    model = become(stand_in(name), "Mine", __init__=None, describe=lambda self: "mine")
    model.__class__ = type("Mine", (mixin, type(model)), {})
    assert registry.load("hooks", name).fits(model).ok


def test_a_mixin_in_front_counts_like_the_class_itself() -> None:
    model = stand_in("llada")
    mixin = type("Edits", (), {"forward": lambda self, *args, **kwargs: None})
    model.__class__ = type("Mixed", (mixin, type(model)), {})
    assert "Edits.forward" in registry.load("hooks", "llada").fits(model).why


def test_a_forward_that_is_set_on_the_object_is_another_one_unless_it_wraps_the_classs() -> None:
    import functools

    model = stand_in("llada")
    hook, original = registry.load("hooks", "llada"), model.forward
    model.forward = functools.wraps(original)(lambda *args, **kwargs: original(*args, **kwargs))  # as accelerate does
    assert hook.fits(model).ok
    model.forward = torch.compile(original, backend="eager")
    assert hook.fits(model).ok
    model.forward = lambda *args, **kwargs: original(*args, **kwargs)
    assert "set on the object" in hook.fits(model).why


def test_a_class_of_the_familys_name_is_judged_by_what_runs() -> None:
    """The code behind a name may be anybody's: its class is admitted, and a norm that runs twice is a reason."""
    model = _twice(build(0))
    type(model).__name__ = "ToyModel"
    assert ToyHook.fits(model).ok
    assert not_of_family(model, ("ToyModel",)) is None


# -- what runs --------------------------------------------------------------------------------------------------


def _twice(model: ToyModel) -> ToyModel:
    def forward(self: Any, input_ids: torch.Tensor, attention_mask: Any = None, **_: Any) -> Any:
        output = ToyModel.forward(self, input_ids, attention_mask)
        self.norm(torch.zeros(1, 1, self.config.hidden_size))
        return output

    return become(model, "Twice", forward=forward)


def _watched(toy: Toy, model: Any, generate: Any = None, hook: type[ToyHook] = ToyHook) -> Any:
    inputs = toy.inputs(toy_prompts(2))
    with sri_sdk.watch(model, hook=hook(model)) as run:
        (generate or model.generate)(*inputs.values())
    return run


def test_a_norm_that_fires_twice_in_a_pass_is_a_reason(toy: Toy) -> None:
    run = _watched(toy, _twice(build(0)))
    assert [trace.reasons for trace in run.traces] == [("tap_fired_twice",)] * 2


def test_a_block_that_fires_twice_is_a_reason_where_it_is_tapped(toy: Toy) -> None:
    model = build(0)
    model.blocks = torch.nn.ModuleList([model.blocks[0], model.blocks[0]])
    inputs = toy.inputs(toy_prompts(2))
    for layers, reasons in ((("final",), ()), ((0, "final"), ("tap_fired_twice",))):
        with sri_sdk.watch(model, hook=ToyHook(model), layers=layers) as run:
            model.generate(**inputs)
        assert run.traces[0].reasons == reasons


def test_a_hook_may_declare_that_its_norm_fires_twice_and_the_last_time_counts(toy: Toy) -> None:
    class Both(ToyHook):
        firings = 2

    def look_early(_module: Any, _args: Any, output: torch.Tensor) -> None:
        model.norm(output * torch.nan)

    model = build(0)
    plain = _watched(toy, model).traces[0].phi
    model.blocks[0].register_forward_hook(look_early)
    run = _watched(toy, model, hook=Both)
    assert not run.traces[0].reasons and (run.traces[0].phi == plain).all()
    assert "tap_silent" in _watched(toy, build(0), hook=Both).traces[0].reasons


def test_two_passes_in_one_forward_are_not_two_steps(toy: Toy) -> None:
    def forward(self: Any, input_ids: torch.Tensor, attention_mask: Any = None, **_: Any) -> Any:
        ToyModel.forward(self, input_ids, attention_mask)
        return ToyModel.forward(self, input_ids, attention_mask)

    assert "tap_fired_twice" in _watched(toy, become(build(0), "Guided", forward=forward)).traces[0].reasons


def _edits(model: ToyModel, passes: int, change: bool) -> Any:
    """A loop outside the model, which goes over its finished text `passes` more times."""

    def generate(input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        ids = ToyModel.generate(model, input_ids, attention_mask)
        mask = torch.cat([attention_mask, torch.ones_like(ids[:, -CANVAS:])], dim=1)
        for turn in range(passes):
            model(ids, mask)
            if change:
                ids[:, -1 - turn] = 3 + (ids[:, -1 - turn] - 2) % 5
        return ids

    return generate


@pytest.mark.parametrize("passes", [1, 2, 3])
def test_a_loop_that_goes_on_over_finished_text_is_a_reason(toy: Toy, passes: int) -> None:
    model = build(0)
    assert _watched(toy, model, _edits(model, passes, change=True)).traces[0].reasons == ("unexplained_pass",)


@pytest.mark.parametrize("change", [True, False])
def test_what_the_call_returned_says_whether_the_text_was_finished(toy: Toy, change: bool) -> None:
    model, inputs = build(0), toy.inputs(toy_prompts(2))
    with sri_sdk.watch(model, hook=ToyHook(model)) as run:
        run.returned(_edits(model, 1, change)(*inputs.values()))
        model(torch.full((1, 9), 4))  # Nobody is asked about what comes behind the end.
    assert run.traces[0].reasons == (("unexplained_pass",) if change else ())


def test_a_text_that_is_read_twice_is_finished(toy: Toy) -> None:
    model = build(0)
    assert _watched(toy, model, _edits(model, 2, change=False)).traces[0].reasons == ()


def test_finished_text_is_found_in_what_was_returned_with_or_without_its_prompt() -> None:
    text = torch.tensor([[5, 6, 7, 8], [1, 2, 3, 4]])
    for returned, doubtful in ((text, False), (text[:, 2:], False), (text[:, 2:3], False), (text + 1, True)):
        found = FinishedText()
        found.shown(text, finished=torch.tensor(True))
        assert found.doubtful()
        found.returned(returned, 2)
        assert found.doubtful() is doubtful


def test_tokens_that_are_inserted_are_another_width() -> None:
    from sri_sdk.canvas import Canvas
    from sri_sdk.records import RunView

    ids = torch.tensor([[5, 6, MASK, MASK]])
    canvas = Canvas.find(ids, MASK).remember(RunView(None))
    canvas.plan(ids)
    with pytest.raises(sri_sdk.SriError, match="inserts and deletes"):
        canvas.plan(torch.tensor([[5, 6, 7, MASK, MASK]]))
