"""Builds the site from the pages where they lie, so that a link that works in the repository works there too.

mkdocs reads one folder; ours are spread over the repository (`docs/`, `plugins/*/README.md`, ...). `mkdocs.yml` names
this file under `hooks`, and mkdocs calls its functions before it reads the first page.
"""

from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
PAGES = (
    "*.md",
    "CITATION.cff",
    "docs/*.md",
    "docs/*.png",
    "docs/dashboard/*.png",
    "docs/production/*",
    "benchmarks/*.md",
    "benchmarks/*.svg",
    "benchmarks/gateways/*.md",
    "benchmarks/real/*.md",
    "benchmarks/vllm/*.md",
    "plugins/*/README.md",
    "plugins/lab/sri_plugin_lab/LAB_CARD.md",
    "exporters/**/README.md",
)


def on_config(config: Any) -> Any:
    """Completes the navigation, so that a new plugin or a new page of `docs/` needs no line there."""
    named = str(config.nav)
    sections = {title: section for section in config.nav for title in section}
    more = [path for path in sorted(ROOT.glob("docs/*.md")) if f"docs/{path.name}" not in named]
    sections["More"]["More"] = [path.relative_to(ROOT).as_posix() for path in more]
    if not more:
        config.nav.remove(sections["More"])
    plugins = sorted(ROOT.glob("plugins/*/README.md"))
    sections["Plugins"]["Plugins"] = [{path.parent.name: path.relative_to(ROOT).as_posix()} for path in plugins]
    return config


def on_files(files: Files, config: Any) -> Files:
    """Replaces the files of `docs/` by all pages of the repository, at the same places; keeps the theme's own."""
    theme = [file for file in files if file.src_dir != config.docs_dir]
    found = sorted({path for pattern in PAGES for path in ROOT.glob(pattern) if "node_modules" not in path.parts})
    pages = [
        File(path.relative_to(ROOT).as_posix(), str(ROOT), config.site_dir, config.use_directory_urls) for path in found
    ]
    return Files([*theme, *pages])
