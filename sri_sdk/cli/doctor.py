"""`sri doctor`: whether this environment is ready, and if not, what to run."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterator
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from packaging.requirements import Requirement

from sri_sdk import registry
from sri_sdk.cli.doctor_config import probe_config
from sri_sdk.cli.finding import Finding, State
from sri_sdk.cli.output import emit_json, say, say_lines, table
from sri_sdk.errors import SriError, missing_extra

if TYPE_CHECKING:
    from sri_sdk.capture.probe import Probe
    from sri_sdk.hook import Hook
    from sri_sdk.records import LoadedModel

DISTRIBUTION = "sri-sdk"
LAB_HOOKS = ("lab-diffusion", "lab-causal")
LEAST_GAP = 0.1
"""Harmless minus harmful mean sigma; below this the quick look says that refusal does not separate."""


@click.command()
@click.argument("subject", metavar="[MODEL|CONFIG]", required=False)
@click.option("--hook", "hook_name", help="With MODEL: try this hook only.")
@click.option(
    "--sample",
    type=click.IntRange(min=1),
    default=8,
    show_default=True,
    help="With CONFIG: prompts of each class to try.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def command(ctx: click.Context, subject: str | None, hook_name: str | None, sample: int, as_json: bool) -> None:
    """Check this environment, its plugins and the embedded models; with MODEL or CONFIG, that instead.

    MODEL is the name of a hook that brings its own model, such as lab-diffusion, or a folder or hub id that
    transformers can load without code from the checkpoint. CONFIG is the YAML file of a deployment: a few of its
    prompts are generated and judged, to say what `sri fit` would see, and how long it would take. Exits with 1 if
    something is broken.
    """
    # A model is a name or a folder, so a file can only be a config.
    is_config = subject is not None and (subject.endswith((".yaml", ".yml")) or Path(subject).is_file())
    if hook_name and (not subject or is_config):
        raise click.UsageError("--hook needs a MODEL to try the hook on.")
    if subject is None:
        findings = [*machine(), *packages(), *plugins(), *probe_lab()]
    elif is_config:
        findings = list(probe_config(Path(subject), sample))
    else:
        findings = list(probe_model(subject, hook_name))
    if as_json:
        emit_json([asdict(finding) for finding in findings])
    else:
        say_lines(table(["TOPIC", "SUBJECT", "STATE", "DETAIL"], [list(asdict(x).values()) for x in findings]))
    broken = [x.subject for x in findings if x.state == "broken"]
    if broken:
        say(f"error: broken: {', '.join(broken)}", err=True)
        ctx.exit(1)


def machine() -> list[Finding]:
    """The machine that everything runs on."""
    # The cores this process may use: in a container or a batch job, fewer than the machine has.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    facts = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cores": str(cores or "unknown"),
        "memory": _memory(),
    }
    return [Finding("machine", name, "ok", fact) for name, fact in facts.items()]


def packages() -> Iterator[Finding]:
    """The packages of the base install and of every extra, compared with the versions sri-sdk requires."""
    try:
        declared = [Requirement(line) for line in requires(DISTRIBUTION) or ()]
    except PackageNotFoundError:
        yield Finding("packages", DISTRIBUTION, "broken", f"not installed. Run: pip install {DISTRIBUTION}")
        return
    yield Finding("packages", DISTRIBUTION, "ok", version(DISTRIBUTION))
    groups: dict[str, list[Requirement]] = {}
    for requirement in declared:
        groups.setdefault(_extra_of(requirement), []).append(requirement)
    for extra, requirements in groups.items():
        problems = [problem for problem in map(_package_problem, requirements) if problem]
        found = ", ".join(f"{x.name} {_version(x.name)}" for x in requirements)
        what = f"extra {extra}" if extra else "base install"
        if not problems:
            yield Finding("packages", what, "ok", found)
            continue
        cure = f'pip install "{DISTRIBUTION}[{extra}]"' if extra else f"pip install --upgrade {DISTRIBUTION}"
        state: State = "absent" if extra else "broken"
        yield Finding("packages", what, state, f"{'; '.join(problems)}. Run: {cure}")


def plugins() -> Iterator[Finding]:
    """Plugins that do not load, and how many do. One that only needs an extra is absent, not broken."""
    installed = registry.installed()
    states: list[State] = []
    for info in installed:
        state, problem = _plugin_state(info)
        states.append(state)
        if problem:
            yield Finding("plugins", f"{info.kind} {info.name}", state, problem)
    good = states.count("ok")
    yield Finding("plugins", "all kinds", "ok" if good else "broken", f"{good} of {len(installed)} load")


def _plugin_state(info: registry.PluginInfo) -> tuple[State, str]:
    try:
        registry.load(info.kind, info.name)
    except SriError as err:
        return ("absent" if missing_extra(err.__cause__) else "broken"), str(err)
    return "ok", ""


def probe_lab() -> Iterator[Finding]:
    """Loads the embedded models as `sri demo` will, asks their hooks whether they fit, and lets the tap fire."""
    from sri_sdk.cli.bars import prepare_libraries

    prepare_libraries()
    for name in LAB_HOOKS:
        yield _probe(name)


def _probe_hook(name: str) -> str:
    hook_class = registry.load("hooks", name)
    loaded = hook_class.load(registry.configure("hooks", name))
    fit = hook_class.fits(loaded.model)
    if not fit.ok:
        raise SriError(f"the hook refuses its own model: {fit.why}")
    hook = hook_class(loaded.model)
    from sri_sdk.fitting.doctor_probe import fire

    found = fire(hook, loaded)
    if found.reasons:
        raise SriError(f"{found}")
    return f"{loaded.source}; hidden size {hook.hidden_size()}; fits: {fit.why}; {found}"


def _probe(name: str) -> Finding:
    try:
        return Finding("lab", name, "ok", _probe_hook(name))
    except KeyboardInterrupt:
        raise
    except BaseException as err:
        # Whatever a model's code raises becomes a line of the report: the doctor itself must not fail.
        extra = missing_extra(err) or missing_extra(err.__cause__)
        message = str(err) if isinstance(err, SriError) else f"{type(err).__name__}: {err}"
        if extra and not isinstance(err, SriError):
            message += f'. Run: pip install "{DISTRIBUTION}[{extra}]"'
        return Finding("lab", name, "absent" if extra else "broken", " ".join(message.split()))


def probe_model(source: str, hook_name: str | None) -> Iterator[Finding]:
    """Loads a model, and says which hook fits and why, what the tap sees, and whether refusal separates."""
    from sri_sdk.cli.bars import prepare_libraries

    prepare_libraries()
    from sri_sdk.fitting import doctor_probe

    loaded = doctor_probe.load_model(source)
    yield Finding("model", source, "ok", f"{type(loaded.model).__name__}: {loaded.source}")
    fits = doctor_probe.candidates(loaded.model, hook_name)
    fitting = [name for name, fit in fits.items() if fit.ok or (fit.if_named and name == hook_name)]
    near = [name for name, fit in fits.items() if fit.if_named]
    for name, fit in fits.items():
        said = "fits" if fit.ok else "named" if name in fitting else "does not fit"
        yield Finding("hook", name, "ok" if name in fitting or fit.ok else "no", f"{said}: {fit.why}")
    if len(fitting) != 1:
        several = f"{', '.join(fitting)} all fit. Name one with --hook {fitting[0]}" if fitting else ""
        if near and not fitting:
            several = f"no hook fits by itself. If {near[0]} is what you want, name it: --hook {near[0]}"
        cure = (
            several or "no hook fits. Install the plugin of this family, or write one: sri plugins new NAME --kind hook"
        )
        yield Finding("hook", "choice", "broken", cure)
        return
    (name,) = fitting
    try:
        hook = registry.load("hooks", name)(loaded.model)
        found = doctor_probe.fire(hook, loaded)
        yield Finding("tap", name, "broken" if found.reasons else "ok", str(found))
        yield Finding("tap", "phi", "ok" if found.shape[-1] == hook.hidden_size() else "broken", _shapes(found, hook))
        if hook.scheme == "masked":
            yield _shift(hook)
        if not found.reasons:
            yield _separation(hook, loaded, name)
    except KeyboardInterrupt:
        raise
    except BaseException as err:
        # As above: whatever a model's code raises becomes a line of the report.
        yield Finding("tap", name, "broken", " ".join(f"{type(err).__name__}: {err}".split()))


def _shift(hook: Any) -> Finding:
    """Whether a watch can compare the plan's shift with the tokens that a sampler commits."""
    from sri_sdk.capture.shift_check import matrix_of_head

    if matrix_of_head(hook) is not None:
        return Finding("tap", "shift", "ok", f"{hook.shift()}; every watch compares it with the tokens committed")
    problem = "the head is no plain matrix behind the final norm (head() of the hook, or get_output_embeddings())"
    return Finding("tap", "shift", "no", f"{hook.shift()}; no watch can check it: {problem}. Set your sampler alike")


def _shapes(found: Probe, hook: Hook) -> str:
    return (
        f"{list(found.shape)} = steps, layers, width; hidden size {hook.hidden_size()}; "
        f"length {found.norms[0]:.3g} to {found.norms[1]:.3g}"
    )


def _separation(hook: Hook, loaded: LoadedModel, name: str) -> Finding:
    from sri_sdk.fitting import doctor_probe

    known = doctor_probe.prompts_of(name)
    if known is None:
        return Finding(
            "refusal", name, "absent",
            "not tried: it needs prompts and a judge, and the hook's package has none. Name them in a config and "
            "run: sri fit CONFIG",
        )  # fmt: skip
    seen = doctor_probe.separate(hook, loaded, *known)
    state: State = "ok" if seen.gap > LEAST_GAP else "broken"
    return Finding(
        "refusal", name, state,
        f"mean sigma {seen.harmless:.2f} harmless, {seen.harmful:.2f} harmful, gap {seen.gap:.2f} (more than "
        f"{LEAST_GAP:g} is needed), on {seen.per_class} + {seen.per_class} prompts of dataset {seen.dataset}; the "
        f"anchors come from as many others",
    )  # fmt: skip


def _extra_of(requirement: Requirement) -> str:
    found = re.search(r"extra == ['\"]([^'\"]+)['\"]", str(requirement.marker or ""))
    return found[1] if found else ""


def _package_problem(requirement: Requirement) -> str | None:
    found = _version(requirement.name)
    if found is None:
        return f"{requirement.name} is not installed"
    if not requirement.specifier.contains(found, prereleases=True):
        return f"{requirement.name} {found}, needs {requirement.specifier}"
    return None


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _memory() -> str:
    """Physical memory in GiB, where the system says."""
    try:
        total: Any = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return "unknown"
    return f"{total / 2**30:.1f} GiB"
