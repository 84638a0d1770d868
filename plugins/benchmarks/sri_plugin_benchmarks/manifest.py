"""What is known about a published set: where it is, under which licence, who may have it, and what its files hold.

The data never comes with this package. Facts that were not checked are listed in `unverified`. An unknown hash
is None; then the hash of the file that was read is reported.
"""

from __future__ import annotations

from dataclasses import dataclass

GITHUB = "https://github.com/"


@dataclass(frozen=True, slots=True)
class DataFile:
    """One published file."""

    name: str
    """Path inside the publication, `data/harmful-behaviors.csv`; messages use its last part."""
    columns: tuple[str, ...]
    """Columns, or keys of a JSON object, that are read; others may stand beside them."""
    sha256: str | None = None
    """Of the file at the manifest's revision, 64 hex digits; None = not known."""
    inside: str | None = None
    """Key of a JSON file under which the list of rows is; None = the list is the file."""

    @property
    def base(self) -> str:
        """Name without folders."""
        return self.name.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Manifest:
    """One published set."""

    name: str
    """Name of the plugin; leads the id of each prompt."""
    title: str
    citation: str
    """Authors, title, arXiv number."""
    licence: str
    page: str
    """Where a person reads about it: a repository on GitHub, or a dataset on the Hugging Face hub."""
    revision: str
    """Commit the facts below are from; a branch where no commit is known."""
    files: tuple[DataFile, ...]
    harmless: str
    """Which rows are harmless; shown to people."""
    harmful: str
    """Which rows are harmful; shown to people."""
    unverified: str
    """What was not checked against the publication itself."""
    hub: str | None = None
    """Id of the dataset on the Hugging Face hub that holds the same files; None = it is not there in this form."""
    access: str | None = None
    """How to get access, as a sentence; None = it is open."""

    def file(self, base: str) -> DataFile:
        """The file of that name, without folders."""
        return next(file for file in self.files if file.base == base)

    def address(self, file: DataFile, revision: str | None = None) -> str:
        """The address of one file.

        Args:
            file: one of `files`.
            revision: commit, tag or branch; None = the manifest's own.
        """
        at = f"{revision or self.revision}/{file.name}"
        if self.page.startswith(GITHUB):
            return f"https://raw.githubusercontent.com/{self.page.removeprefix(GITHUB)}/{at}"
        return f"{self.page}/resolve/{at}"

    def how_to_get(self, file: DataFile, revision: str | None = None) -> str:
        """Sentences that say what to download, from where, under which licence, and how to be let in."""
        said = f"Download {self.address(file, revision)} (licence: {self.licence}; {self.page})."
        return said if self.access is None else f"{said} It is gated: {self.access}"
