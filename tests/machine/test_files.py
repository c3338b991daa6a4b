import os
import resource
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from chargepin.machine.files import (
    keep_aside,
    lock_directory,
    private_directory,
    read_private,
    set_aside,
    write_private,
)

_WRITE_TOO_MUCH = """
import pathlib, sys
from chargepin.machine.files import write_private
try:
    write_private(pathlib.Path(sys.argv[1]), bytes(100_000))
except OSError:
    print("refused")
"""


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(params=[0o000, 0o022, 0o777], ids=["umask 000", "umask 022", "umask 777"])
def any_umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


@pytest.mark.usefixtures("any_umask")
def test_new_file_is_private(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    write_private(path, b"one")
    assert mode(path) == 0o600
    assert read_private(path) == b"one"


def test_replacing_makes_an_open_file_private_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_bytes(b"old")
    path.chmod(0o644)
    write_private(path, b"new")
    assert read_private(path) == b"new"
    assert mode(path) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_reader_of_the_old_file_keeps_reading_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    write_private(path, b"old")
    with path.open("rb") as reader:
        write_private(path, b"new")
        assert reader.read() == b"old"


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    write_private(path, b"old")
    # A child with a limit on file sizes: its kernel refuses to write past it, as on a full disk.
    child = subprocess.run(
        [
            sys.executable,
            "-c",
            _WRITE_TOO_MUCH,
            str(path),
        ],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000)),
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert child.stdout == "refused\n"
    assert read_private(path) == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_directory_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_private(tmp_path / "missing" / "secret", b"x")


@pytest.mark.usefixtures("any_umask")
def test_directories_made_are_private(tmp_path: Path) -> None:
    deep = tmp_path / "one" / "two"
    assert private_directory(deep) == deep
    assert mode(deep) == mode(deep.parent) == 0o700


def test_a_directory_that_is_there_keeps_its_mode(tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.mkdir()
    there.chmod(0o755)
    private_directory(there)
    assert mode(there) == 0o755


def test_a_file_in_the_place_of_a_directory_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(NotADirectoryError):
        private_directory(tmp_path / "file")
    with pytest.raises(NotADirectoryError):
        private_directory(tmp_path / "file" / "below")


def test_what_is_set_aside_is_numbered_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "vault.json"
    for content in (b"first", b"second"):
        write_private(path, content)
        set_aside(path)
    assert not path.exists()
    assert (tmp_path / "vault.json.corrupt-1").read_bytes() == b"first"
    assert (tmp_path / "vault.json.corrupt-2").read_bytes() == b"second"


def test_what_belongs_to_a_file_goes_with_it(tmp_path: Path) -> None:
    (tmp_path / "db").write_bytes(b"main")
    (tmp_path / "db-wal").write_bytes(b"log")
    aside = set_aside(tmp_path / "db", "-wal", "-shm")
    assert aside.name == "db.corrupt-1"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["db.corrupt-1", "db.corrupt-1-wal"]


def test_what_is_kept_aside_is_private_and_kept_once(tmp_path: Path) -> None:
    path = tmp_path / "log"
    first = keep_aside(path, b"first")
    assert keep_aside(path, b"second").name == "log.corrupt-2"
    assert keep_aside(path, b"first") == first == tmp_path / "log.corrupt-1"
    assert first.read_bytes() == b"first"
    assert stat.S_IMODE(first.stat().st_mode) == 0o600
    assert len(list(tmp_path.iterdir())) == 2


def test_a_directory_is_locked_until_it_is_let_go(tmp_path: Path) -> None:
    held = lock_directory(tmp_path)
    with pytest.raises(BlockingIOError):
        lock_directory(tmp_path)
    os.close(held)
    os.close(lock_directory(tmp_path))
    assert list(tmp_path.iterdir()) == []
