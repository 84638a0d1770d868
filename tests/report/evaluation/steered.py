"""What steering does to a model that nobody has: every kind of row, of claim and of gap in a table."""

import math

from sri_sdk.metrics.differences import Paired
from sri_sdk.metrics.rates import exact_rate
from sri_sdk.metrics.steering import Claim, Spot, SteeredGuard, SteeredRun, SteeringResult

NAN = math.nan


def rate(k, n):
    return exact_rate("", k, n)


def run(kind, name, refused, *, prompts="harmful", n=500):
    return SteeredRun(kind, name, prompts, rate(refused, n), rate(n - refused, n), rate(n - 7, n))


def steering(masked=True):
    runs = [
        run("unsteered", "as it is", 490), run("ablate", "everywhere", 3),
        run("add", "at block 2", 450, prompts="harmless"),
        run("steps", "0 to 25 %", 12), run("steps", "25 to 50 %", 190, n=200), run("layers", "block 0", 188, n=200),
        run("layers", "blocks 2 to 3", 9), run("positions", "prompt", 4, n=200),
        run("blocks", "tokens 0 to 11", 180, n=200),
        run("language", "made in the second", 21), run("language", "made in the first", 30, prompts="second-language"),
        run("transfer", "of diffusion", 489), run("random", "best of 12", 486), run("prompt", "role-play", 411),
    ]  # fmt: skip
    gap = Paired(0.974, 0.956, 0.988, 500, 487, 0, 500)
    claims = [
        Claim("ablation-refusal", "Ablation takes refusals away.", "refused", True, "reproduced", gap, rate(490, 500),
              rate(3, 500)),
        Claim("addition", "Adding brings them.", "refused", True, "unclear", Paired(0.18, 0.14, 0.22, 500, 99, 9, 500),
              rate(99, 500), rate(9, 500)),
    ]  # fmt: skip
    if masked:
        runs.append(run("place", "pre-1 of block 1", 480))
        late = Paired(-0.25, -0.31, -0.19, 500, 4, 129, 500)
        claims.append(
            Claim("late-layers", "Late blocks matter.", "refused", True, "not reproduced", late, rate(9, 500),
                  rate(134, 500))
        )  # fmt: skip
    else:
        claims.append(
            Claim("before-request", "Not there.", "refused", False, "reproduced", None, None, None, "by chance")
        )
    spots = [
        Spot(block, place, 0.004 * block, 0.9 - 0.2 * block, 0.2 * block,
             None if (block, place) == (2, "post+1") else "others")
        for block in range(3) for place in (("pre-1",) if masked else ()) + ("post+0", "post+1")
    ]  # fmt: skip
    guards = (
        SteeredGuard("sri-autoencoder", "hidden states", rate(12, 480), rate(31, 60), rate(13, 500), rate(480, 500),
                     rate(4, 500), rate(5, 500), 2),
    )  # fmt: skip
    return SteeringResult(
        2, "post+1", 3.2, 0.2, tuple(runs), tuple(claims), tuple(spots), {"harmful": 0.97, "harmless": 0.01},
        {"harmful": 64, "harmless": 64}, {"pairs": 64, "first": 0.74}, guards, {"transfer-from-x": "not run"},
    )  # fmt: skip


def broken(nasty):
    """One with everything that a report can get wrong."""
    none = exact_rate(nasty, 0, 0)
    nothing = Paired(NAN, NAN, NAN, 0, 0, 0, 0)
    return SteeringResult(
        0, nasty, NAN, NAN, (SteeredRun(nasty, nasty, nasty, none, none, none, nasty),
                             SteeredRun("steps", nasty, "harmful", none, none, none)),
        (Claim(nasty, nasty, nasty, True, "unclear", nothing, none, none, nasty),
         Claim("b", "", "", False, "unclear", None, None, None, nasty)),
        (Spot(0, nasty, NAN, NAN, math.inf, nasty, none), Spot(1, "", NAN, 0.5, 0.5, None)), {nasty: NAN}, {}, {},
        (SteeredGuard(nasty, nasty, none, none, none, none, none, none, 3),), {nasty: nasty},
    )  # fmt: skip
