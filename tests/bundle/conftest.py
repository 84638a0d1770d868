import pytest


@pytest.fixture
def folder(guard_copy):
    return guard_copy / "bundle"
