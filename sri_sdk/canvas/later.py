"""Passes whose meaning is asked later, of many at once: blocks that move, and passes that may be no steps.

In families that work block by block, a pass may store a block instead of denoising it, and the block in work moves. The
tap keeps the tokens of such passes, and what it needs of their states, and asks what they were when there are many.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import TYPE_CHECKING

from sri_sdk.canvas.steady import FollowingPasses
from sri_sdk.records import StepPlan

if TYPE_CHECKING:
    import torch


class LaterPasses(FollowingPasses):
    """The passes that follow a planned one, over ids of the same shape, of which `plans` says what `plan` would have.

    Attributes:
        moves: whether rows may stand elsewhere than those of the plan before. The tap then keeps the states of all
            their rows, and not one sum of each pass: for passes that show a block, and not a whole canvas.
    """

    moves: bool = True

    @abstractmethod
    def plans(self, input_ids: torch.Tensor) -> Iterable[StepPlan | None]:
        """What `Hook.plan` would have said of passes, one after the other, in the order in which they ran.

        Each pass is given once. Afterwards the hook's notes on the generation are what they would be, so that `plan`
        can go on from there. Passes whose rows stand where those of the one before stood share one `positions`. Of a
        pass over finished text, `RunView.reads` is called before its None is given out. What is raised counts for the
        pass that would come next, and nothing is asked about those behind it.

        Args:
            input_ids: [S, B, L] int64 tensor, tokens of S passes.
        """


def after_each(before: torch.Tensor, shown: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """What each column holds after each of S passes, of which every one shows some of the columns.

    Args:
        before: [R, W] tensor of any type, what the columns held before the first pass.
        shown: [S, R, L] tensor of the same type, what the rows of the passes show.
        places: [S, R, L] int64 tensor, the column of each row; W = none.

    Returns:
        [S, R, W] tensor.
    """
    import torch

    (passes, requests, _), width = shown.shape, before.shape[1]
    room = before.new_zeros(passes, requests, width + 1)
    values = torch.cat([before[None], room.scatter(2, places, shown)[..., :width]])
    seen = torch.zeros_like(room, dtype=torch.bool).scatter(2, places, True)[..., :width]
    number = torch.arange(1, passes + 1, device=before.device)[:, None, None]
    # The last pass that showed each column; 0 = none did.
    latest = (number * seen).cummax(0).values
    return values.gather(0, latest)
