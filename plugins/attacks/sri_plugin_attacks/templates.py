"""Texts with places to fill in, such as `{request}`; other braces stand for themselves."""

from __future__ import annotations

import re
from collections.abc import Callable

_PLACE = re.compile(r"\{([a-z]+)\}")


def holds(*places: str, may: tuple[str, ...] = ()) -> Callable[[str], str]:
    """Checks an option that is a template: `Annotated[str, AfterValidator(holds("request"))]`.

    Args:
        places: what it must hold, each at least once.
        may: what else it may hold.
    """

    def check(text: str) -> str:
        found = set(_PLACE.findall(text))
        if missing := [place for place in places if place not in found]:
            raise ValueError(f"lacks {', '.join(f'{{{place}}}' for place in missing)}, found {text!r}")
        if strange := sorted(found - {*places, *may}):
            allowed = ", ".join(f"{{{place}}}" for place in (*places, *may)) or "none"
            raise ValueError(f"nothing fills {{{strange[0]}}}; places: {allowed}")
        return text

    return check


def fill(text: str, **said: str) -> str:
    """The template with every place filled in; what is filled in is not looked at again."""
    return _PLACE.sub(lambda place: said.get(place[1], place[0]), text)
