import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from sri_sdk.anchors import Anchors
from sri_sdk.capture.device_signal import device_sri, device_unit, device_usable
from sri_sdk.capture.stream import SignalStream
from sri_sdk.fingerprint import Fingerprint
from sri_sdk.grid import StepGrid
from sri_sdk.signal import EPS, TAU, sri, usable


def made_anchors(cells: int, width: int) -> Anchors:
    rng = np.random.default_rng(cells)
    base = rng.normal(size=(cells, 2, width)).astype(np.float32)
    return Anchors(base, base + 0.1 * rng.normal(size=base.shape).astype(np.float32), Fingerprint({}, {}), {})


@given(
    cells=st.integers(1, 12),
    budget=st.integers(1, 20),
    ends=st.lists(st.integers(1, 24), min_size=1, max_size=4),
    seed=st.integers(0, 1000),
)
def test_the_streamed_signal_equals_the_offline_one_bit_for_bit(cells, budget, ends, seed) -> None:
    """Any grid, any budget, requests that end at different steps, some beyond the budget."""
    anchors, grid = made_anchors(cells, 8), StepGrid(cells, "step", budget)
    phi = np.random.default_rng(seed).normal(size=(max(ends), len(ends), 2, 8)).astype(np.float32)
    stream = SignalStream(anchors, grid, len(ends), tau=TAU, eps=EPS)
    done = np.zeros(len(ends), dtype=np.int64)
    for step in range(max(ends)):
        active = np.array(ends) > step
        stream.add(torch.from_numpy(phi[step]), done, done + 1, active)
        done = done + active
    stream.finish(np.ones(len(ends), dtype=np.bool_))
    for row, end in enumerate(ends):
        placed = grid.place(phi[:end, row], np.arange(end + 1))
        offline = sri(placed, anchors.harmless, anchors.harmful)
        assert np.array_equal(stream.logit[row], offline.logit)
        assert np.array_equal(stream.sigma[row], offline.sigma)


@given(
    cells=st.integers(1, 12),
    budget=st.integers(1, 40),
    commits=st.lists(st.lists(st.integers(-2, 9), min_size=1, max_size=12), min_size=1, max_size=3),
    started=st.lists(st.integers(0, 9), min_size=3, max_size=3),
    seed=st.integers(0, 1000),
)
def test_counting_tokens_the_streamed_signal_equals_the_offline_one_too(cells, budget, commits, started, seed) -> None:
    """Progress that begins late, jumps over cells, stands still, or would fall because a sampler takes tokens back."""
    anchors, grid = made_anchors(cells, 8), StepGrid(cells, "committed", budget)
    steps = max(len(c) for c in commits)
    phi = np.random.default_rng(seed).normal(size=(steps, len(commits), 2, 8)).astype(np.float32)
    # As the recorder gives it: the running maximum of what was committed before each step.
    before = [np.maximum.accumulate(s + np.r_[0, np.cumsum(c)[:-1]]) for s, c in zip(started, commits, strict=False)]
    stream = SignalStream(anchors, grid, len(commits), tau=TAU, eps=EPS)
    for step in range(steps):
        active = np.array([len(c) > step for c in commits])
        now = np.array([b[min(step, len(b) - 1)] for b in before], dtype=np.int64)
        stream.add(torch.from_numpy(phi[step]), now, now, active)
    stream.finish(np.ones(len(commits), dtype=np.bool_))
    for row, clock in enumerate(before):
        placed = grid.place(phi[: len(clock), row], np.append(clock, budget))
        offline = sri(placed, anchors.harmless, anchors.harmful)
        assert np.array_equal(stream.logit[row], offline.logit)


def test_a_closed_cell_never_changes_again() -> None:
    anchors, grid = made_anchors(4, 8), StepGrid(4, "step", 10)
    rng = np.random.default_rng(0)
    stream = SignalStream(anchors, grid, 1, tau=TAU, eps=EPS)
    for step in range(10):
        before = stream.logit[0, : stream.lengths[0]].copy()
        phi = torch.from_numpy(rng.normal(size=(1, 2, 8)).astype(np.float32))
        stream.add(phi, np.array([step]), np.array([step + 1]), np.array([True]))
        assert np.array_equal(stream.logit[0, : len(before)], before)
    assert stream.lengths[0] == 4


def test_the_device_signal_agrees_with_the_numpy_reference() -> None:
    rng = np.random.default_rng(1)
    for width in (64, 1024, 4096):
        anchors = made_anchors(8, width)
        phi = (anchors.harmless + 0.05 * rng.normal(size=anchors.harmless.shape)).astype(np.float32)
        reference = sri(phi, anchors.harmless, anchors.harmful)
        harmless, harmful = (device_unit(torch.from_numpy(a)) for a in (anchors.harmless, anchors.harmful))
        sigma, logit = device_sri(torch.from_numpy(phi), harmless, harmful)
        assert np.abs(sigma.numpy() - reference.sigma).max() < 5e-6
        assert np.abs(logit.numpy() - reference.logit).max() < 1e-4


def test_the_device_signal_meets_the_float64_bound_at_every_distance_and_dtype() -> None:
    rng = np.random.default_rng(2)
    for width in (64, 512, 4096):
        harmless = rng.normal(size=(1, 1, width))
        harmless /= np.linalg.norm(harmless)
        for distance in (1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6):
            harmful = harmless + _orthogonal(rng, harmless) * np.sqrt(2 * distance)
            phi = 0.5 * (harmless + harmful) + 0.1 * np.sqrt(distance) * _orthogonal(rng, harmless)
            for dtype in (torch.float32, torch.bfloat16, torch.float16):
                states = torch.from_numpy(phi).to(dtype)
                pair = [torch.from_numpy(a.astype(np.float32)) for a in (harmless, harmful)]
                sigma, _ = device_sri(states, device_unit(pair[0]), device_unit(pair[1]))
                exact, smallest = _float64(states.double().numpy(), *(a.double().numpy() for a in pair))
                assert np.abs(sigma.numpy() - exact).max() <= max(5e-6, 2e-7 / np.sqrt(smallest))


def test_device_and_numpy_agree_on_what_has_no_direction() -> None:
    rows = np.ones((5, 4), dtype=np.float32)
    rows[1, 2], rows[2, 0], rows[3], rows[4] = np.nan, np.inf, 0, 1e-20
    assert device_usable(torch.from_numpy(rows)).tolist() == usable(rows).tolist() == [True, False, False, False, False]


def _orthogonal(rng, direction):
    other = rng.normal(size=direction.shape)
    other -= (other * direction).sum() * direction
    return other / np.linalg.norm(other)


def _float64(phi, harmless, harmful):
    def distance(a, b):
        a, b = (x / np.linalg.norm(x, axis=-1, keepdims=True) for x in (a, b))
        return 0.5 * ((a - b) ** 2).sum(-1)

    refusal, answer = distance(phi, harmful), distance(phi, harmless)
    with np.errstate(over="ignore"):
        sigma = 1 / (1 + ((answer + EPS) / (refusal + EPS)) ** (1 / TAU))
    return sigma, max(min(refusal.min(), answer.min()), 1e-30)
