import gc
from copy import deepcopy
from functools import cache

import pytest
import sri_plugin_lab.models as models


@pytest.fixture(scope="module")
def quick_models():
    """Weights are read once, and what the test run holds anyway is not searched for garbage again and again."""
    loaded = cache(models.load)
    gc.freeze()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models, "load", lambda name: deepcopy(loaded(name)))
        patch.setattr(models, "load_tokenizer", cache(models.load_tokenizer))
        yield
    gc.unfreeze()
