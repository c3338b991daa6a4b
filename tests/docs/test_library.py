"""docs/library.md: its program runs, and its tables are the code's."""

import asyncio
import re
from pathlib import Path
from typing import Any, get_type_hints

import pytest

import chargepin
from app.at_imitations import CODE, imitating
from chargepin import errors
from docs.document import table_of
from ends import SERIAL, both_ends

TEXT = (Path(__file__).parents[2] / "docs" / "library.md").read_text(encoding="utf-8")
NAME = f"WB{SERIAL}"


@pytest.fixture
def program() -> Any:
    """What the page's program defines."""
    (block,) = re.findall(r"^```python\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
    defined: dict[str, Any] = {}
    exec(block, defined)  # noqa: S102 - it is ours
    return defined


async def test_a_form_and_what_comes_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: Any
) -> None:
    look, storage = program["look"], tmp_path / "storage"
    async with imitating(tmp_path, "6.11.26", CODE) as on:
        monkeypatch.setenv("CHARGEPIN_RADIO", on.room.address)
        while not (seen := await chargepin.scan(0.05)):
            pass
        (found,) = seen
        with pytest.raises(errors.PasscodeNeeded):
            await look(found, storage)
        with pytest.raises(ValueError, match="PUK"):
            await look(found, storage, "12345678")
        with pytest.raises(errors.PasscodeWrong):
            await look(NAME, storage, "314159")
        assert (await look(NAME, storage, CODE)).software == "6.11.26"
        assert (await look(found, storage)).state == "ready"


async def test_it_stays_connected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: Any
) -> None:
    shown: asyncio.Queue[object] = asyncio.Queue()
    async with both_ends(tmp_path) as ends:
        await ends.switch_on()
        monkeypatch.setenv("CHARGEPIN_RADIO", ends.room.address)
        following = asyncio.create_task(
            program["follow"](NAME, tmp_path / "storage", shown.put_nowait)
        )
        status = await shown.get()
        while not isinstance(status, chargepin.Status):
            status = await shown.get()
        assert status.passcode == "open"
        following.cancel()
        await asyncio.wait([following])


def test_every_public_name_is_there_and_told() -> None:
    for name in chargepin.__all__:
        assert getattr(chargepin, name) is not None
        assert name in TEXT or name == "__version__"
    assert set(dir(chargepin)) == set(chargepin.__all__)


def test_the_fields_of_a_status() -> None:
    told = {row[0]: row[1] for row in table_of(TEXT, "status")}
    types = {
        name: kind.__name__ if isinstance(kind, type) else "bool, None"
        for name, kind in get_type_hints(chargepin.Status).items()
    }
    assert told == types


def test_every_error_and_its_code() -> None:
    named = vars(errors).values()
    each = [kind for kind in named if isinstance(kind, type) and issubclass(kind, Exception)]
    known = {str(kind.__name__): getattr(kind, "code") for kind in each}  # noqa: B009 - all have it
    del known["ChargepinError"]
    assert {row[0]: row[1] for row in table_of(TEXT, "errors")} == known


def test_lines_are_readable() -> None:
    assert max(len(line) for line in TEXT.splitlines()) <= 120
