"""The file of the harmless canaries while a monitor runs: what was used, and how it scored. One process has it."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Self

from sri_sdk.config.fit import FitConfig
from sri_sdk.errors import ConfigError
from sri_sdk.files import claimed
from sri_sdk.fitting.canary_state import RATE, WINDOW, Canary, State, append, base_hash, beside, fresh
from sri_sdk.fitting.folds import text_hash
from sri_sdk.records import Prompt

log = logging.getLogger("sri_sdk.monitor")

RESERVE = 128
"""Fresh prompts that are drawn at once: drawing looks through the folds of the config."""

_LOCK = threading.Lock()
_CLAIMS: dict[Path, tuple[ExitStack, int]] = {}
"""File -> claim, and how many books of this process share it: before and after a reload both are open."""


class CanaryBook:
    """What a guard's canaries were so far, and which prompts may become some.

    Attributes:
        state: as the file has it.
        trouble: why it could not be written, in words; None = it could.
    """

    def __init__(self, path: Path, state: State) -> None:
        """Use `open`."""
        self.path, self.state = path, state
        self.trouble: str | None = None
        self._reserve: list[Prompt] = []
        self._given: dict[str, str] = {}
        """Prompt -> its request, by their digests, for prompts that are out and have not come back."""
        self._open = True

    @classmethod
    def open(cls, path: Path, bundle: str, *, rate: float | None = None, window: int | None = None) -> Self:
        """Claims the file, and reads it if it is there.

        Args:
            path: the file.
            bundle: digest of the guard.
            rate: see `fitting.canary_state.State`; None = as begun, or 1 %.
            window: canaries per window; None = as begun, or 50.

        Raises:
            ConfigError: another process has it, it cannot be read or written, or it was begun with another rate.
        """
        path = path.resolve()
        _claim(path)
        try:
            begun = State.load(path) or State(bundle=bundle, rate=rate or RATE, window=window or WINDOW)
            book = cls(path, begun.of(bundle, rate, window, path))
            book._write()
        except OSError as err:
            _release(path)
            raise ConfigError(
                f"canaries.state: {path}: cannot be written ({err.strerror or type(err).__name__}), so prompts would "
                "be used again. Name a file that can be."
            ) from err
        except BaseException:
            _release(path)
            raise
        return book

    @classmethod
    def read(cls, path: Path, bundle: str, *, rate: float | None = None, window: int | None = None) -> Self:
        """As `open`, for who only looks: the file is neither claimed nor written, and another process may have it.

        Raises:
            ConfigError: it cannot be read, or was begun with another rate.
        """
        path = path.resolve()
        begun = State.load(path) or State(bundle=bundle, rate=rate or RATE, window=window or WINDOW)
        book = cls(path, begun.of(bundle, rate, window, path))
        book._open = False
        return book

    def fresh(self, config: FitConfig, split: str, count: int) -> list[Prompt]:
        """Harmless prompts that nobody has used; fewer than `count` once the split has no more.

        Args:
            config: of the fit; its folds and its mix count.
            split: that they come from.
            count: how many.
        """
        wanted = max(RESERVE, count)
        while len(self._reserve) < count:
            out = [digest for pair in self._given.items() for digest in pair]
            state = self.state.model_copy(update={"used": [*self.state.used, *out]})
            try:
                # What is left of the reserve is drawn again: nobody has used it.
                self._reserve = fresh(config, split, wanted, state)
            except ConfigError as err:
                if wanted == count:
                    log.error("canaries: drift is no longer looked for: %s", err)
                    break
                wanted = max(wanted // 2, count)
        given, self._reserve = self._reserve[:count], self._reserve[count:]
        self._given |= {text_hash(prompt.text): base_hash(prompt) for prompt in given}
        return given

    def add(self, canary: Canary) -> None:
        """Writes down one canary, beside the file. Where the disk refuses, it is kept in memory, and written with the
        next one."""
        self.state.canaries.append(canary)
        self._given.pop(canary.prompt, None)
        # After a failure as a whole: a line may be there in part, or not at all.
        self._try_to(self._write if self.trouble is not None else partial(append, self.path, canary))

    def keep(self, flagged: Sequence[str], tried: Sequence[str], *, by: str) -> None:
        """Writes down which harmful prompts this guard flagged, of those that were tried; otherwise as `add`.

        A process that begins takes them up: one that searched anew would find something else to be content with.

        Args:
            flagged: digests of their texts.
            tried: those of all that were tried.
            by: how they were judged; who judges otherwise searches anew.
        """
        found = {"harmful_flagged": list(flagged), "harmful_tried": list(tried), "harmful_by": by}
        if found != {name: getattr(self.state, name) for name in found}:
            self.state = self.state.model_copy(update=found)
            self._try_to(self._write)

    def _try_to(self, write: Callable[[], None]) -> None:
        try:
            write()
        except OSError as err:
            if self.trouble is None:
                log.error("canaries: %s cannot be written: %s", self.path, err.strerror or type(err).__name__)
            self.trouble = f"{self.path.name} cannot be written"
        else:
            self.trouble = None

    @property
    def unmonitored(self) -> Counter[str]:
        """Reason -> canaries that could not be scored."""
        return Counter(each.reason or "" for each in self.state.canaries if each.scores is None)

    def close(self) -> None:
        """Gives the file back, whole again; calling it twice is fine."""
        if self._open:
            self._open = False
            # Not before another book of this process that goes on, and knows more.
            if _is_last(self.path) and beside(self.path).exists():
                self._try_to(self._write)
            _release(self.path)

    def _write(self) -> None:
        self.state.save(self.path)


@contextmanager
def book_claimed(path: Path) -> Iterator[None]:
    """Keeps other processes from the file as long as the block lasts; books of this one may be opened meanwhile.

    Raises:
        ConfigError: another process has it.
    """
    path = path.resolve()
    _claim(path)
    try:
        yield
    finally:
        _release(path)


def _claim(path: Path) -> None:
    with _LOCK:
        stack, users = _CLAIMS.get(path, (None, 0))
        if stack is None:
            stack = ExitStack()
            if not stack.enter_context(claimed(path)):
                raise ConfigError(
                    f"canaries.state: {path}: another process has it, and prompts would be used twice. End that one, "
                    "or give each monitor a file of its own."
                )
        _CLAIMS[path] = stack, users + 1


def _is_last(path: Path) -> bool:
    with _LOCK:
        return _CLAIMS[path][1] == 1


def _release(path: Path) -> None:
    with _LOCK:
        stack, users = _CLAIMS.pop(path)
        if users > 1:
            _CLAIMS[path] = stack, users - 1
        else:
            stack.close()
