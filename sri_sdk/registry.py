"""Finds and loads plugins: the only file that knows stevedore.

A plugin is an entry point of the group `sri.<kind>`; its name is what users write in YAML and its target is a class.
Looking at what is installed imports nothing, and loading one plugin imports no other. The checks before a plugin is
used, in this order: one target per name, the target imports, its module was written for a plugin API that is accepted,
the class implements the interface completely.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any, NoReturn

from stevedore.driver import DriverManager

from sri_sdk.attack import Attack
from sri_sdk.baseline import Baseline
from sri_sdk.dataset import Dataset
from sri_sdk.detector import Detector
from sri_sdk.errors import (
    PluginConflict,
    PluginLoadFailed,
    PluginNotFound,
    SriError,
    did_you_mean,
    missing_extra,
    missing_package,
)
from sri_sdk.executor import Executor
from sri_sdk.exporter import Exporter
from sri_sdk.hook import Hook
from sri_sdk.judge import Judge
from sri_sdk.options import parse
from sri_sdk.plugin import Config, Plugin
from sri_sdk.plugin_api import accepted_version, refuse_older_names, warn_of_older_version
from sri_sdk.sampler import Sampler
from sri_sdk.sink import Sink


@dataclass(frozen=True, slots=True)
class Kind:
    """One extension point."""

    group: str
    """Entry-point group."""
    interface: type[Plugin]
    """The ABC a plugin must implement."""
    apis: tuple[int, ...]
    """Versions of that ABC a plugin may be written for, the current one last; an older one loads with a warning."""

    @property
    def api(self) -> int:
        """The current version: what a new plugin is written for."""
        return self.apis[-1]


# A new version goes behind the previous one, which is dropped one minor release later: `(1,)`, `(1, 2)`, `(2,)`.
# A change that adds one also teaches the SDK to use a class of the previous version through the new interface:
# `older_hooks` does for hooks.
KINDS: dict[str, Kind] = {
    "hooks": Kind("sri.hooks", Hook, (1, 2)),
    "samplers": Kind("sri.samplers", Sampler, (1,)),
    "detectors": Kind("sri.detectors", Detector, (1,)),
    "exporters": Kind("sri.exporters", Exporter, (1,)),
    "sinks": Kind("sri.sinks", Sink, (1,)),
    "judges": Kind("sri.judges", Judge, (1,)),
    "datasets": Kind("sri.datasets", Dataset, (1,)),
    "attacks": Kind("sri.attacks", Attack, (1,)),
    "baselines": Kind("sri.baselines", Baseline, (1,)),
    "executors": Kind("sri.executors", Executor, (1,)),
}


@dataclass(frozen=True, slots=True, order=True)
class PluginInfo:
    """One installed plugin, as its distribution describes it; nothing was imported to know this."""

    kind: str
    name: str
    target: str
    """`module:class`."""
    distribution: str
    """The distribution that installed it; if several claim the same target, joined by `, `."""
    version: str
    """Of that distribution."""


class _OneDriver(DriverManager[Any]):  # type: ignore[misc]  # stevedore is not followed, hence Any
    """Loads exactly the entry point it is given.

    stevedore keeps what it finds in a cache on disk whose key notices a changed installation only after minutes, and
    forgets which distribution a plugin came from. So the lookup is our own and always fresh; stevedore only loads.
    """

    def __init__(self, entry_point: EntryPoint) -> None:
        self._chosen = entry_point
        super().__init__(entry_point.group, entry_point.name, invoke_on_load=False)

    def list_entry_points(self) -> list[EntryPoint]:
        return [self._chosen]


def installed(kind: str | None = None) -> list[PluginInfo]:
    """Installed plugins of one kind, or of all kinds, sorted. Imports none of them.

    A name claimed for two targets appears twice; loading it raises PluginConflict.
    """
    owners: dict[tuple[str, str, str], dict[str, str]] = {}
    for each in KINDS if kind is None else (kind,):
        for point in _points(each):
            owners.setdefault((each, point.name, point.value), {}).update([_owner(point)])
    return sorted(
        PluginInfo(*which, ", ".join(sorted(who)), ", ".join(who[name] for name in sorted(who)))
        for which, who in owners.items()
    )


def load(kind: str, name: str) -> type[Any]:
    """The class of one plugin, checked and ready to build. No other plugin is imported.

    Raises:
        PluginNotFound: nothing of that kind and name is installed.
        PluginConflict: two distributions claim the name for different targets.
        PluginLoadFailed: importing it failed, or the class does not implement the kind's interface.
        PluginWrongApi: its module was written for another version of the plugin API, or does not say for which one.
    """
    point = _the_only(kind, name)
    subject = _subject(kind, point)
    try:
        target = _OneDriver(point).driver
    except KeyboardInterrupt:
        raise
    except BaseException as err:
        # A module may also end the process: `sys.exit()` where it misses something is common in scripts.
        _refuse(point, subject, err, doing="importing it")
    apis = KINDS[kind].apis
    written_for = accepted_version(sys.modules[point.module], kind, apis, subject)
    interface = KINDS[kind].interface
    if not (inspect.isclass(target) and issubclass(target, interface)):
        raise PluginLoadFailed(
            f"{subject}: {target!r} is not a subclass of {_called(interface)}. "
            "Point the entry point at the plugin's class."
        )
    missing = sorted([*target.__abstractmethods__, *_undeclared(interface, target)])
    if missing:
        raise PluginLoadFailed(
            f"{subject}: {target.__name__} lacks {', '.join(missing)}, which every {interface.__name__} must have; "
            f"see the docstrings of {_called(interface)}."
        )
    if written_for == apis[-1]:
        refuse_older_names(target, kind, written_for, subject)
    else:
        warn_of_older_version(target, point.module, kind, written_for, apis[-1], subject, stacklevel=2)
    return target


def configure(kind: str, name: str, options: Mapping[str, Any] | None = None, *, path: str = "") -> Config:
    """A plugin's options, checked against its nested `Config`; None = all defaults.

    Args:
        kind: of the plugin.
        name: of the plugin.
        options: as written.
        path: where they were written, such as `detector.options`; leads every problem.

    Raises:
        ConfigError: `problems` holds every mistake in the options.
        PluginLoadFailed: a check of its own raised something else, or ended the process.
        PluginError: as `load`.
    """
    return _parse_options(load(kind, name), kind, name, options, path)


def build(kind: str, name: str, options: Mapping[str, Any] | None = None) -> Any:
    """A plugin, built from its options; None = all defaults. Hooks are built on a model: use `load` and `configure`.

    Raises:
        ConfigError: `problems` holds every mistake in the options.
        PluginLoadFailed: the class cannot be constructed.
        PluginError: as `load`.
    """
    if kind == "hooks":
        raise ValueError("build('hooks', ...): a hook needs a loaded model; use load() and configure()")
    plugin = load(kind, name)
    config = _parse_options(plugin, kind, name, options)
    with blamed(kind, name, "building it"):
        return plugin(config)


@contextmanager
def blamed(kind: str, name: str, doing: str) -> Iterator[None]:
    """Runs code of a plugin. Whatever it raises is an error that names the plugin, `sys.exit()` included.

    Args:
        kind: of the plugin.
        name: of the plugin.
        doing: what is done to it, as the message says it: "building it" failed.

    Raises:
        PluginLoadFailed: the code failed. An `SriError` passes as it is, and so does KeyboardInterrupt.
    """
    try:
        yield
    except (SriError, KeyboardInterrupt):
        raise
    except BaseException as err:
        point = _the_only(kind, name)
        _refuse(point, _subject(kind, point), err, doing)


def _called(interface: type[Plugin]) -> str:
    """Where a vendor imports it from."""
    import sri_sdk

    public = interface.__name__ in sri_sdk.__all__
    return f"{'sri_sdk' if public else interface.__module__}.{interface.__name__}"


def _undeclared(interface: type[Plugin], target: type[Plugin]) -> list[str]:
    """Class attributes that the interface declares without a value (`scheme`, `schemes`) and the plugin lacks."""
    promised = inspect.get_annotations(interface)
    return [name for name, kind in promised.items() if str(kind).startswith("ClassVar") and not hasattr(target, name)]


def _parse_options(
    plugin: type[Any], kind: str, name: str, options: Mapping[str, Any] | None, path: str = ""
) -> Config:
    declared: type[Config] = plugin.Config
    with blamed(kind, name, "checking its options"):
        return parse(declared, dict(options or {}), subject=f"options of {kind} plugin {name!r}", path=path)


def _points(kind: str) -> list[EntryPoint]:
    if kind not in KINDS:
        raise PluginNotFound(f"{kind!r} is not a kind of plugin; kinds: {', '.join(KINDS)}.{did_you_mean(kind, KINDS)}")
    return list(entry_points(group=KINDS[kind].group))


def _the_only(kind: str, name: str) -> EntryPoint:
    points = _points(kind)
    claims = {point.value: point for point in points if point.name == name}
    if not claims:
        raise PluginNotFound.among(kind, name, {point.name for point in points})
    if len(claims) > 1:
        listed = "; ".join(f"{_owner(point)[0]} -> {target}" for target, point in sorted(claims.items()))
        raise PluginConflict(
            f"{kind} plugin {name!r}: claimed for {len(claims)} different targets: {listed}. "
            "Uninstall one of the distributions, or have its maintainer choose another name."
        )
    return next(iter(claims.values()))


def _owner(point: EntryPoint) -> tuple[str, str]:
    """Name and version of the distribution that declares an entry point."""
    distribution = point.dist
    return (distribution.name, distribution.version) if distribution else ("unknown distribution", "?")


def _subject(kind: str, point: EntryPoint) -> str:
    name, version = _owner(point)
    return f"{kind} plugin {point.name!r} ({point.value}, from {name} {version})"


def _refuse(point: EntryPoint, subject: str, err: BaseException, doing: str) -> NoReturn:
    if isinstance(err, SriError):
        raise PluginLoadFailed(f"{subject}: {doing} failed: {err}") from err
    cure = "Reinstall that distribution, or report this to its maintainer."
    if extra := missing_extra(err):
        cure = f'Run: pip install "sri-sdk[{extra}]"'
    elif (missing := missing_package(err)) and missing != point.value.partition(":")[0].partition(".")[0]:
        cure = f"Install the package that provides {missing!r}."
    said = f": {err}" if str(err) else ""
    raise PluginLoadFailed(f"{subject}: {doing} failed with {type(err).__name__}{said}. {cure}") from err
