"""What code does, in counts that a busy machine does not change: torch operations, and Python functions called."""

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Protocol, Self

from torch.utils._python_dispatch import TorchDispatchMode


class Count(Protocol):
    """What was counted so far."""

    count: int


class Operations(TorchDispatchMode):
    """Counts torch operations within a block."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += 1
        return func(*args, **(kwargs or {}))


class Frames:
    """Counts Python functions that are called within a block."""

    def __init__(self) -> None:
        self.count = 0

    def __enter__(self) -> Self:
        self._before = sys.getprofile()
        sys.setprofile(self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        sys.setprofile(self._before)
        # The end of the block is a call of its own.
        self.count -= 1

    def _note(self, _frame: Any, event: str, _arg: Any) -> None:
        self.count += event == "call"


def counted(how: Callable[[], AbstractContextManager[Count]], block: Callable[[], object]) -> int:
    """What a call takes, itself included."""
    with how() as found:
        block()
    return found.count
