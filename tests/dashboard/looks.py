"""What a reader sees of a page, and observations to show."""

import re
from dataclasses import replace
from html.parser import HTMLParser

from sri_sdk.observation import Observation
from sri_sdk.records import Verdict
from tests.dashboard.make_believe import NOW_MS


class Elements(HTMLParser):
    """Elements of a page, and the text a reader sees."""

    def __init__(self, text):
        super().__init__()
        self.found, self.text = [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


def seen(page):
    return re.sub(r"\s+", " ", Elements(page).text)


def observation(id, **more):
    return replace(Observation(Verdict("r" + id[-3:], "clear"), NOW_MS - 1000, id=id), **more)


def unseen(number, at=NOW_MS - 1000, deployment="chat"):
    """A generation that nobody judged: it names no guard."""
    return Observation(Verdict(f"u{number}", "unmonitored", ("tap_silent",)), at, deployment=deployment)
