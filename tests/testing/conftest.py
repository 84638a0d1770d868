from copy import deepcopy
from functools import cache

import pytest
import sri_plugin_lab.models as models


@pytest.fixture(scope="module")
def quick_models():
    """Weights are read once."""
    loaded = cache(models.load)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models, "load", lambda name: deepcopy(loaded(name)))
        patch.setattr(models, "load_tokenizer", cache(models.load_tokenizer))
        yield
