"""The file of a charger's identity: damage is told, and never makes another identity."""

import json
import shutil
from pathlib import Path

import pytest

from chargepin.charger.identity_file import (
    SEED_BYTES,
    IdentityFile,
    decoded_identity,
    encoded_identity,
)
from chargepin.charger.ports import StoreFailed
from chargepin.charger.store import SQLiteStore, look_into
from chargepin.core.decoding import Undecodable
from chargepin.core.durable import Durable, Factory, Mode, Profile
from core.guard_bench import passcode

NAME = "identity.json"
PROTECTED = Durable(mode=Mode.PROTECTED, generation=1, credential=passcode(1))
IDENTITY = IdentityFile(bytes(range(SEED_BYTES)), 2, 3, Factory(passcode(1), 4), Profile.EU)
RAW = encoded_identity(IDENTITY)


def started(directory: Path) -> tuple[bytes, Durable | None]:
    """Start a charger; gives its identity and its state."""
    store = SQLiteStore(directory)
    try:
        return store.identity.public_key().public_bytes_raw(), store.load()
    finally:
        store.close()


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Those of a charger with a passcode."""
    store = SQLiteStore(tmp_path)
    store.commit(PROTECTED, [], 1)
    store.close()
    return tmp_path


def refuses(directory: Path, sentence: str) -> None:
    """No start and no look changes anything; each says the sentence."""
    before = {path.name: path.is_file() and path.read_bytes() for path in directory.iterdir()}
    for use in (SQLiteStore, look_into):
        with pytest.raises(StoreFailed, match=sentence) as failed:
            use(directory)
        assert str(directory / NAME) in str(failed.value)
    assert before == {
        path.name: path.is_file() and path.read_bytes() for path in directory.iterdir()
    }


def test_it_comes_back_as_it_was_written() -> None:
    assert decoded_identity(RAW) == IDENTITY
    assert repr(IDENTITY) == "IdentityFile()"


def test_a_file_from_before_checksums_gets_one(files: Path) -> None:
    right, before = (files / NAME).read_bytes(), started(files)
    alone = json.dumps(json.loads(right)["identity"]).encode()
    (files / NAME).write_bytes(alone)
    assert look_into(files).durable == PROTECTED
    assert (files / NAME).read_bytes() == alone
    assert started(files) == before
    assert (files / NAME).read_bytes() == right


def test_any_other_byte_in_any_place_is_damage() -> None:
    for at, byte in enumerate(RAW):
        for other in set(range(256)) - {byte}:
            with pytest.raises(Undecodable):
                decoded_identity(RAW[:at] + bytes([other]) + RAW[at + 1 :])


def test_any_part_of_it_is_damage() -> None:
    for cut in range(len(RAW)):
        for part in (RAW[:cut], RAW[:cut] + bytes(len(RAW) - cut), RAW[cut + 1 :]):
            with pytest.raises(Undecodable):
                decoded_identity(part)


@pytest.mark.parametrize("seed", [bytes(SEED_BYTES - 1), bytes(SEED_BYTES + 1), b""])
def test_a_seed_of_another_length_is_none_whatever_the_checksum(seed: bytes) -> None:
    with pytest.raises(Undecodable):
        decoded_identity(encoded_identity(IdentityFile(seed)))


def test_a_charger_with_one_changed_byte_in_its_seed_does_not_start(files: Path) -> None:
    right, before = (files / NAME).read_bytes(), started(files)
    at = right.index(b'"seed":"') + len(b'"seed":"')
    (files / NAME).write_bytes(
        right[:at] + (b"B" if right[at] == ord("A") else b"A") + right[at + 1 :]
    )
    refuses(files, r"is damaged\. .* put a copy of it back, or move everything out")
    (files / NAME).write_bytes(right)
    assert started(files) == before == (before[0], PROTECTED)


@pytest.mark.parametrize("content", [b"", b"\xff", b"\0" * 200, b"{}", RAW[:100], RAW + RAW])
def test_a_file_that_was_not_written_whole_is_damaged(files: Path, content: bytes) -> None:
    (files / NAME).write_bytes(content)
    refuses(files, "is damaged")


def test_a_file_that_cannot_be_read_is_no_reason_for_another(files: Path) -> None:
    (files / NAME).unlink()
    (files / NAME).mkdir()
    refuses(files, "Is a directory")


@pytest.mark.parametrize("left", ["charger.sqlite", "charger.sqlite.corrupt-1"])
def test_a_charger_whose_file_is_gone_does_not_become_another(files: Path, left: str) -> None:
    right, before = (files / NAME).read_bytes(), started(files)
    (files / NAME).unlink()
    (files / "charger.sqlite").rename(files / left)
    with pytest.raises(StoreFailed, match=r"is missing\. .* put a copy of it back"):
        SQLiteStore(files)
    assert not (files / NAME).exists()
    (files / left).rename(files / "charger.sqlite")
    (files / NAME).write_bytes(right)
    assert started(files) == before


def test_with_everything_moved_away_another_charger_begins(files: Path) -> None:
    before, _ = started(files)
    shutil.rmtree(files)
    now, state = started(files)
    assert now != before
    assert state is None
    assert started(files)[0] == now
