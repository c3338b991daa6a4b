from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from chargepin.radio import serve_radio
from e2e.cutting import Scene
from e2e.programs import Breakables, breakables
from ends import Ends


@pytest.fixture(scope="session")
def programs() -> Iterator[Breakables]:
    with breakables() as made:
        yield made


@pytest.fixture
async def on(programs: Breakables, tmp_path: Path) -> AsyncIterator[Scene]:
    ends = Ends(await serve_radio("127.0.0.1", 0), tmp_path)
    try:
        yield Scene(ends, programs, tmp_path)
    finally:
        await programs.end()
        await ends.close()
