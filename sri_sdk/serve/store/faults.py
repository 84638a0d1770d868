"""Why the store cannot be used right now, told apart so that an operator knows where to look."""

from __future__ import annotations

import re
import sqlite3
from typing import Literal

from sqlalchemy.exc import SQLAlchemyError

from sri_sdk.errors import SriError

Fault = Literal["full", "locked", "slow", "busy", "closed", "refused", "unreachable", "damaged", "content", "failed"]

DATABASE_ERRORS = (SQLAlchemyError, sqlite3.Error)
"""What a database in trouble raises; SQLite's own where a connection is made."""
_CURES: dict[Fault, str] = {
    "full": "the disk is full. Make room, or keep less: `keep_days`, `keep_rows` and `keep_bytes` of `store`",
    "locked": "another process holds a lock on it. Find that process; one that copies the file should use a backup",
    "slow": "it did not finish within the time of one statement. Look at what else the server does, and at its disk",
    "busy": "more is waiting than it writes. Deliver again later, or less at once",
    "closed": "the service is shutting down. Deliver again to the next one",
    "refused": "the database server refuses the user, the password or the database that `store.url` names. Correct "
    "them, or make the user and the database there",
    "unreachable": "it does not answer. Look at the database server, or at the path of the file and its permissions",
    "damaged": "the file is not a database, or is damaged. Restore a backup, or begin a new one",
    "content": "it takes no row like one of those that it was handed. The log has the error's class",
    "failed": "it refused. The log has the error's class",
}

_SQLITE: dict[int, Fault] = {
    5: "locked",  # SQLITE_BUSY
    6: "locked",  # SQLITE_LOCKED
    8: "unreachable",  # SQLITE_READONLY
    10: "full",  # SQLITE_IOERR: a quota or a limit on file sizes says so, and a disk that dies.
    11: "damaged",  # SQLITE_CORRUPT
    13: "full",  # SQLITE_FULL
    14: "unreachable",  # SQLITE_CANTOPEN
    18: "content",  # SQLITE_TOOBIG
    19: "content",  # SQLITE_CONSTRAINT
    20: "content",  # SQLITE_MISMATCH
    26: "damaged",  # SQLITE_NOTADB
}
_POSTGRESQL: dict[str, Fault] = {"53100": "full", "55P03": "locked", "57014": "slow", "53300": "busy"}
_OF_CONTENT = ("22", "23", "54")
"""Classes of PostgreSQL's states that are about a row: a value, a constraint, a limit such as that of index entries."""
# psycopg has no state for a login that failed, so its words are all there is. A server may speak another language.
_REFUSED = re.compile(
    r"password authentication failed|no password supplied|pg_hba\.conf|"
    r"(role|user|database) \"[^\"]*\" (does not exist|is not permitted to log in)"
)


class StoreUnavailable(SriError):
    """The store cannot be read or written right now; what was not acknowledged should be delivered again.

    Attributes:
        fault: what is wrong, as a code.
    """

    def __init__(self, fault: Fault) -> None:
        super().__init__(f"verdict store: {_CURES[fault]}.")
        self.fault: Fault = fault


def fault_of(err: BaseException) -> Fault:
    """What an error of SQLAlchemy, or of the driver below it, says about the database."""
    cause = getattr(err, "orig", None) or err
    code = getattr(cause, "sqlite_errorcode", None)
    if isinstance(code, int):
        # The lowest byte is the kind; the others say where it happened.
        return _SQLITE.get(code & 0xFF, "failed")
    state = getattr(cause, "sqlstate", None)
    if state is not None:
        if state.startswith(_OF_CONTENT):
            return "content"
        # Class 08 is connections, 57P is a server that stops.
        return _POSTGRESQL.get(state, "unreachable" if state.startswith(("08", "57P")) else "failed")
    if _REFUSED.search(str(cause)):
        return "refused"
    # psycopg has no state where it lost the server; SQLAlchemy's pool raises TimeoutError.
    name = type(cause).__name__
    if name == "DataError" or isinstance(cause, (OverflowError, UnicodeError)):
        # A driver refused the row before the database saw it.
        return "content"
    return "unreachable" if name in ("OperationalError", "InterfaceError", "TimeoutError") else "failed"
