"""A store of three verdicts, gates on it, and the little of each framework that its module touches."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from sri_plugin_gateways.gate import Gate

import sri_sdk

CLOSED = sri_sdk.Policy(rule="final", flagged="abort", unmonitored="abort")


class Verdicts:
    """Knows the requests `clear`, `flagged` and `not_sampled`, each by the verdict that it is called after."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def lookup(self, request_id: str, *, wait_s: float = 0.0, rule: Any = None) -> sri_sdk.Verdict:
        self.asked.append(request_id)
        status: Any = request_id if request_id in ("clear", "flagged", "not_sampled") else "unmonitored"
        return sri_sdk.Verdict(request_id, status)


@pytest.fixture
def verdicts() -> Verdicts:
    return Verdicts()


@pytest.fixture
def gate(verdicts: Verdicts) -> Gate:
    """Fails closed."""
    return Gate(verdicts, CLOSED)


@pytest.fixture
def beside(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """`beside("langchain_agent", {"langchain.messages": {...}})`: our module, imported beside fakes of theirs."""

    def imported(name: str, fakes: dict[str, dict[str, Any]]) -> Any:
        for fake, members in fakes.items():
            for parent in [fake.rsplit(".", n)[0] for n in range(1, fake.count(".") + 1)]:
                if parent not in sys.modules:
                    monkeypatch.setitem(sys.modules, parent, ModuleType(parent))
            made = ModuleType(fake)
            vars(made).update(members)
            monkeypatch.setitem(sys.modules, fake, made)
        full = f"sri_plugin_gateways.{name}"
        monkeypatch.delitem(sys.modules, full, raising=False)
        module = importlib.import_module(full)
        monkeypatch.delitem(sys.modules, full)  # Put back as it was: absent, or the real one.
        return module

    return imported
