"""Steering: directions in a model's residual stream, and what changes states along them while the model generates.

arXiv 2512.24143. Needs the `capture` extra, except for `direction.py`, `operations.py` and `where.py`.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


class _Room(ModuleType):
    """This package, which is also the public function of its name.

    Python binds a package in its parent under its own name, as soon as anything in it is imported: `sri_sdk.steer` is
    then this module, and no longer looked up as a public name.
    """

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        from sri_sdk.steer.steering import steer

        return steer(*args, **kwargs)


sys.modules[__name__].__class__ = _Room
