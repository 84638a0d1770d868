"""Where operators' commands find the verdict store: by its URL, or by the file of whoever writes to it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sri_sdk.config.yaml_file import file_error, read_mapping
from sri_sdk.errors import ConfigError, MissingExtra, missing_package

if TYPE_CHECKING:
    from sri_sdk.serve.store.store import VerdictStore

SQLITE = "sqlite:///"


def store_url(place: str) -> tuple[str, Path | None]:
    """The address of a store.

    Args:
        place: a URL (`sqlite:///path`, `postgresql://...`), or the YAML file of `sri monitor` (its sink `sql`) or of
            `sri serve` (its section `store`).

    Returns:
        The URL, and the file with the key of its hashed ids; None = ids are as they are, as far as the file says.

    Raises:
        ConfigError: the file cannot be read, or names no store.
    """
    if "://" in place:
        return place, None
    path = Path(place)
    if path.suffix.lower() not in (".yaml", ".yml"):
        raise ConfigError(
            f"{place}: neither a URL nor a YAML file; allowed: {SQLITE}PATH, postgresql://USER@HOST/NAME, or the file "
            f"of `sri monitor` or `sri serve`.{_as_url(path)}"
        )
    found = read_mapping(path)
    sinks = found.get("sinks")
    if sinks is None and "guard" in found:
        # A monitor that is told of no sinks writes here.
        from sri_sdk.monitor.settings import default_sinks

        sinks = [each.model_dump() for each in default_sinks()]
    for options in (*_sql_options(sinks), found.get("store")):
        if isinstance(options, Mapping) and isinstance(options.get("url"), str):
            key = options.get("hash_key")
            return options["url"], Path(key) if isinstance(key, str) else None
    raise file_error(
        path, ["names no store: no sink `sql` with a `url`, and no section `store`. Add one, or give a URL"]
    )


def open_store(place: str, *, secret: Path | None = None) -> VerdictStore:
    """Opens a store that is there; a mistyped path makes no new one.

    Args:
        place: as for `store_url`.
        secret: file with the key of its hashed ids; None = as the YAML file says.

    Raises:
        ConfigError: there is none, or it cannot be used.
        MissingExtra: a package is not installed.
        StoreUnavailable: it cannot be read or written.
    """
    url, key = store_url(place)
    if url.startswith(SQLITE) and not Path(url.removeprefix(SQLITE)).is_file():
        raise ConfigError(
            f"{place}: no verdict store at {url.removeprefix(SQLITE)}. It is made by the sink `sql` of `sri monitor`, "
            "or by `sri serve` with a section `store`; relative paths begin at the working directory."
        )
    try:
        from sri_sdk.serve.store.kept import Retention
        from sri_sdk.serve.store.keys import read_secret
        from sri_sdk.serve.store.store import VerdictStore
    except ImportError as err:
        if missing_package(err) not in ("sqlalchemy", "alembic"):
            raise
        raise MissingExtra("The verdict store", extra="serve") from err
    key = secret or key
    # How long verdicts are kept is for the process that writes them to say: whoever looks deletes none.
    kept = Retention(keep_days=None, keep_rows=None, keep_bytes=None, keep_counts_days=None)
    return VerdictStore.open(url, kept=kept, secret=None if key is None else read_secret(key))


def _sql_options(sinks: Any) -> list[Any]:
    if not isinstance(sinks, list):
        return []
    return [each.get("options") for each in sinks if isinstance(each, Mapping) and each.get("name") == "sql"]


def _as_url(path: Path) -> str:
    return f" Did you mean {SQLITE}{path}?" if path.is_file() else ""
