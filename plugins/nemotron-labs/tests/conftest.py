"""A watch with a budget, as a guard has one: only then must the end of a generation have been seen."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from sri_sdk.capture.run import Run
from sri_sdk.capture.settings import WatchSettings
from sri_sdk.capture.tap import tap_of


@contextmanager
def budgeted(hook, pooling: str, budget: int = 10**6) -> Iterator[Run]:
    run = Run(hook, WatchSettings(pooling, ("final",), None, budget=budget, keep_states=True))
    tap = tap_of(hook.model)
    with tap.installed(hook, run), tap.owned_by(run):
        yield run
    run.finish()


@pytest.fixture
def watched():
    return budgeted
