"""`sri check`: does an installed plugin keep the promises of its interface?"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import click

from sri_sdk import registry, testing
from sri_sdk.cli.bars import prepare_libraries
from sri_sdk.cli.output import emit_json, say, say_lines, table, visible
from sri_sdk.errors import ConfigError, ConformanceError, PluginError, did_you_mean
from sri_sdk.testing.planted import NotChecked

if TYPE_CHECKING:
    from sri_sdk.testing import Check, Result, SamplerCase

KNOWN = "SRI_KNOWN_FAILURES"
"""A literal in a plugin's module: name of a check -> why it fails. Strict: one that passes is a failure."""


OWN_HOOKS = ("lab-causal", "toy")
"""Hooks of this distribution on small models, one per scheme."""


@click.command()
@click.argument("kind")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--explain", is_flag=True, help="Print what each check promises, and run none.")
@click.pass_context
def command(ctx: click.Context, kind: str, name: str, as_json: bool, explain: bool) -> None:
    """Check one installed plugin against the promises of its interface, with default options.

    KIND is hook, sampler, detector, exporter, sink, judge, dataset, attack or baseline. Exits with 1 if a check fails.
    """
    kind = _kind(kind)
    if kind in ("hooks", "samplers", "baselines"):
        prepare_libraries()
    plugin, known = registry.load(kind, name), _known_failures(kind, name)
    with registry.blamed(kind, name, "building what it is checked on"):
        listed = CHECKS[kind](name, plugin, known)
    if explain:
        _explain(listed, as_json)
        return
    results = [_run(check) for check in listed]
    passed = all(result.state in ("passed", "known") for result in results)
    if as_json:
        emit_json({"kind": kind, "name": name, "passed": passed, "checks": [asdict(result) for result in results]})
    else:
        rows = [[x.name, x.state, f"{x.seconds:.2f}", " ".join(x.message.split())] for x in results]
        say_lines(table(["CHECK", "STATE", "SECONDS", "MESSAGE"], rows))
        kept = sum(result.state == "passed" for result in results)
        say(f"{kind} plugin {name!r}: {kept} of {len(results)} checks passed")
    if not passed:
        ctx.exit(1)


def _kind(written: str) -> str:
    """`hooks` for `hook` and `hooks`."""
    kind = written if written in CHECKS else f"{written}s"
    if kind not in CHECKS:
        allowed = [each.removesuffix("s") for each in CHECKS]
        raise click.BadParameter(
            f"there are no checks for {written!r}; kinds: {', '.join(allowed)}.{did_you_mean(written, allowed)}",
            param_hint="KIND",
        )
    return kind


def _known_failures(kind: str, name: str) -> dict[str, str]:
    """What the plugin's module, which is imported by now, says of itself."""
    module = next(info.target for info in registry.installed(kind) if info.name == name).partition(":")[0]
    found = getattr(sys.modules[module], KNOWN, {})
    if not isinstance(found, dict) or not all(isinstance(word, str) for pair in found.items() for word in pair):
        raise ConformanceError(f"{module}.{KNOWN}: found {found!r}, must be a dict from names of checks to reasons.")
    return found


def _run(check: Check) -> Result:
    """Runs one check; what a passing one could not look at becomes its message."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        (result,) = testing.run_checks([check])
    skipped = [str(each.message) for each in caught if issubclass(each.category, NotChecked)]
    return replace(result, message="; ".join(skipped)) if skipped and not result.message else result


def _explain(listed: list[Check], as_json: bool) -> None:
    if as_json:
        emit_json([{"name": check.name, "promise": check.promise, "known": check.known} for check in listed])
        return
    for check in listed:
        say(check.name)
        say_lines(click.wrap_text(_one_line(check.promise), 100, "    ", "    "))
        if check.known is not None:
            say_lines(click.wrap_text(_one_line(f"Known failure: {check.known}"), 100, "    ", "    "))


def _one_line(text: str) -> str:
    return visible(" ".join(text.split()))


# -- the cases ---------------------------------------------------------------------------------------------------


def _hook(name: str, plugin: type[Any], known: dict[str, str]) -> list[Check]:
    return testing.hook_checks(plugin.example, known)


def _sampler(name: str, plugin: type[Any], known: dict[str, str]) -> list[Check]:
    if plugin.example() is not None:
        return testing.sampler_checks(plugin.example, known)
    family = _family(name, plugin)

    def make() -> SamplerCase:
        case = family.example()
        ids = [f"check-{row}" for row in range(len(case.encoded.input_ids))]
        return testing.SamplerCase(registry.build("samplers", name, {}), case.hook, case.encoded, ids)

    return testing.sampler_checks(make, known)


def _family(name: str, plugin: type[Any]) -> type[Any]:
    """The first installed hook that the sampler can drive and that comes with a small model."""
    tried = []
    # Ours first: what else is installed should not decide what a sampler is tried on.
    for info in sorted(registry.installed("hooks"), key=lambda info: info.name not in OWN_HOOKS):
        try:
            hook: type[Any] = registry.load("hooks", info.name)
            if hook.scheme in plugin.schemes:
                hook.example()
                return hook
        except (PluginError, ConformanceError) as err:
            tried.append(f"{info.name} ({err})")
            continue
        except KeyboardInterrupt:
            raise
        except BaseException as err:
            # A fault of that hook's example is not the sampler's; `sri check hook` shows it.
            tried.append(f"{info.name} ({type(err).__name__}: {err})")
            continue
        tried.append(f"{info.name} (scheme {hook.scheme})")
    raise ConformanceError(
        f"samplers plugin {name!r}: drives {', '.join(sorted(plugin.schemes))}, and no installed hook of that scheme "
        f"has an example(); tried {', '.join(tried) or 'none'}. Install one, or call sampler_checks() with a case of "
        "your own."
    )


def _detector(name: str, plugin: type[Any], known: dict[str, str]) -> list[Check]:
    return testing.detector_checks(lambda: registry.build("detectors", name, {}), known)


def _exporter(name: str, plugin: type[Any], known: dict[str, str]) -> list[Check]:
    return testing.exporter_checks(lambda: registry.build("exporters", name, {}), known)


def _sink(name: str, plugin: type[Any], known: dict[str, str]) -> list[Check]:
    return testing.sink_checks(_example("sinks", name, plugin), known)


def _judge(name: str, plugin: type[Any], known: dict[str, str]) -> list[Check]:
    return testing.judge_checks(_example("judges", name, plugin), known)


def _dataset(name: str, plugin: type[Any], known: dict[str, str]) -> list[Check]:
    return testing.dataset_checks(_example("datasets", name, plugin), known)


def _attack(name: str, plugin: type[Any], known: dict[str, str]) -> list[Check]:
    return testing.attack_checks(_example("attacks", name, plugin), known)


def _baseline(name: str, plugin: type[Any], known: dict[str, str]) -> list[Check]:
    return testing.baseline_checks(_example("baselines", name, plugin), known)


def _example(kind: str, name: str, plugin: type[Any]) -> Callable[[], Any]:
    """The plugin's own example(), or one with default options, built so that options without a default are named."""
    own: Callable[[], Any] = plugin.example
    if own.__func__ is not registry.KINDS[kind].interface.example.__func__:  # type: ignore[attr-defined]
        return own

    def make() -> Any:
        try:
            return registry.build(kind, name, {})
        except ConfigError as err:
            raise ConformanceError(
                f"{str(err).rstrip('.')}. {plugin.__name__} needs options to be built: give it a classmethod `example` "
                "that returns one to check."
            ) from err

    make()  # What fails here would fail in every check.
    return make


CHECKS: dict[str, Callable[[str, type[Any], dict[str, str]], list[Check]]] = {
    "hooks": _hook, "samplers": _sampler, "detectors": _detector, "exporters": _exporter, "sinks": _sink,
    "judges": _judge, "datasets": _dataset, "attacks": _attack, "baselines": _baseline,
}  # fmt: skip
"""Kind -> what lists the checks of one plugin: its name, its class, its known failures."""
