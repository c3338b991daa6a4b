import asyncio
import errno
import hashlib
import json
import resource
import shutil
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec.structs import replace

from chargepin.charger.ports import Images, UpdateProgress, Updates, UpdateState
from chargepin.charger.update import (
    OLDEST_APP,
    ShippedImages,
    Updater,
    installed_version,
    simulated_image,
)
from chargepin.core.catalogue import FAMILIES, Version
from chargepin.core.release import Manifest, SignedManifest, signed, verified
from manual_loop import ManualLoop

PLUS = FAMILIES["pulsar-plus"]
MAX = FAMILIES["pulsar-max"]
OLD = Version(6, 7, 10)
NEW = Version(6, 7, 17)
MAKER = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
IMAGE = b"".join(simulated_image(NEW, 20_000))
MANIFEST = Manifest(
    version=str(NEW),
    families=("pulsar-plus",),
    size_bytes=len(IMAGE),
    sha256=hashlib.sha256(IMAGE).hexdigest(),
    oldest_app="0.3.0",
)


class Shelf:
    """A maker's download place, with one release or another one's."""

    def __init__(self, *releases: SignedManifest, image: bytes = IMAGE) -> None:
        self.image = image
        self.reachable = True
        self.breaks_off = False
        self._releases = releases or (signed(MANIFEST, MAKER),)

    def releases(self) -> Sequence[SignedManifest]:
        if not self.reachable:
            raise OSError(errno.ENETUNREACH, "Network is unreachable")
        return self._releases

    def open(self, manifest: Manifest) -> Iterator[bytes]:
        assert manifest.version
        yield self.image[:9000]
        if self.breaks_off:
            raise OSError(errno.ENETUNREACH, "Network is unreachable")
        yield self.image[9000:]


def updater(directory: Path, images: Images | None = None) -> Updater:
    return Updater(directory, PLUS, OLD, images or Shelf(), MAKER.public_key(), pace_s=0)


def shipped(directory: Path, factory: Version = OLD, **options: float) -> Updater:
    images = ShippedImages()
    return Updater(directory, PLUS, factory, images, images.maker_key, **options)


def staged(directory: Path) -> list[Path]:
    return list(directory.glob("update/*"))


async def failure(directory: Path, images: Images, version: Version | None = NEW) -> str:
    """Run an update that must fail and leave everything as it was."""
    update = updater(directory, images)
    last = await update.run(version, lambda _: None)
    assert last is update.progress
    assert last.state is UpdateState.FAILED
    assert update.installed == OLD == installed_version(directory, OLD)
    assert not (directory / "software.json").exists()
    assert staged(directory) == []
    return last.error or ""


# What ships


def test_every_shipped_release_is_what_was_signed() -> None:
    images = ShippedImages()
    versions = []
    for release in images.releases():
        manifest = verified(release, images.maker_key)
        image = b"".join(images.open(manifest))
        assert len(image) == manifest.size_bytes == 256 * 1024
        assert hashlib.sha256(image).hexdigest() == manifest.sha256
        assert set(manifest.families) <= set(FAMILIES)
        versions.append(manifest.version)
    assert versions == ["6.1.12", "6.7.10", "6.7.17", "6.7.38", "6.11.16", "6.13.3"]


def test_every_family_can_be_brought_to_the_passcode(tmp_path: Path) -> None:
    images = ShippedImages()
    for family in FAMILIES.values():
        newest = Updater(tmp_path, family, OLD, images, images.maker_key).newest()
        assert newest is not None
        assert newest >= NEW


def test_an_image_follows_from_its_version() -> None:
    assert b"".join(simulated_image(NEW, 5000)) == IMAGE[:5000]
    assert b"".join(simulated_image(OLD, 5000)) != IMAGE[:5000]


# What runs


def test_the_factory_software_runs_until_an_update(tmp_path: Path) -> None:
    assert installed_version(tmp_path, OLD) == OLD
    (tmp_path / "software.json").write_text('{"version":"6.11.16"}')
    assert installed_version(tmp_path, OLD) == Version(6, 11, 16)


@pytest.mark.parametrize("content", ["", "{}", '{"version":"new"}', '{"version":7}', "[" * 9999])
def test_a_damaged_switch_is_set_aside(tmp_path: Path, content: str) -> None:
    (tmp_path / "software.json").write_text(content)
    assert installed_version(tmp_path, OLD) == OLD
    assert (tmp_path / "software.json.corrupt-1").read_text() == content
    assert installed_version(tmp_path, OLD) == OLD


# What is on offer


def test_the_newest_for_this_family_is_offered(tmp_path: Path) -> None:
    update: Updates = shipped(tmp_path)
    assert update.installed == OLD
    assert update.newest() == Version(6, 11, 16)
    assert update.offers(NEW)
    assert not update.offers(Version(6, 13, 3))
    assert shipped(tmp_path, Version(6, 11, 16)).newest() is None


def test_what_the_maker_has_not_signed_is_not_offered(tmp_path: Path) -> None:
    stranger = Ed25519PrivateKey.from_private_bytes(bytes(32))
    update = updater(tmp_path, Shelf(signed(MANIFEST, stranger)))
    assert update.newest() is None
    assert not update.offers(NEW)


def test_nothing_is_on_offer_out_of_reach(tmp_path: Path) -> None:
    shelf = Shelf()
    shelf.reachable = False
    assert updater(tmp_path, shelf).newest() is None


async def test_the_release_names_the_oldest_app(tmp_path: Path) -> None:
    update = updater(tmp_path)
    assert update.oldest_app == OLDEST_APP
    await update.run(NEW, lambda _: None)
    assert update.oldest_app == Version(0, 3, 0)


# Installing


async def test_an_update(tmp_path: Path) -> None:
    seen: list[UpdateProgress] = []
    update = shipped(tmp_path, pace_s=0)
    last = await update.run(None, seen.append)
    assert last == UpdateProgress(UpdateState.INSTALLED, 100) == seen[-1]
    assert seen[0] == UpdateProgress(UpdateState.DOWNLOADING, 0)
    assert [each.percent for each in seen] == sorted(each.percent for each in seen)
    assert len(seen) > 60
    assert update.installed == Version(6, 11, 16) == installed_version(tmp_path, OLD)
    assert shipped(tmp_path).installed == Version(6, 11, 16)


async def test_what_is_kept_is_private(tmp_path: Path) -> None:
    modes = set[int]()

    def look(_: UpdateProgress) -> None:
        kept = (path for path in tmp_path.rglob("*") if path.is_file())
        modes.update(path.stat().st_mode & 0o777 for path in kept)

    await updater(tmp_path).run(NEW, look)
    assert modes == {0o600}
    assert (tmp_path / "update").stat().st_mode & 0o777 == 0o700
    assert json.loads((tmp_path / "software.json").read_text()) == {"version": "6.7.17"}
    assert staged(tmp_path) == []


async def test_an_older_version_can_be_installed(tmp_path: Path) -> None:
    update = shipped(tmp_path, Version(6, 7, 38), pace_s=0)
    await update.run(Version(6, 1, 12), lambda _: None)
    assert update.installed == Version(6, 1, 12)


async def test_the_power_may_go_at_any_step(tmp_path: Path) -> None:
    charger, cuts = tmp_path / "charger", list[Path]()
    charger.mkdir()

    def cut(_: UpdateProgress) -> None:
        cuts.append(Path(shutil.copytree(charger, tmp_path / f"cut-{len(cuts)}")))

    await updater(charger).run(NEW, cut)
    versions = [installed_version(each, OLD) for each in cuts]
    assert versions == [OLD] * (len(cuts) - 1) + [NEW]
    assert any(staged(each) for each in cuts)
    for each in cuts:  # what was left behind stops no later update
        assert (await updater(each).run(NEW, lambda _: None)).state is UpdateState.INSTALLED


async def test_an_update_that_is_broken_off(tmp_path: Path) -> None:
    started = asyncio.Event()
    update = shipped(tmp_path, pace_s=3600)
    task = asyncio.create_task(update.run(NEW, lambda _: started.set()))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert update.progress.state is UpdateState.FAILED
    assert update.progress.error == "The update was broken off."
    assert update.installed == OLD
    assert staged(tmp_path) == []


async def test_one_update_at_a_time(tmp_path: Path) -> None:
    update = updater(tmp_path)
    first = asyncio.create_task(update.run(NEW, lambda _: None))
    await asyncio.sleep(0)
    second = await update.run(OLD, lambda _: None)
    assert second.state is UpdateState.DOWNLOADING
    assert (await first).state is UpdateState.INSTALLED
    assert update.installed == NEW


def test_a_download_keeps_its_pace(tmp_path: Path) -> None:
    loop = ManualLoop()

    async def watch() -> float:
        update = shipped(tmp_path, pace_s=3600)
        began = loop.time()
        task = asyncio.create_task(update.run(NEW, lambda _: None))
        while not task.done():
            loop.advance(10)
            await asyncio.sleep(0)
        assert update.installed == NEW
        return loop.time() - began

    try:
        assert loop.run_until_complete(watch()) >= 3600
    finally:
        loop.close()


# What can go wrong


async def test_a_release_that_is_not_signed(tmp_path: Path) -> None:
    forged = SignedManifest(replace(MANIFEST, notes="trust me"), signed(MANIFEST, MAKER).signature)
    assert "not signed" in await failure(tmp_path, Shelf(forged))


async def test_a_forgery_does_not_hide_the_true_release(tmp_path: Path) -> None:
    forged = SignedManifest(MANIFEST, "00" * 64)
    update = updater(tmp_path, Shelf(forged, signed(MANIFEST, MAKER)))
    assert (await update.run(NEW, lambda _: None)).state is UpdateState.INSTALLED


async def test_a_changed_image(tmp_path: Path) -> None:
    changed = bytes([IMAGE[0] ^ 1]) + IMAGE[1:]
    assert "not what its maker signed" in await failure(tmp_path, Shelf(image=changed))


async def test_an_image_of_another_length(tmp_path: Path) -> None:
    assert "longer" in await failure(tmp_path, Shelf(image=IMAGE + b"x"))
    assert "shorter" in await failure(tmp_path, Shelf(image=IMAGE[:-1]))


async def test_another_familys_software(tmp_path: Path) -> None:
    other = signed(replace(MANIFEST, families=("pulsar-max",)), MAKER)
    assert "not for Pulsar Plus" in await failure(tmp_path, Shelf(other))


async def test_software_that_is_not_there(tmp_path: Path) -> None:
    assert "no software 9.9.9" in await failure(tmp_path, Shelf(), Version(9, 9, 9))
    older = signed(replace(MANIFEST, version="6.1.12"), MAKER)
    assert "no newer" in await failure(tmp_path, Shelf(older), None)


async def test_a_download_that_breaks_off(tmp_path: Path) -> None:
    shelf = Shelf()
    shelf.breaks_off = True
    assert "could not be fetched: Network" in await failure(tmp_path, shelf)


async def test_a_full_disk(tmp_path: Path) -> None:
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        assert "could not be stored" in await failure(tmp_path, Shelf())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)


async def test_no_room_for_the_download(tmp_path: Path) -> None:
    (tmp_path / "update").write_text("in the way")
    assert "could not be stored" in await failure(tmp_path, Shelf())


async def test_after_a_failure_another_try_may_succeed(tmp_path: Path) -> None:
    shelf = Shelf()
    shelf.breaks_off = True
    update = updater(tmp_path, shelf)
    assert (await update.run(NEW, lambda _: None)).state is UpdateState.FAILED
    shelf.breaks_off = False
    assert (await update.run(NEW, lambda _: None)).state is UpdateState.INSTALLED
    assert update.progress.error is None
