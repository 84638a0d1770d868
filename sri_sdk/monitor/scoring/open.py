"""From settings to the place that scores."""

from __future__ import annotations

from sri_sdk.errors import MissingExtra, missing_package
from sri_sdk.monitor.scoring.place import Place
from sri_sdk.monitor.scoring.remote import RemotePlace
from sri_sdk.monitor.settings import MonitorSettings


def open_place(settings: MonitorSettings) -> Place | None:
    """The place that the settings name, started; None = this process scores itself.

    Raises:
        ConfigError: the address of a server is wrong, or a file cannot be read.
        MissingExtra: a local scorer needs a package that is not installed.
    """
    section = settings.scoring
    if section.where == "process":
        return None
    if section.where == "remote":
        return RemotePlace.open(section, settings.name)
    try:
        import sqlalchemy  # noqa: F401 - the child imports them; better to say so here.
        import uvicorn  # noqa: F401
    except ImportError as err:
        if missing_package(err) not in ("uvicorn", "sqlalchemy"):
            raise
        raise MissingExtra("scoring.where: local", extra="serve") from err
    from sri_sdk.monitor.scoring.local import LocalPlace

    return LocalPlace(settings.guard, section.budget_s)
