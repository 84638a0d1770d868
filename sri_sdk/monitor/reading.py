"""Reads the file of a monitor and checks it with the config that it names: every mistake at once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sri_sdk.config.check_fit import check_sink_sections
from sri_sdk.config.fit import FitConfig
from sri_sdk.config.load import load_config
from sri_sdk.config.yaml_file import as_settings, file_error, read_mapping
from sri_sdk.errors import ConfigError
from sri_sdk.monitor.settings import MonitorSettings
from sri_sdk.policy import Policy


@dataclass(frozen=True, slots=True)
class Told:
    """What a monitor is told: its file, and the config that it names."""

    settings: MonitorSettings
    config: FitConfig | None
    """None = the model is the caller's."""
    source: Path | None = None
    """The file; None = there is none, and nothing to read again."""

    @property
    def policy(self) -> Policy:
        """The operator's policy."""
        found = self.settings.policy or (self.config.policy if self.config is not None else None)
        assert found is not None  # As the settings were checked.
        return found

    @property
    def accept(self) -> tuple[str, ...]:
        """Soft fields that may differ."""
        beside = () if self.config is None else self.config.accept
        return tuple(dict.fromkeys((*self.settings.accept, *beside)))


def is_monitor(source: Path) -> bool:
    """Whether a file is one of a monitor: it names a guard, which no other file of this SDK does.

    Raises:
        ConfigError: it cannot be read, or is not YAML.
    """
    return "guard" in read_mapping(source)


def read_monitor(source: Path | str) -> Told:
    """Reads and checks the file of a monitor, and the config that it names. Loads neither model nor guard.

    Raises:
        ConfigError: `problems` holds one `file: path: problem` per mistake; all of them, not only the first.
    """
    source = Path(source)
    data = read_mapping(source)
    if "models" in data or "folds" in data:
        raise file_error(
            source, ["is the config of a fit or an evaluation, not of a monitor; docs/monitor.md has an example"]
        )
    return checked(as_settings(source, data, MonitorSettings), source)


def checked(settings: MonitorSettings, source: Path | None = None) -> Told:
    """Settings with the config that they name.

    Raises:
        ConfigError: as `read_monitor`.
    """
    where, found = source or Path(f"monitor {settings.name}"), list[str]()
    config = None
    if settings.config is not None:
        try:
            config = load_config(settings.config)
        except ConfigError as err:
            found += [f"config: {problem}" for problem in err.problems or (str(err),)]
    told = Told(settings, config, source)
    if settings.policy is not None or config is not None:
        found += _unfit_policy(told)
    if not settings.guard.path.exists():
        cure = f"Fit it first: sri fit {settings.config}" if settings.config is not None else "Give the guard's folder."
        found.append(f"guard.path: {settings.guard.path} is not there. {cure}")
    found += check_sink_sections([sink.model_dump() for sink in settings.sinks])
    if found:
        raise file_error(where, found)
    return told


def _unfit_policy(told: Told) -> list[str]:
    settings, policy, found = told.settings, told.policy, []
    if settings.scoring.where != "process" and policy.rule != "final":
        found.append(
            f"scoring.where: found {settings.scoring.where!r} with rule {policy.rule!r}; a rule that decides while the "
            "model generates is scored where the model runs: where: process"
        )
    if settings.mode == "enforce" and policy.recovers and settings.config is None:
        found.append(
            "policy.flagged: 'recover' takes a sampler of ours, and your own process generates; allowed: report, abort"
        )
    return found
