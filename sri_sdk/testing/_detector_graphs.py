"""Checks of what a detector draws: the graphs give its own scores, on every signal, batch and shape."""

from __future__ import annotations

import numpy as np

from sri_sdk.bundle.guard_graphs import prefix_graph
from sri_sdk.calibrate.prefix import hold
from sri_sdk.testing._detector_case import DetectorCase
from sri_sdk.testing.planted import CELLS, LAYERS


class GraphChecks(DetectorCase):
    """Each raises ConformanceError with what was found and what is allowed."""

    def graph_parity(self) -> None:
        """The exported graph, run by onnxruntime, gives the detector's own scores, from one end of the domain to the
        other. Thresholds are set on the graph."""  # fmt: skip
        values, kinds = self.wide
        self.close("export(): drawn, a score", self.one_by_one(self.signal, values), self.score(values), kinds)

    def graph_scores_batches(self) -> None:
        """The graph scores a batch of N as it scores N batches of one: no batch size, and no other row, is drawn
        into it."""  # fmt: skip
        values, kinds = self.wide
        batch = self.ask(self.signal, values)
        alone = self.one_by_one(self.signal, values)
        self.close(f"export(): in a batch of {len(values)}, a score", batch, alone, kinds)

    def prefix_at_full_length_equals_signal(self) -> None:
        """The graph of running generations scores a whole one as the graph of finished ones does, and a part of one
        as if it stayed at its newest cell, whatever stands beyond it. The online rule rests on it."""  # fmt: skip
        run = self.run(lambda: prefix_graph(self.fitted, CELLS, LAYERS, None))
        values, kinds = self.wide
        whole = self.one_by_one(run, values, CELLS)
        self.close(f"export(): at length {CELLS}, a score", whole, self.one_by_one(self.signal, values), kinds)
        for length in (1, CELLS // 2, CELLS - 1):
            cut = values.copy()
            cut[:, length:] = np.nan
            held = self.score(hold(values, np.full(len(values), length)))
            found = self.one_by_one(run, cut, length)
            self.close(f"export(): at length {length} of {CELLS}, a score", found, held, kinds)
