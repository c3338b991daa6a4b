"""Which kernel the guest gets, where Debian's archive no longer has the one that is wanted."""

from pathlib import Path

import pytest

from bluez.image import KERNEL_VARIABLE, KERNELS, kernel

PINNED, NEXT, LAST = KERNELS
NEWEST = "linux-image-6.12.200+deb12-amd64"


class Archive:
    """Stands for Debian's: what it lists, what of it is gone, what leads where."""

    def __init__(self, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._place = place
        self.debs = place / "debs"
        self.debs.mkdir()
        monkeypatch.setenv("PATH", f"{place}:/usr/bin:/bin")
        monkeypatch.delenv(KERNEL_VARIABLE, raising=False)

    def has(self, listed: str, leads_to: str = "", gone: str = "nothing") -> None:
        self._write(
            "apt-cache",
            f'case " {listed} " in *" $2 "*) ;; *) echo "no $2" >&2; exit 100;; esac\n'
            f'[ "$1 {leads_to}" = "depends " ] || echo "  Depends: {leads_to}"\n',
        )
        self._write(
            "apt-get",
            f'for last; do :; done\n[ "$last" = "{gone}" ] && echo "404 $last" >&2 && exit 100\n'
            'touch "${last}_1_amd64.deb"\n',
        )

    def _write(self, name: str, script: str) -> None:
        program = self._place / name
        program.write_text(f"#!/bin/sh\n{script}")
        program.chmod(0o755)


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Archive:
    return Archive(tmp_path, monkeypatch)


def test_the_pinned_one_where_it_is(archive: Archive) -> None:
    archive.has(f"{PINNED} {NEXT} {LAST}")
    assert kernel(archive.debs).name == f"{PINNED}_1_amd64.deb"


def test_the_next_one_where_it_is_listed_no_longer(archive: Archive) -> None:
    archive.has(f"{NEXT} {LAST}", leads_to=NEWEST)
    assert kernel(archive.debs).name == f"{NEWEST}_1_amd64.deb"


def test_the_next_one_where_it_is_listed_but_gone(archive: Archive) -> None:
    archive.has(f"{PINNED} {LAST}", gone=PINNED)
    assert kernel(archive.debs).name == f"{LAST}_1_amd64.deb"


def test_none_is_said_with_every_reason(archive: Archive) -> None:
    archive.has("", gone=PINNED)
    with pytest.raises(RuntimeError, match="no kernel for the guest") as told:
        kernel(archive.debs)
    for name in KERNELS:
        assert f"no {name}" in str(told.value)


def test_one_by_name(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    archive.has(f"{PINNED} {NEWEST}")
    monkeypatch.setenv(KERNEL_VARIABLE, NEWEST)
    assert kernel(archive.debs).name == f"{NEWEST}_1_amd64.deb"
