"""For all tests: of `tests/`, of every plugin and of every exporter."""

import gc

import pytest


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Garbage is searched for in what tests make, and not again and again in torch and all that is imported by now.

    The kit searches in each run of its checks whether a hook keeps anything alive.
    """
    gc.collect()
    gc.freeze()
