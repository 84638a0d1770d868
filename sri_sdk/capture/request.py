"""Reads the request: the mean state over the positions of its tokens, in the passes that read the prompt.

A position counts once, in the first pass that shows it: later passes of a masked model see the response as well. Where
the prompt is read in parts, the parts add up until every position was seen. Sums stay on the device.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from sri_sdk.capture.pool_rows import sum_rows
from sri_sdk.capture.settings import Layers
from sri_sdk.errors import CaptureError, ConfigError
from sri_sdk.records import RequestStates

Span = tuple[int, int]
"""Columns [start, stop) of a request's tokens in its prompt as the model received it, padding on the left counted."""


class RequestReader:
    """The requests of one generation.

    Attributes:
        spans: per request, where its tokens are; None = not located.
        read: passes that showed a part of some request so far.
    """

    def __init__(self, layers: Layers, spans: Sequence[Span | None], *, last: int | None = None) -> None:
        """Takes what to read, the last norm (`final`) included or not, and one span per request.

        Of each span the `last` positions count; None = all.

        Raises:
            ConfigError: a span is empty or negative.
        """
        for row, span in enumerate(spans):
            if span is not None and not 0 <= span[0] < span[1]:
                raise ConfigError(
                    f"request_spans: row {row} has {span}; allowed: columns (start, stop) of the prompt with "
                    "0 <= start < stop, or None where the request was not located."
                )
        self.spans, self._layers = tuple(spans), layers
        self._pass: tuple[torch.Tensor, torch.Tensor | None] | None = None
        self._states: dict[str | int, torch.Tensor] = {}
        located = [(0, 0) if span is None else _end(span, last) for span in spans]
        self._bounds = torch.tensor(located, dtype=torch.int64).reshape(-1, 2)
        self._length = self._bounds[:, 1] - self._bounds[:, 0]
        self._seen: torch.Tensor | None = None
        self._sum: torch.Tensor | None = None
        self._complete = not bool(self._length.any())
        self.read = 0

    @property
    def waits(self) -> bool:
        """Whether some position was not seen yet."""
        return not self._complete

    def begin(self, columns: torch.Tensor | None, rows: torch.Tensor | None) -> None:
        """A pass has begun.

        Args:
            columns: [R, L] int64 tensor: column of the prompt at which each row's own token stands; negative, or beyond
                the prompt, where it is no token of the prompt. None = the pass shows nothing of it.
            rows: [R] int64 tensor, batch row of each request; None = row i is request i.

        Raises:
            CaptureError: there are more or fewer requests than spans.
        """
        self._pass, self._states = None, {}
        if columns is None:
            return
        if len(columns) != len(self.spans):
            raise CaptureError(f"{len(self.spans)} request spans for a batch of {len(columns)} requests; pass one each")
        self._pass = columns, rows

    def state(self, layer: str | int, states: torch.Tensor) -> None:
        """A tapped module gave [B, L, D]; the last norm ends the pass."""
        if self._pass is None:
            return
        if layer in self._layers:
            self._states[layer] = states.detach()
        if layer == "final":
            (columns, rows), self._pass = self._pass, None
            # A layer that did not fire was compiled before it was asked for: this pass gave nothing.
            if len(self._states) == len(self._layers):
                self._add([self._states[name] for name in self._layers], columns, rows)
            self._states = {}

    def _add(self, states: Sequence[torch.Tensor], columns: torch.Tensor, rows: torch.Tensor | None) -> None:
        """Adds the C tensors [B, L, D] of a pass; see `begin` for the others."""
        home = columns.device
        bounds, width = self._bounds.to(home), int(self._length.max())
        self.read += 1
        if self._seen is None:
            # One more place than the longest request: rows that are none of it write there.
            self._seen = torch.zeros(len(self.spans), width + 1, dtype=torch.bool, device=home)
        place = columns - bounds[:, :1]
        inside = (columns >= bounds[:, :1]) & (columns < bounds[:, 1:])
        place = place.where(inside, torch.full_like(place, width))
        new = inside & ~self._seen.gather(1, place)
        self._seen = self._seen.scatter(1, place, True)
        self._seen[:, width] = False
        widths = dict(zip(self._layers, (each.shape[-1] for each in states), strict=True))
        if len(set(widths.values())) > 1:
            raise CaptureError(
                f"the request: states of width {', '.join(f'{n} at {name}' for name, n in widths.items())}; one map "
                "reads states of one width. Name the layers of one width under request.layers."
            )
        mine = [each if rows is None else each[rows.to(each.device)] for each in states]
        added = torch.stack([sum_rows(each, new).to(home) for each in mine], dim=1)
        self._sum = added if self._sum is None else self._sum + added
        # One look per pass that reads a part of the prompt; most generations read it in one.
        self._complete = bool((self._seen.sum(1) == self._length.to(home)).all())

    def result(self) -> RequestStates:
        """The mean states, on the host. Waits for the device."""
        count = len(self.spans)
        if self._sum is None or self._seen is None:
            nothing = torch.empty(count, 0, 0)
            return RequestStates(nothing.numpy(), self._located(), torch.zeros(count, dtype=torch.bool).numpy())
        complete = self._seen.sum(1).cpu() == self._length
        mean = self._sum.cpu() / self._length.clamp(min=1)[:, None, None]
        return RequestStates(mean.numpy(), self._located(), (complete & (self._length > 0)).numpy())

    def _located(self) -> tuple[bool, ...]:
        return tuple(span is not None for span in self.spans)


def _end(span: Span, last: int | None) -> Span:
    """The `last` columns of a span; None, or more than it has = all."""
    start, stop = span
    return (start if last is None else max(start, stop - last), stop)
