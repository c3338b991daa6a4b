import os

import pytest
from hypothesis import settings

from manual_loop import ManualLoop
from needs import VARIABLE

# No example is failed for being slow: how long it takes says most about what else runs. Where all
# is required the examples are the same each time, so that a change is judged by what it changed.
settings.register_profile("chargepin", deadline=None, derandomize=os.environ.get(VARIABLE) == "all")
settings.load_profile("chargepin")


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, type[ManualLoop]]]:
    return ("asyncio", {"loop_factory": ManualLoop})
