"""One forward pass under a steering: which of its positions are changed, and how far it got."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence

import torch

from sri_sdk.errors import SteeringError
from sri_sdk.steer.passes import SeenPass
from sri_sdk.steer.places import Place, Point


class OnePass:
    """One forward pass.

    Attributes:
        prompts: whether it is one of a part that only reads prompts.
        acts: whether anything is changed in it.
        factor: [B, L or 1] float32 tensor, the share that each position gets; None = all get the whole.
        thread: the thread that runs it, as `threading.get_ident` says.
        ran: how often each module ran so far.
        fired: places reached so far.
    """

    def __init__(self, *, prompts: bool = False) -> None:
        self.prompts, self.acts = prompts, True
        self.factor: torch.Tensor | None = None
        self.thread = threading.get_ident()
        self.ran: Counter[Point] = Counter()
        self.fired: set[Place] = set()

    def take(self, factor: torch.Tensor) -> None:
        """Restricts it further: `factor` is [B, L] or [B, 1] float32."""
        self.factor = factor if self.factor is None else self.factor * factor

    def is_through(self, points: Sequence[Point], firings: int) -> bool:
        """Whether modules ran as often as they do in one pass, so that another run of theirs is of another one."""
        return all(self.ran[each] >= firings * len(each.runs) for each in points)

    def refuse_other_threads(self) -> None:
        """Whether a module that runs now is of this pass.

        Raises:
            SteeringError: it runs in another thread.
        """
        if self.thread != threading.get_ident():
            raise SteeringError(
                "steer: two threads run the model at once within one steering, so whose rows a pass has cannot be "
                "told. Give each thread a steering of its own: call sri_sdk.steer(...) inside it."
            )

    def factor_for(self, states: torch.Tensor, place: Place) -> torch.Tensor | None:
        """The share of each state, on their device: [B, L or 1, 1] for [B, L, D]; None = all get the whole.

        Raises:
            SteeringError: the states are laid out otherwise, so rows cannot be told apart.
        """
        if self.factor is None:
            return None
        batch, length = self.factor.shape
        if states.dim() != 3 or states.shape[0] != batch or length not in (1, states.shape[1]):
            raise SteeringError(
                f"steer: `{place}` put out states {list(states.shape)} in a pass of {batch} rows"
                f"{f' of {length} tokens' if length > 1 else ''}: whose they are cannot be told. Leave rows, blocks "
                "and positions out, or steer whole blocks."
            )
        return self.factor[..., None].to(states.device)


def spread(rows: torch.Tensor, batch: int, seen: SeenPass | None) -> torch.Tensor:
    """Shares of requests as shares of the rows of a batch.

    Args:
        rows: [R] float32 tensor, one per request.
        batch: B, rows of the pass.
        seen: what is known of the pass; None = nothing.

    Returns:
        [B] float32 tensor; 0 for rows that belong to no request.

    Raises:
        SteeringError: there is another number of requests.
    """
    if seen is not None and seen.owners is not None and len(seen.owners) == batch:
        if seen.requests == len(rows):
            return torch.where(seen.owners >= 0, rows[seen.owners.clamp(min=0)], rows.new_zeros(()))
    elif batch == len(rows):
        return rows
    found = batch if seen is None or seen.requests is None else seen.requests
    more = " Beam search and several answers per prompt make a row of each: repeat a request's number for its rows."
    raise SteeringError(
        f"steer: {len(rows)} rows, and a pass of {found} requests; give one number per request."
        f"{more if found > len(rows) else ''}"
    )
