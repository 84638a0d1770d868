"""A fresh store per test, on SQLite and, where it is installed, on PostgreSQL."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sri_sdk.records import Verdict
from sri_sdk.serve.store.kept import Retention
from sri_sdk.serve.store.rows import Delivered
from sri_sdk.serve.store.store import VerdictStore
from tests.postgres import Postgres, cluster, programs

FOREVER = Retention(keep_days=None, keep_rows=None)


def verdict(request_id: str, status: str = "clear", score: float | None = 0.5, **more) -> Verdict:
    return Verdict(request_id, status, score=score, bundle="b" * 64, **more)


def rows(*ids: str, status: str = "clear", tenant: str = "", source: str = "gpu-1") -> list[Delivered]:
    return [Delivered(verdict(each, status), tenant, source) for each in ids]


class Clock:
    """A clock that a test sets; seconds since 1970."""

    def __init__(self, now: float = 1_000_000.0):
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    if programs() is None or (os.geteuid() == 0 and subprocess.run(["id", "postgres"], capture_output=True).returncode):
        pytest.skip("PostgreSQL's server is not installed")
    pytest.importorskip("psycopg", reason="the extra `postgres` is not installed")
    with cluster() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/verdicts.db"
    return request.getfixturevalue("postgres").new_url()


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/verdicts.db"


@pytest.fixture
def store(url: str, clock: Clock) -> Iterator[VerdictStore]:
    with VerdictStore.open(url, kept=FOREVER, clock=clock) as opened:
        yield opened
