"""From settings to the source of requests."""

from __future__ import annotations

import sys

from sri_sdk import registry
from sri_sdk.config.fit import FitConfig
from sri_sdk.errors import MissingExtra, missing_package
from sri_sdk.monitor.settings import RequestsSection
from sri_sdk.monitor.traffic.dataset import DatasetTraffic
from sri_sdk.monitor.traffic.stdin import StdinTraffic
from sri_sdk.monitor.traffic.traffic import Traffic


def open_traffic(section: RequestsSection, config: FitConfig) -> Traffic:
    """The source that the settings name, not started yet.

    Args:
        section: of the settings.
        config: of the deployment, whose dataset may be asked.

    Raises:
        ConfigError: tokens or dataset cannot be used.
        MissingExtra: HTTP needs a package that is not installed.
    """
    if section.source == "dataset":
        prompts = config.prompts
        return DatasetTraffic(registry.build("datasets", prompts.dataset, prompts.options), section)
    if section.source == "stdin":
        return StdinTraffic(sys.stdin.buffer, _say)
    try:
        from sri_sdk.monitor.traffic.http import HttpTraffic
    except ImportError as err:
        if missing_package(err) not in ("uvicorn", "sqlalchemy", "prometheus_client"):
            raise
        raise MissingExtra("requests.from: http", extra="serve") from err
    return HttpTraffic(section)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
