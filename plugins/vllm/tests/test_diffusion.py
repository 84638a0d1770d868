"""DiffusionGemma's seam: what its sampler tells of each pass, and what clients may not write into canvases."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from sri_plugin_vllm import runner
from sri_plugin_vllm.diffusion import canvases_of, gate_admission, reasons_of, tap_sampler
from sri_plugin_vllm.here import HERE
from sri_plugin_vllm.install import install
from sri_plugin_vllm.notes import NOTE
from sri_plugin_vllm.weights import compare, renamed

from sri_sdk.errors import ConfigError, ModelMismatch

CANVAS, STEPS = 8, 3
SETTINGS: Any = SimpleNamespace(tampered="report")


def make_sampler() -> Any:
    """A sampler of make-believe whose canvases take three steps and one pass that writes them behind the text."""

    class Sampler:
        canvas_length, entropy_bound, t_min, t_max, confidence_threshold = CANVAS, 0.1, 0.4, 0.8, 0.005

        def __init__(self) -> None:
            self.diffusion_states = SimpleNamespace(
                is_encoder_phase=torch.ones(4, dtype=torch.bool), step=torch.zeros(4, dtype=torch.int32),
                max_denoising_steps=STEPS,
            )  # fmt: skip
            self._given = torch.zeros(4, dtype=torch.int32)

        def __call__(self, logits: Any, batch: Any) -> Any:
            kept, given = self.diffusion_states, self._given[: batch.num_reqs].zero_()
            for row, slot in enumerate(batch.idx_mapping.tolist()):
                if batch.cu_num_logits_np[row + 1] == batch.cu_num_logits_np[row]:
                    kept.is_encoder_phase[slot] = False
                elif kept.is_encoder_phase[slot]:
                    given[row], kept.step[slot], kept.is_encoder_phase[slot] = CANVAS, 0, False
                else:
                    kept.step[slot] += 1
                    kept.is_encoder_phase[slot] = kept.step[slot] == STEPS
            return SimpleNamespace(num_sampled=given)

    return Sampler()


def batch(**rows: int) -> Any:
    """Requests named after their slots, with the logits that each has: none for text."""
    names, counts = list(rows), list(rows.values())
    return SimpleNamespace(
        req_ids=names, num_reqs=len(names), idx_mapping=torch.tensor([int(name[1:]) for name in names]),
        cu_num_logits_np=np.cumsum([0, *counts]),
    )  # fmt: skip


@pytest.fixture
def sampler(vllm: Any, tap: Any) -> Any:
    made = make_sampler()
    HERE.tap, tap.canvas = tap, True
    tap_sampler(SimpleNamespace(sampler=made), {})
    return made


def test_each_pass_is_told_as_it_was_before_the_sampler_changed_it(sampler: Any, tap: Any) -> None:
    sampler(None, batch(r1=0))
    for _ in range(4):
        sampler(None, batch(r1=CANVAS))
    sampler(None, batch(r2=0, r1=CANVAS))
    marks = [told[2] for told in tap.told]
    steps = [[[1, 0, 0]], [[1, 1, 0]], [[1, 2, 0]], [[0, 3, CANVAS]]]
    assert marks == [[[0, 0, 0]], *steps, [[0, 0, 0], [1, 0, 0]]]
    assert tap.told[-1][1] == ("r2", "r1")


def test_what_was_told_is_not_written_over_by_the_next_pass(sampler: Any, tap: Any) -> None:
    kept: list[torch.Tensor] = []
    tap.sampled = lambda keys, marks: kept.append(marks)
    sampler(None, batch(r1=0))
    for _ in range(5):
        sampler(None, batch(r1=CANVAS))
    assert kept[4].tolist() == [[0, 3, CANVAS]]


def test_the_sampler_is_tapped_once(sampler: Any, tap: Any) -> None:
    tap_sampler(SimpleNamespace(sampler=sampler), {})
    sampler(None, batch(r1=0))
    assert len(tap.told) == 1


def test_a_tap_that_fails_does_not_stop_the_sampler(sampler: Any, tap: Any, caplog: Any) -> None:
    def broken(*_: Any) -> None:
        raise ValueError("a secret prompt")

    tap.sampled = broken
    assert sampler(None, batch(r1=0)).num_sampled.tolist() == [0]
    assert sampler(None, SimpleNamespace(**{**vars(batch(r1=CANVAS)), "req_ids": None})).num_sampled.tolist() == [0]
    assert "ValueError" in caplog.text
    assert "secret" not in caplog.text


def test_without_a_tap_the_sampler_is_vllms(sampler: Any, tap: Any) -> None:
    HERE.tap = None
    assert sampler(None, batch(r1=0)).num_sampled.tolist() == [0]
    assert not tap.told


def test_a_sampler_that_keeps_its_states_elsewhere_is_refused() -> None:
    made = make_sampler()
    del made.diffusion_states.step
    with pytest.raises(ConfigError, match="keeps no diffusion_states with step"):
        tap_sampler(SimpleNamespace(sampler=made), {})
    with pytest.raises(ConfigError, match="NoneType"):
        tap_sampler(SimpleNamespace(sampler=None), {})


PROFILE = {
    "name": "diffusion-gemma", "canvas_length": CANVAS, "steps": STEPS, "entropy_bound": 0.1, "t_min": 0.4,
    "t_max": 0.8, "confidence_threshold": 0.005,
}  # fmt: skip


@pytest.mark.parametrize(("name", "value"), [("canvas_length", 256), ("steps", 48), ("t_max", 0.9)])
def test_another_sampler_than_the_guards_is_refused_by_name(name: str, value: float) -> None:
    tap_sampler(SimpleNamespace(sampler=make_sampler()), PROFILE)
    with pytest.raises(ModelMismatch, match=rf"{name}: .* and the guard's is {value}"):
        tap_sampler(SimpleNamespace(sampler=make_sampler()), {**PROFILE, name: value})


def test_a_sampler_that_does_not_tell_what_it_does_is_refused() -> None:
    made = make_sampler()
    del type(made).t_min
    with pytest.raises(ModelMismatch, match="t_min: nan"):
        tap_sampler(SimpleNamespace(sampler=made), PROFILE)


def params(**extra: Any) -> Any:
    return SimpleNamespace(extra_args=extra or None)


@pytest.mark.parametrize(
    ("extra", "reasons"),
    [
        ({}, ()),
        ({"diffusion_seed_canvas": [1, 2]}, ("canvas_primed",)),
        ({"diffusion_seed_canvas": []}, ("canvas_primed",)),
        ({"diffusion_seed_canvas": [1], "diffusion_pinned": [0]}, ("canvas_primed", "canvas_rewritten")),
        ({"diffusion_pinned": []}, ()),
        ({"diffusion_seed_canvas": None}, ()),
        ({"diffusion_max_steps": 1}, ("other_sampler",)),
        ({"diffusion_canvas_length": 4, "diffusion_read_only": 1}, ("other_sampler",)),
        ({"diffusion_constrained": True, "diffusion_seed_canvas": [1]}, ("canvas_primed", "other_sampler")),
        ({"kv_transfer_params": {}}, ()),
    ],
)
def test_what_a_client_does_to_its_canvas_has_a_name(extra: Any, reasons: tuple[str, ...]) -> None:
    assert reasons_of(params(**extra)) == reasons


def test_a_request_of_no_sampling_has_no_reasons() -> None:
    assert reasons_of(None) == ()


def run(vllm: Any, tap: Any, monkeypatch: Any, *, canvas: bool, **extra: Any) -> None:
    """One prompt, then one canvas."""
    monkeypatch.setattr(runner, "attach", lambda settings, live: tap)
    install(SETTINGS)
    HERE.tap, tap.canvas = tap, canvas
    output = vllm.Output([vllm.New("a", [1, 2], sampling_params=params(**extra))], {"a": 2})
    monkeypatch.setattr(vllm.Runner, "_model_forward", lambda self: runner._begin(["a"], batch(a1=0)), raising=False)
    vllm.Runner().execute_model(output)


def test_the_reasons_reach_the_tap_of_a_canvas_model_only(vllm: Any, tap: Any, monkeypatch: Any) -> None:
    run(vllm, tap, monkeypatch, canvas=True, diffusion_seed_canvas=[1])
    assert tap.told[0][-1] == ("canvas_primed",)
    tap.told.clear()
    run(vllm, tap, monkeypatch, canvas=False, diffusion_seed_canvas=[1])
    assert tap.told[0][-1] == ()


def test_rows_that_the_sampler_is_given_are_a_canvas() -> None:
    assert canvases_of(batch(r1=0, r2=CANVAS, r3=0, r4=CANVAS)) == {"r2", "r4"}


@pytest.mark.parametrize(("canvas", "found"), [(True, ["r2"]), (False, [])])
def test_the_tap_is_told_which_rows_are_a_canvas(vllm: Any, tap: Any, canvas: bool, found: list[str]) -> None:
    HERE.tap, tap.canvas = tap, canvas
    sent = vllm.Output(num_scheduled_tokens={"r1": 5, "r2": CANVAS})
    sent.scheduled_cached_reqs = SimpleNamespace(req_ids=["r1", "r2"], num_computed_tokens=[0, 5])
    HERE.scheduled = sent
    runner._begin(["r1", "r2"], batch(r1=0, r2=CANVAS))
    assert tap.told == [("begin", [("r1", 0, 5), ("r2", 5, CANVAS)])]
    assert tap.canvases == found


@pytest.mark.parametrize(
    ("key", "note", "watched"),
    [("_warmup_0_", False, False), ("_v2_mixed_warmup_decode_", False, False), ("_warmup_0_", True, True),
     ("chatcmpl-a", False, True)],
)  # fmt: skip
def test_a_runner_that_tries_itself_out_has_no_verdicts_and_no_client_passes_for_it(
    vllm: Any, tap: Any, key: str, note: bool, watched: bool
) -> None:
    HERE.tap = tap
    sent = vllm.Output([vllm.New(key, [1])], {key: 1})
    if note:
        setattr(sent, NOTE, {})
    runner.execute_model(lambda *_: "logits", vllm.Runner(), sent)
    assert bool(tap.told) is watched


@pytest.fixture
def admission(vllm: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Callable[..., Any]]:
    """What vLLM checks requests with, as it is at the moment."""
    place, errors = ModuleType("vllm.v1.engine.input_processor"), ModuleType("vllm.exceptions")

    class Refused(ValueError):
        def __init__(self, message: str, *, parameter: str) -> None:
            super().__init__(f"{parameter}: {message}")

    vars(place)["validate_diffusion_sampling_params"] = lambda params, **_: "checked"
    vars(errors)["VLLMValidationError"] = Refused
    for module in (ModuleType("vllm.v1.engine"), place, errors):
        module.__path__ = []
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return lambda: vars(place)["validate_diffusion_sampling_params"]  # type: ignore[no-any-return]


def test_a_request_that_writes_into_its_canvas_is_refused_where_the_operator_says_so(admission: Any) -> None:
    gate_admission(SimpleNamespace(tampered="abort"))  # type: ignore[arg-type]
    gate_admission(SimpleNamespace(tampered="abort"))  # type: ignore[arg-type]
    check = admission()
    assert check(params(diffusion_max_steps=2), vocab_size=3) == "checked"
    for extra in ({"diffusion_seed_canvas": [7]}, {"diffusion_seed_canvas": [7], "diffusion_pinned": [0]}):
        with pytest.raises(ValueError, match="extra_args: diffusion_seed_canvas") as error:
            check(params(**extra), vocab_size=9)
        assert "7" not in str(error.value)


def test_it_runs_and_is_named_where_the_operator_does_not(admission: Any) -> None:
    before = admission()
    gate_admission(SETTINGS)
    assert admission() is before
    assert before(params(diffusion_seed_canvas=[7])) == "checked"


def test_a_vllm_that_checks_requests_elsewhere_cannot_refuse_them(vllm: Any) -> None:
    with pytest.raises(ConfigError, match=r"tampered: abort needs .* Write `tampered: report`"):
        gate_admission(SimpleNamespace(tampered="abort"))  # type: ignore[arg-type]


class Live(torch.nn.Module):
    """Laid out as vLLM has DiffusionGemma: one model, where transformers has an encoder and a decoder."""

    packed_modules_mapping: ClassVar = {"qkv_proj": ["q_proj", "k_proj", "v_proj"]}
    hf_to_vllm_mapper = SimpleNamespace(
        orig_to_new_prefix={"model.decoder.": "model.", "model.encoder.": "model.", "model.decoder.own.": "own."}
    )

    def __init__(self, hf: torch.nn.Module) -> None:
        super().__init__()
        decoder: Any = hf.model.decoder  # type: ignore[union-attr]
        self.model, self.own = torch.nn.Module(), torch.nn.Linear(2, 2, bias=False)
        self.own.weight.data = decoder.own.weight.data.clone()
        keys = decoder.k_proj.weight.data
        self.model.qkv_proj = torch.nn.Linear(2, 6, bias=False)
        self.model.qkv_proj.weight.data = torch.cat([decoder.q_proj.weight.data, keys, keys])
        self.model.experts = torch.nn.Module()
        self.model.experts.w13_weight = torch.nn.Parameter(decoder.experts.gate_up_proj.data.clone())


def hugging() -> torch.nn.Module:
    whole, model, decoder = torch.nn.Module(), torch.nn.Module(), torch.nn.Module()
    decoder.own, decoder.q_proj, decoder.k_proj = (torch.nn.Linear(2, 2, bias=False) for _ in range(3))
    decoder.experts = torch.nn.Module()
    decoder.experts.gate_up_proj = torch.nn.Parameter(torch.randn(3, 4, 2))
    whole.model, model.decoder = model, decoder
    return whole


def test_weights_are_found_where_vllms_class_says_they_went() -> None:
    hf = hugging()
    live = Live(hf)
    assert compare(live, hf) == (40, 40)
    assert renamed(live, "model.decoder.own.weight") == "own.weight"
    assert renamed(live, "model.encoder.layers.0") == "model.layers.0"
    assert renamed(live, "own.weight") == "own.weight"


@pytest.mark.parametrize("part", ["own", "model.qkv_proj", "model.experts"])
def test_one_number_that_differs_is_noticed_wherever_it_went(part: str) -> None:
    hf = hugging()
    live = Live(hf)
    name, tensor = next(iter(live.get_submodule(part).named_parameters()))
    tensor.data.view(-1)[-1] += 1
    with pytest.raises(ModelMismatch, match=rf"{part}\.{name} differs"):
        compare(live, hf)


def test_experts_that_are_laid_out_otherwise_have_no_counterpart() -> None:
    hf = hugging()
    live = Live(hf)
    experts: Any = live.model.experts
    experts.w13_weight = torch.nn.Parameter(experts.w13_weight.data.transpose(1, 2))
    with pytest.raises(ModelMismatch, match="has no counterpart"):
        compare(live, hf)
