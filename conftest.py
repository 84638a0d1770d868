"""For all tests: of `tests/`, of every plugin and of every exporter."""

import gc
from collections.abc import Generator

import pytest


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Importing tests makes next to no garbage, and searching for it again and again takes a fifth of the time.

    Every worker of a run imports them all.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Garbage is searched for in what tests make, and not again and again in torch and all that is imported by now.

    The kit searches in each run of its checks whether a hook keeps anything alive.
    """
    gc.collect()
    gc.freeze()
