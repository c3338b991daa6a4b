import os
import signal

import pytest
from hypothesis import settings

from manual_loop import ManualLoop
from needs import VARIABLE

# No example is failed for being slow: how long it takes says most about what else runs. Where all
# is required the examples are the same each time, so that a change is judged by what it changed.
settings.register_profile("chargepin", deadline=None, derandomize=os.environ.get(VARIABLE) == "all")
settings.load_profile("chargepin")

# Started in the background, tests have Ctrl-C ignored, and so would every program they start.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, type[ManualLoop]]]:
    return ("asyncio", {"loop_factory": ManualLoop})
