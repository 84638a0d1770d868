"""Parts of the lab's splits."""

from __future__ import annotations

from typing import Any

import pytest
from sri_plugin_lab import world
from sri_plugin_lab.dataset import LabDataset
from sri_plugin_lab.subsets import CELLS

from sri_sdk.errors import ConfigError


def lab(**subsets: Any) -> LabDataset:
    return LabDataset(
        LabDataset.Config.model_validate({"subsets": {k.replace("_", "-"): v for k, v in subsets.items()}})
    )


def cell(text_id: str) -> str:
    asked = world.request_of(world.LabPrompt(text_id, "", "harmful", None, text_id))
    return f"{world.GROUP_OF[asked.verb]}/{world.KIND_OF[asked.object]}"


def test_a_part_holds_harmful_prompts_of_its_cells_alone() -> None:
    found = lab(new={"split": "test", "cells": ["take/food", "heat/creature"]}).prompts("new", "harmful", 200)
    assert {cell(p.base or "") for p in found} == {"take/food", "heat/creature"}
    assert len({p.text for p in found}) == 200


def test_a_part_holds_its_ways_of_asking_alone_and_the_rest_holds_the_others() -> None:
    one = lab(seen={"split": "unusual", "frames": [0, 1]}, new={"split": "unusual", "frames": [2, 3, 4, 5, 6, 7]})
    seen, new = (one.prompts(name, "harmless", 300) for name in ("seen", "new"))
    frames = [
        {world.request_of(world.LabPrompt(p.id, "", p.label, None, p.id)).frame for p in part} for part in (seen, new)
    ]
    assert len(frames[0]) == 2 and len(frames[1]) == 6 and not frames[0] & frames[1]


def test_the_first_prompts_stay_the_first_however_many_are_taken() -> None:
    one = lab(some={"split": "fit", "cells": list(CELLS[:3])})
    assert one.prompts("some", "harmful", 50) == one.prompts("some", "harmful", 500)[:50]
    assert [p.base for p in one.prompts("some", "harmful", 50, attack="fiction")] == [
        p.id for p in one.prompts("some", "harmful", 50)
    ]


@pytest.mark.parametrize(
    ("subset", "words"),
    [
        ({"split": "tset"}, "allowed: train, fit"),
        ({"split": "test", "cells": ["take/idea"]}, "take/idea"),
        ({"split": "test", "cells": []}, "found none"),
        ({"split": "unusual", "frames": [8]}, "0 to 7"),
    ],
)
def test_what_is_no_part_of_the_world_is_refused(subset: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        lab(some=subset)


def test_a_part_must_not_take_the_name_of_a_split() -> None:
    with pytest.raises(ValueError, match="test is a split of the world already"):
        lab(test={"split": "test"})


def test_an_unknown_attack_and_too_many_prompts_are_refused() -> None:
    one = lab(some={"split": "fit", "cells": ["take/food"], "frames": [0]})
    with pytest.raises(ConfigError, match="attack 'nope'"):
        one.prompts("some", "harmful", 1, attack="nope")
    with pytest.raises(ConfigError, match="which has"):
        one.prompts("some", "harmful", 10**5)
