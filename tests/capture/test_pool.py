"""Each profile against a float64 mean of the same states, rows chosen by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from sri_sdk.capture.poolers import make_pooler
from sri_sdk.errors import ConfigError
from sri_sdk.records import PADDING, StepPlan

B, L, D, P = 2, 7, 16, 4


def states(seed: int, length: int = L, batch: int = B) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(batch, length, D)).astype(np.float32))


def canvas_plan(shift: int = 0, rows=None, committed=None) -> StepPlan:
    """Row 0 has one padding row in front; the canvas is the last four positions."""
    positions = torch.arange(L).expand(B if rows is None else 2 * B, L) - 3
    positions = positions.clone()
    positions[0, 0] = PADDING
    return StepPlan(positions, shift=shift, rows=rows, committed=committed, canvas=P)


def float64_mean(values: torch.Tensor, rows: list[int]) -> np.ndarray:
    return values[rows].double().numpy().mean(axis=0)


@pytest.mark.parametrize(("shift", "rows"), [(0, [3, 4, 5, 6]), (1, [2, 3, 4, 5])])
def test_response_is_the_mean_over_the_rows_that_predict_the_canvas(shift: int, rows: list[int]) -> None:
    pooler, h = make_pooler("masked", "response"), states(0)
    pooler.add([h], canvas_plan(shift))
    pooled = pooler.close_step(None)
    for request in range(B):
        assert np.abs(pooled.phi[request, 0].numpy() - float64_mean(h[request], rows)).max() < 1e-6


@pytest.mark.parametrize("shift", [0, 1])
def test_generated_is_the_mean_over_what_is_committed_after_the_step(shift: int) -> None:
    pooler, h = make_pooler("masked", "generated"), states(1)
    pooler.add([h], canvas_plan(shift))
    committed = torch.tensor([[True, False, True, False], [False, False, False, True]])
    pooled = pooler.close_step(committed)
    for request, positions in enumerate([[0, 2], [3]]):
        rows = [3 + p - shift for p in positions]
        assert np.abs(pooled.phi[request, 0].numpy() - float64_mean(h[request], rows)).max() < 1e-6


def test_what_a_last_block_shows_beyond_the_response_is_never_committed() -> None:
    pooler, h = make_pooler("masked", "generated"), states(1)
    pooler.add([h], replace(canvas_plan(), canvas=None))
    pooled = pooler.close_step(torch.tensor([[True, False, True], [False, False, True]]))
    for request, rows in enumerate([[3, 5], [5]]):
        assert np.abs(pooled.phi[request, 0].numpy() - float64_mean(h[request], rows)).max() < 1e-6


def test_unconditional_rows_do_not_count() -> None:
    h = states(2, batch=2 * B)
    pooler = make_pooler("masked", "response")
    pooler.add([h], canvas_plan(rows=torch.arange(B)))
    phi = pooler.close_step(None).phi
    assert phi.shape == (B, 1, D)
    assert np.abs(phi[1, 0].numpy() - float64_mean(h[1], [3, 4, 5, 6])).max() < 1e-6


def test_nan_in_padding_and_prompt_rows_stays_there() -> None:
    h = states(3)
    h[:, :3] = float("nan")
    pooler = make_pooler("masked", "response")
    pooler.add([h], canvas_plan())
    assert pooler.close_step(None).phi.isfinite().all()


def test_several_layers_are_pooled_alike() -> None:
    pooler, layers = make_pooler("masked", "response"), [states(4), states(5)]
    pooler.add(layers, canvas_plan())
    phi = pooler.close_step(None).phi
    for layer in range(2):
        assert np.abs(phi[0, layer].numpy() - float64_mean(layers[layer][0], [3, 4, 5, 6])).max() < 1e-6


def test_bfloat16_states_are_pooled_in_float32() -> None:
    h = states(6).bfloat16()
    pooler = make_pooler("masked", "response")
    pooler.add([h], canvas_plan())
    phi = pooler.close_step(None).phi
    assert phi.dtype == torch.float32
    assert np.abs(phi[0, 0].numpy() - float64_mean(h[0], [3, 4, 5, 6])).max() < 1e-6


def causal_run(profile: str, steps: int, ended_at: int):
    """A prompt of three tokens, then one token per pass; request 1 is active for `ended_at` passes."""
    pooler, passes, out = make_pooler("autoregressive", profile), [states(10, 3)], []
    passes += [states(10 + i, 1) for i in range(1, steps)]
    for index, h in enumerate(passes):
        first = -3 if index == 0 else index - 1
        positions = torch.arange(first, first + h.shape[1]).expand(B, -1)
        pooler.add([h], StepPlan(positions, shift=1, active=torch.tensor([True, index < ended_at])))
        out.append(pooler.close_step(None))
    return pooler, passes, out


def test_predicting_is_the_running_mean_from_the_last_prompt_token() -> None:
    pooler, passes, out = causal_run("predicting", 5, ended_at=3)
    tokens = [h[:, -1].double().numpy() for h in passes]
    for step, pooled in enumerate(out):
        assert np.abs(pooled.phi[0, 0].numpy() - np.mean([t[0] for t in tokens[: step + 1]], axis=0)).max() < 1e-6
    assert [p.active.tolist()[1] for p in out] == [True, True, True, False, False]
    # After its end the last state repeats and the mean keeps moving.
    tail = list(pooler.tail(2))
    expected = np.mean([t[1] for t in tokens[:3]] + [tokens[2][1]] * 2, axis=0)
    assert np.abs(tail[1].phi[1, 0].numpy() - expected).max() < 1e-6


def test_generated_tokens_have_one_state_fewer_than_tokens() -> None:
    pooler, passes, out = causal_run("generated", 4, ended_at=4)
    assert out[0] is None and pooler.states_for(4) == 3 and list(pooler.tail(3)) == []
    expected = np.mean([h[0, -1].double().numpy() for h in passes[1:]], axis=0)
    assert np.abs(out[-1].phi[0, 0].numpy() - expected).max() < 1e-6


@pytest.mark.parametrize("shift", [0, 1])
def test_a_span_gives_what_the_positions_give(shift: int) -> None:
    """A hook's hint must not change the signal: for the canvas, and for the running mean."""
    plan = canvas_plan(shift, rows=torch.arange(B))
    for scheme, profile, canvas, end in (
        ("masked", "response", P, L - shift),
        ("autoregressive", "predicting", None, L),
    ):
        given, sliced = make_pooler(scheme, profile), make_pooler(scheme, profile)
        for seed in range(3):
            h = states(seed, batch=2 * B)
            given.add([h, h + 1], replace(plan, canvas=canvas))
            sliced.add([h, h + 1], replace(plan, canvas=canvas, span=(3 - shift, end)))
            assert torch.allclose(given.close_step(None).phi, sliced.close_step(None).phi, atol=1e-6)


def test_a_profile_of_another_scheme_is_refused() -> None:
    with pytest.raises(ConfigError, match="predicting, generated"):
        make_pooler("autoregressive", "response")
