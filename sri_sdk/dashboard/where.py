"""Which store a dashboard reads: an address, or the YAML file of a monitor or a server that writes one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from sri_sdk.config.yaml_file import file_error, read_mapping
from sri_sdk.errors import ConfigError
from sri_sdk.options import problems
from sri_sdk.serve.settings import StoreSection

SQL_SINK = "sql"
"""Plugin whose store the dashboard can read."""
_KEEPS_ALL: dict[str, Any] = {"keep_days": None, "keep_rows": None, "keep_bytes": None, "keep_counts_days": None}
"""Whoever looks deletes nothing: retention is the business of the processes that write."""
DEFAULT_URL = "sqlite:///out/monitor/verdicts.db"
"""Where a monitor writes whose file names no sinks."""
_OF_THE_STORE = ("url", "hash_ids", "hash_key")


def find_store(target: str) -> StoreSection:
    """The store of `sri dashboard TARGET`.

    Args:
        target: `sqlite:///path/to/file`, `postgresql://...`, or the path of the YAML file of a monitor or a server.

    Raises:
        ConfigError: the file cannot be read, or names no store.
    """
    if "://" in target:
        return _section(Path("STORE"), {"url": target})
    source = Path(target)
    found = read_mapping(source)
    if isinstance(found.get("store"), Mapping):
        return _section(source, found["store"])
    if "guard" in found:
        return _section(source, _of_monitor(source, found))
    raise ConfigError(
        f"{source}: names no store. Give the file of a `sri monitor` whose sinks have `name: {SQL_SINK}`, that of a "
        "`sri serve` with `store`, or an address such as sqlite:///out/monitor/verdicts.db."
    )


def _of_monitor(source: Path, found: Mapping[str, Any]) -> Mapping[str, Any]:
    sinks = found.get("sinks")
    if sinks is None:
        return {"url": DEFAULT_URL}
    stores = [each for each in sinks if isinstance(each, Mapping) and each.get("name") == SQL_SINK]
    if not stores:
        raise ConfigError(
            f"{source}: none of its sinks is {SQL_SINK!r}, so no store is written. Add `- name: {SQL_SINK}` to `sinks`."
        )
    # Several deployments may write one store; one deployment that writes several is shown by its first.
    options = stores[0].get("options") or {}
    return dict(options) if isinstance(options, Mapping) else {}


def _section(source: Path, found: Mapping[str, Any]) -> StoreSection:
    """The fields that say where the store is; what else a file says of it is checked by whoever writes it."""
    try:
        return StoreSection.model_validate({**{k: found[k] for k in _OF_THE_STORE if k in found}, **_KEEPS_ALL})
    except ValidationError as err:
        raise file_error(source, list(problems(err, StoreSection))) from err
