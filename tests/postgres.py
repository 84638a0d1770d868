"""A PostgreSQL server of one's own, with what it stores."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def programs() -> Path | None:
    """The folder of PostgreSQL's programs: where Debian puts them, or on the path."""
    if debian := max(Path("/usr/lib/postgresql").glob("*/bin"), default=None):
        return debian
    return Path(found).resolve().parent if (found := shutil.which("initdb")) else None


class Postgres:
    """A server of its own, on a free port of this machine."""

    def __init__(self, folder: Path):
        self.folder = folder
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
        self.run(_program("pg_ctl"), "-D", str(self.folder / "data"), "-w", "-l", log, "-o", options, "start")

    def stop(self, how: str = "fast") -> None:
        self.run(_program("pg_ctl"), "-D", str(self.folder / "data"), "-m", how, "stop")

    def new_url(self) -> str:
        """The one database, emptied: new ones take a thousand files each."""
        import psycopg

        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        return self.url

    def copy(self, name: str) -> str:
        """A database of that name with what is in the one, to which nobody may be connected now."""
        import psycopg

        place = self.url.removesuffix("postgres")
        with psycopg.connect(f"{place}template1", autocommit=True) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {name}")  # type: ignore[arg-type]
            connection.execute(f"CREATE DATABASE {name} TEMPLATE postgres")  # type: ignore[arg-type]
        return f"{place}{name}"


@contextmanager
def cluster() -> Iterator[Postgres]:
    """A new one, gone with everything in it at the end."""
    # Not below a test's own folder, whose parents only this user may enter.
    folder = Path("/tmp") / f"sri-postgres-{os.getpid()}-{time.monotonic_ns()}"
    folder.mkdir()
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres")
    server = Postgres(folder)
    try:
        place = ["-D", str(folder / "data"), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync"]
        server.run(_program("initdb"), *place, "--locale=C")
        server.start()
        try:
            yield server
        finally:
            server.stop("immediate")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _program(name: str) -> str:
    found = programs()
    assert found is not None, "PostgreSQL's server is not installed"
    return str(found / name)
