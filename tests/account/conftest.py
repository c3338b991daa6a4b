from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from account.world import World


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path)
    made.open()
    yield made
    await made.close()
