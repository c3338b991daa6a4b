import pytest

from manual_loop import ManualLoop


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, type[ManualLoop]]]:
    return ("asyncio", {"loop_factory": ManualLoop})
