"""What each operation does to a state, and that nothing else happens to it."""

import math

import numpy as np
import pytest
import torch

from sri_sdk import Ablate, Add, Clamp, DeadZone
from sri_sdk.errors import ConfigError
from sri_sdk.steer.operations import Operation, steered

OPERATIONS = [Ablate(), Add(1.5), Add(-2.0), Clamp(0.75), DeadZone(0.1), DeadZone(-1.0, rate=0.5)]


def unit(width: int = 64, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    vector = torch.randn(width, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return (vector / vector.norm()).to(dtype)


def some(*shape: int, seed: int = 1, scale: float = 1.0) -> torch.Tensor:
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def wanted(operation: Operation, h: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """The paper's formulas, in float64."""
    h, v = h.double(), v.double()
    p = (h @ v)[..., None]
    match operation:
        case Ablate():
            return h - p * v
        case Add(a):
            return h + a * v
        case Clamp(c):
            return h + (c - p) * v
        case DeadZone(theta, b):
            return h - b * torch.clamp(p - theta, min=0) * v
    raise AssertionError


@pytest.mark.parametrize("operation", OPERATIONS, ids=repr)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_an_operation_is_the_paper_s_formula_in_every_precision(operation, dtype) -> None:
    h, v = some(2, 5, 64).to(dtype), unit(dtype=torch.promote_types(dtype, torch.float32))
    found = steered(h, v, operation)
    assert found.dtype == dtype
    close = {torch.float64: 1e-12, torch.float32: 1e-6, torch.float16: 2e-3, torch.bfloat16: 2e-2}[dtype]
    torch.testing.assert_close(found.double(), wanted(operation, h, v), rtol=close, atol=close)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize(("dtype", "left"), [(torch.float32, 1e-5), (torch.bfloat16, 1e-2), (torch.float16, 1e-2)])
def test_nothing_is_left_of_an_ablated_direction(scale, dtype, left) -> None:
    v = unit(512)
    h = some(4, 32, 512, scale=scale).to(dtype)
    h[..., 7] = 40 * scale  # A massive activation, as real models have them.
    found = steered(h, v, Ablate()).float()
    assert ((found @ v).abs() / found.norm(dim=-1)).max() <= left


def test_nothing_is_left_even_of_a_state_that_lies_almost_along_the_direction() -> None:
    v, rest = unit(512), some(8, 512, seed=3)
    h = 1000 * v + 1e-2 * (rest - (rest @ v)[:, None] * v)
    found = steered(h, v, Ablate())
    assert ((found @ v).abs() / found.norm(dim=-1)).max() <= 1e-5


def test_ablating_twice_changes_no_more_than_rounding_does() -> None:
    h, v = some(3, 64), unit()
    once = steered(h, v, Ablate())
    torch.testing.assert_close(steered(once, v, Ablate()), once, rtol=0, atol=1e-6)


@pytest.mark.parametrize("operation", OPERATIONS, ids=repr)
def test_a_factor_of_zero_keeps_every_bit_also_of_what_is_no_number(operation) -> None:
    h = some(3, 4, 64)
    h[0, 0], h[1, 1], h[2, 2] = -0.0, math.inf, math.nan
    factor = torch.tensor([0.0, 1.0, 0.0])[:, None, None]
    found = steered(h, unit(), operation, factor)
    for row in (0, 2):
        assert torch.equal(found[row].view(torch.int32), h[row].view(torch.int32))
    assert not torch.equal(found[1, 0], h[1, 0])


def test_a_state_below_the_threshold_keeps_every_bit() -> None:
    h = torch.full((2, 64), -0.0)
    h[1] = 3 * unit()
    found = steered(h, unit(), DeadZone(1.0))
    assert torch.equal(found[0].view(torch.int32), h[0].view(torch.int32))
    assert float(found[1] @ unit()) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("share", [0.25, 1.0, 2.0])
@pytest.mark.parametrize("operation", OPERATIONS, ids=repr)
def test_a_factor_is_a_share_of_the_change(operation, share) -> None:
    h, v = some(2, 3, 64), unit()
    whole = wanted(operation, h, v) - h
    found = steered(h, v, operation, torch.full((2, 1, 1), share))
    torch.testing.assert_close(found.double(), h + share * whole, rtol=1e-5, atol=1e-5)


def test_what_was_given_is_not_written_into() -> None:
    h = some(2, 3, 64)
    kept = h.clone()
    steered(h, unit(), Clamp(4.0))
    assert torch.equal(h, kept)


def test_autocast_does_not_coarsen_the_arithmetic() -> None:
    h, v = some(4, 64), unit()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = steered(h, v, Ablate())
    assert torch.equal(found, steered(h, v, Ablate()))


def test_gradients_flow_through_and_have_no_part_along_an_ablated_direction() -> None:
    h, v = some(2, 64).requires_grad_(), unit()
    steered(h, v, Ablate()).sum().backward()
    assert h.grad is not None and h.grad.norm() > 1
    assert (h.grad @ v).abs().max() < 1e-5


@pytest.mark.parametrize("make", [lambda: Add(math.nan), lambda: Clamp(math.inf), lambda: DeadZone(0, rate=-math.inf),
                                  lambda: Add(True), lambda: Clamp("3"), lambda: Add(10**400)])  # fmt: skip
def test_numbers_that_would_poison_every_state_are_refused(make) -> None:
    with pytest.raises(ConfigError, match="a finite number is needed"):
        make()


@pytest.mark.parametrize("number", [3, 3.0, np.float32(3), np.float64(3), np.int64(3)])
def test_a_number_of_numpy_is_a_number_as_the_means_of_a_direction_are(number) -> None:
    assert Add(number) == Add(3.0) and type(Add(number).strength) is float
    assert DeadZone(number, rate=number) == DeadZone(3.0, 3.0)
