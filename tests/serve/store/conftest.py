"""A fresh store per test, on SQLite and, where it is installed, on PostgreSQL."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sri_sdk.records import Verdict
from sri_sdk.serve.store.kept import Retention
from sri_sdk.serve.store.rows import Delivered
from sri_sdk.serve.store.store import VerdictStore

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


def _programs() -> Path | None:
    """The folder of PostgreSQL's programs: where Debian puts them, or on the path."""
    if debian := max(Path("/usr/lib/postgresql").glob("*/bin"), default=None):
        return debian
    return Path(found).resolve().parent if (found := shutil.which("initdb")) else None


class Postgres:
    """A server of its own, on a free port of this machine."""

    def __init__(self, programs: Path, folder: Path):
        self.programs, self.folder = programs, folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"postgresql://postgres:unused-password@127.0.0.1:{self.port}/postgres"

    def run(self, *command: str) -> None:
        # It refuses to run as root.
        as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        done = subprocess.run([*as_user, *command], capture_output=True, text=True, cwd="/", timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self.folder}"
        log = str(self.folder / "log")
        self.run(
            str(self.programs / "pg_ctl"), "-D", str(self.folder / "data"), "-w", "-l", log, "-o", options, "start"
        )

    def stop(self, how: str = "fast") -> None:
        self.run(str(self.programs / "pg_ctl"), "-D", str(self.folder / "data"), "-m", how, "stop")

    def new_url(self) -> str:
        """The one database, emptied: new ones take a thousand files each."""
        import psycopg

        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        return self.url


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    programs = _programs()
    if programs is None or (os.geteuid() == 0 and subprocess.run(["id", "postgres"], capture_output=True).returncode):
        pytest.skip("PostgreSQL's server is not installed")
    pytest.importorskip("psycopg", reason="the extra `postgres` is not installed")
    # Not below tmp_path, whose parents only this user may enter.
    folder = Path("/tmp") / f"sri-postgres-{os.getpid()}-{time.monotonic_ns()}"
    folder.mkdir()
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres")
    server = Postgres(programs, folder)
    try:
        place = ["-D", str(folder / "data"), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync"]
        server.run(str(programs / "initdb"), *place, "--locale=C")
        server.start()
        yield server
        server.stop("immediate")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


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
