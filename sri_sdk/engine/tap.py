"""One engine under watch: what its plugin tells, in the order in which things happen in the engine's process.

    tap.admit(...)      a request runs for the first time
    tap.begin(chunks)   a pass is about to run
    tap.state(...)      a tapped module ran
    tap.end()           the pass is over
    tap.sampled(...)    canvas models only: what the sampler made of it
    tap.ended(...)      a request has ended

Nothing here raises into the engine: what goes wrong costs verdicts, which say so.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace

import torch

from sri_sdk.capture.conclude import HOOK_FAILED, INCOMPLETE
from sri_sdk.engine.desk import Begun, Desk, End
from sri_sdk.engine.guarded import Guarded
from sri_sdk.engine.ledger import Admitted, Chunk, Ledger
from sri_sdk.engine.pooling import PassPool, Pooled

log = logging.getLogger("sri_sdk.engine")


class EngineTap:
    """The requests of one engine, from its passes to verdicts.

    Attributes:
        desk: where they become verdicts.
        layers: what `state` wants: `final` for the last norm, or numbers of blocks.
        canvas: whether the model works on canvases, and `sampled` is waited for.
    """

    def __init__(self, guarded: Guarded, desk: Desk, *, block_size: int, block_sums_bytes: int = 0) -> None:
        """Takes the guard and the desk.

        Args:
            guarded: of the engine's model.
            desk: takes what the passes give.
            block_size: tokens of a cache block that the engine has one hash for.
            block_sums_bytes: most memory on the device for sums of cache blocks.
        """
        settings = guarded.settings
        self._guarded, self.desk = guarded, desk
        self.layers = tuple(dict.fromkeys((*settings.layers, *settings.request_layers)))
        width = 4 * guarded.hook.hidden_size() * max(len(settings.request_layers), 1)
        blocks = block_sums_bytes // width if guarded.reads_requests else 0
        self.canvas = guarded.hook.scheme == "canvas"
        self._ledger = Ledger(
            reads=guarded.reads_requests, block_size=block_size, blocks=blocks, canvas=self.canvas
        )  # fmt: skip
        self._unsampled: Pooled | None = None
        self._pool = PassPool(settings.layers, settings.request_layers, blocks)
        self._failures = 0

    @property
    def blocks(self) -> int:
        """Parts of cache blocks whose sums are kept now."""
        return len(self._ledger.blocks)

    def runs(self, key: str) -> bool:
        """Whether a request was admitted and has not ended."""
        return key in self._ledger

    def admit(
        self, key: str, request_id: str, prompt: Sequence[int] | None, length: int, *,
        hashes: Sequence[bytes] = (), reasons: Sequence[str] = (),
    ) -> None:  # fmt: skip
        """A request runs for the first time.

        Args:
            key: the engine's own id of it, unique.
            request_id: under which its verdict is looked for.
            prompt: its tokens; None = they are not known, as where embeddings were given.
            length: of the prompt.
            hashes: the engine's hashes of the full cache blocks of the prompt.
            reasons: codes of why it cannot be judged, as far as its arguments show.
        """
        try:
            span = self._guarded.span(prompt)
            found, stated = self._guarded.prompt_reasons(prompt)
            self._ledger.admit(Admitted(key, length, span, hashes))
            self.desk.begin(Begun(key, request_id, span is not None, (*reasons, *found), stated))
        except Exception as err:
            self._failed(err)
            self.desk.begin(Begun(key, request_id, reasons=(*reasons, HOOK_FAILED)))

    def begin(self, chunks: Sequence[Chunk]) -> None:
        """A pass over these tokens, in the order of the flat batch, is about to run."""
        if self._unsampled is not None:
            # Nobody knows what the last one was.
            self.missed(self._taken().steps)
        try:
            if self._pool.open:
                # The engine never said that the last one was over: its states were never taken.
                self.end()
            self._pool.begin(self._ledger.plan(chunks))
        except Exception as err:
            self._lost([chunk.request_id for chunk in chunks], err)

    def state(self, layer: str | int, states: torch.Tensor) -> None:
        """A tapped module gave [N, D]; rows behind those of the pass are padding."""
        try:
            self._pool.state(layer, states)
        except Exception as err:
            # The layer is then missing, and the pass not trusted.
            self._failed(err)

    def end(self) -> None:
        """The pass is over."""
        if not self._pool.open:
            return
        requests = self._pool.requests
        try:
            pooled = self._pool.end(self._ledger.slots)
            if self.canvas and pooled.vectors is not None:
                self._unsampled = pooled
            else:
                self.desk.passed(pooled)
            if pooled.whole:
                self._ledger.carried_out()
            else:
                self._ledger.lost()
        except Exception as err:
            self._lost(requests, err)

    def sampled(self, keys: Sequence[str], marks: torch.Tensor) -> None:
        """What the sampler made of the last pass, which `end` has told.

        Args:
            keys: requests of the pass, all of them and in any order.
            marks: [those, 3] int64 tensor, see `CanvasBook.take`; nobody writes into it afterwards.
        """
        if self._unsampled is None:
            return
        pooled = self._taken()
        try:
            rows = {key: row for row, key in enumerate(keys)}
            index = torch.tensor([rows[key] for key in pooled.steps], dtype=torch.int64)
            self.desk.passed(replace(pooled, marks=marks.index_select(0, index.to(marks.device, non_blocking=True))))
        except Exception as err:
            self._failed(err)
            self.missed(pooled.steps)

    def _taken(self) -> Pooled:
        """The pass that waits for its sampler, which does so no longer."""
        pooled, self._unsampled = self._unsampled, None
        assert pooled is not None
        return pooled

    def missed(self, keys: Iterable[str]) -> None:
        """A pass over these requests runs or has run, and nothing was told of its rows: they are not seen whole."""
        self.desk.passed(Pooled((), None, (), None, dict.fromkeys(keys, INCOMPLETE), False))

    def evicted(self, hashes: Iterable[bytes]) -> None:
        """The engine has dropped these blocks from its prefix cache."""
        self._ledger.evicted(hashes)

    def cleared(self) -> None:
        """The engine has emptied its prefix cache."""
        self._ledger.blocks.clear()

    def ended(self, key: str, *, tokens: int | None, ended: bool, interrupted: bool) -> None:
        """A request has ended; twice is fine.

        Args:
            key: the engine's own id of it.
            tokens: it generated; None = not known.
            ended: by the model, or by a token that its caller named.
            interrupted: by somebody else: a client that went away, an error.
        """
        self._ledger.end(key)
        self.desk.end(End(key, tokens, ended=ended, interrupted=interrupted))

    def _lost(self, requests: Sequence[str], err: Exception) -> None:
        """The states of a pass over these requests were not taken."""
        self._failed(err)
        self._ledger.lost()
        self.desk.passed(Pooled((), None, (), None, dict.fromkeys(requests, HOOK_FAILED), False))

    def _failed(self, err: Exception) -> None:
        self._failures += 1
        if str(self._failures).strip("0") == "1":
            # The type only: what a tokenizer or a template raises may hold the text of a request.
            log.warning("the tap failed %d times, last %s", self._failures, type(err).__name__)
