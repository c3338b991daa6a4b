"""Software updates: fetched aside, verified, and switched to in one step or not at all.

An older version is installed like any other: this layer does not judge. A charger whose software
no longer knows the passcode stays closed; that is the guard's business.
"""

import asyncio
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import ParamSpec

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from chargepin.charger.ports import Images, UpdateProgress, UpdateState
from chargepin.core.catalogue import Family, Version
from chargepin.core.decoding import decoded
from chargepin.core.release import Manifest, ManifestError, SignedManifest, verified
from chargepin.machine.files import private_directory, read_private, set_aside, write_private

USUAL_PACE_S = 1.0
"""How long a simulated download takes."""

OLDEST_APP = Version(0, 1, 0)
"""The oldest app for software that no release describes."""

_SWITCH = "software.json"
_STAGE = "update"
_PIECE_BYTES = 4096
_BLOCK_BYTES = hashlib.sha256().digest_size
_DOWNLOADED_PERCENT = 90
_PAYLOAD = b"chargepin simulated image 1"


_P = ParamSpec("_P")


class _Software(msgspec.Struct, frozen=True):
    """The switch: one small file that says what runs."""

    version: str


class _Releases(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    maker_key: str
    releases: tuple[SignedManifest, ...]


class _UpdateFailed(Exception):
    """Why an update ended without effect, in a sentence for a person."""


def installed_version(directory: Path, factory: Version) -> Version:
    """What runs: the update kept in the charger's directory, else what left the factory.

    A switch file that cannot be understood is set aside, and the factory's software runs: if that
    is too old for a passcode that is set, the charger stays closed. Raises OSError.
    """
    path = directory / _SWITCH
    try:
        software = decoded(read_private(path), _Software)
        return Version.parse(software.version)
    except FileNotFoundError:
        return factory
    except ValueError:
        set_aside(path)
        return factory


class ShippedImages:
    """The Images port on releases that come with this package, signed by a simulated maker.

    A simulated image is pseudo-random bytes that follow from its version. maker_key is trusted
    because it came with the program; the releases are verified against it all the same, as those
    of a real maker's download would be.
    """

    def __init__(self) -> None:
        raw = resources.files("chargepin.charger").joinpath("releases.json").read_bytes()
        shipped = msgspec.json.decode(raw, type=_Releases)
        self.maker_key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(shipped.maker_key))
        self._releases = shipped.releases

    def releases(self) -> Sequence[SignedManifest]:
        """Everything on offer, for every family."""
        return self._releases

    def open(self, manifest: Manifest) -> Iterator[bytes]:
        """The image, in pieces of 4 KiB."""
        return simulated_image(manifest.software, manifest.size_bytes)


def simulated_image(version: Version, size_bytes: int) -> Iterator[bytes]:
    """Give the bytes that stand for a version's software: SHA-256 over a counter."""
    seed = _PAYLOAD + version.encode()
    for start in range(0, size_bytes, _PIECE_BYTES):
        length = min(_PIECE_BYTES, size_bytes - start)
        blocks = range(start, start + length, _BLOCK_BYTES)
        piece = b"".join(hashlib.sha256(seed + at.to_bytes(8, "big")).digest() for at in blocks)
        yield piece[:length]


class Updater:
    """The Updates port: releases for one family, installed into one charger's directory.

    pace_s: how long a download takes at least, in running seconds; 0 for as fast as it goes.
    """

    def __init__(
        self,
        directory: Path,
        family: Family,
        factory: Version,
        images: Images,
        maker_key: Ed25519PublicKey,
        *,
        pace_s: float = USUAL_PACE_S,
    ) -> None:
        self._directory = directory
        self._family = family
        self._factory = factory
        self._images = images
        self._maker_key = maker_key
        self._pace_s = pace_s
        self._installed = installed_version(directory, factory)
        self._progress = UpdateProgress()
        self._running = False

    @property
    def installed(self) -> Version:
        """What runs, or will run after the restart that an update asks for."""
        return self._installed

    @property
    def progress(self) -> UpdateProgress:
        """Where the update is, or how the last one ended."""
        return self._progress

    @property
    def oldest_app(self) -> Version:
        """The oldest app that may talk to the installed software."""
        for manifest in self._trusted():
            if manifest.software == self._installed:
                return Version.parse(manifest.oldest_app)
        return OLDEST_APP

    def newest(self) -> Version | None:
        """The newest verified release for this family, if newer than installed."""
        newest = max((each.software for each in self._trusted()), default=self._installed)
        return newest if newest > self._installed else None

    def offers(self, version: Version) -> bool:
        """Whether there is a verified release of that version for this family."""
        return any(each.software == version for each in self._trusted())

    async def run(
        self, version: Version | None, on_progress: Callable[[UpdateProgress], None]
    ) -> UpdateProgress:
        """Install a version, None the newest; older ones too.

        Nothing is raised for what can go wrong: the last progress says FAILED and why, and the old
        software stays. While another update runs nothing is done, and its progress is returned.
        """
        if self._running:
            return self._progress
        self._running = True

        def report(progress: UpdateProgress) -> None:
            if progress != self._progress:
                self._progress = progress
                on_progress(progress)

        try:
            report(UpdateProgress(UpdateState.DOWNLOADING))
            await self._install(self._chosen(version), report)
            report(UpdateProgress(UpdateState.INSTALLED, 100))
        except _UpdateFailed as failure:
            report(UpdateProgress(UpdateState.FAILED, self._progress.percent, str(failure)))
        except OSError as error:
            report(UpdateProgress(UpdateState.FAILED, self._progress.percent, _told(error)))
        except asyncio.CancelledError:
            self._progress = UpdateProgress(UpdateState.FAILED, error="The update was broken off.")
            raise
        finally:
            self._running = False
        return self._progress

    async def _install(self, manifest: Manifest, report: Callable[[UpdateProgress], None]) -> None:
        stage = _Stage(self._directory / _STAGE, manifest)
        try:
            await _to_its_end(stage.begin)
            for piece in self._pieces(manifest):
                await _to_its_end(stage.add, piece)
                percent = stage.size_bytes * _DOWNLOADED_PERCENT // manifest.size_bytes
                report(UpdateProgress(UpdateState.DOWNLOADING, percent))
                await asyncio.sleep(self._pace_s * len(piece) / manifest.size_bytes)
            report(UpdateProgress(UpdateState.VERIFYING, _DOWNLOADED_PERCENT))
            await _to_its_end(stage.finish)
            switch = msgspec.json.encode(_Software(manifest.version))
            await _to_its_end(write_private, self._directory / _SWITCH, switch)
        finally:
            stage.discard()
            self._installed = installed_version(self._directory, self._factory)

    def _pieces(self, manifest: Manifest) -> Iterator[bytes]:
        try:
            yield from self._images.open(manifest)
        except OSError as error:
            reason = error.strerror or "no answer"
            raise _UpdateFailed(f"The software could not be fetched: {reason}.") from error

    def _chosen(self, version: Version | None) -> Manifest:
        """Find the release to install, and say exactly why there is none."""
        wanted = version or self.newest()
        if wanted is None:
            raise _UpdateFailed(f"There is no newer software than {self._installed}.")
        offered = [each for each in self._offered() if each.manifest.software == wanted]
        if not offered:
            raise _UpdateFailed(f"There is no software {wanted} on offer.")
        for_family = [each for each in offered if self._family.key in each.manifest.families]
        if not for_family:
            raise _UpdateFailed(f"Software {wanted} is not for {self._family.display_name}.")
        trusted = [each for each in self._trusted() if each.software == wanted]
        if not trusted:
            raise _UpdateFailed(f"Software {wanted} is refused: its maker has not signed it.")
        return trusted[0]

    def _trusted(self) -> list[Manifest]:
        trusted = []
        for release in self._offered():
            try:
                manifest = verified(release, self._maker_key)
            except ManifestError:
                continue
            if self._family.key in manifest.families:
                trusted.append(manifest)
        return trusted

    def _offered(self) -> Sequence[SignedManifest]:
        try:
            return self._images.releases()
        except OSError:
            return ()  # out of reach is nothing on offer


class _Stage:
    """Where an image waits to be verified: a private file beside everything that matters."""

    def __init__(self, directory: Path, manifest: Manifest) -> None:
        self.size_bytes = 0
        self._directory = directory
        self._manifest = manifest
        self._path = directory / "image"

    def begin(self) -> None:
        """Make room, and remove what an update that was broken off has left."""
        private_directory(self._directory)
        self.discard()
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY
        os.close(os.open(self._path, flags, mode=0o600))

    def add(self, piece: bytes) -> None:
        """Keep a piece. Raises OSError, and _UpdateFailed for more than was announced."""
        self.size_bytes += len(piece)
        if self.size_bytes > self._manifest.size_bytes:
            raise _UpdateFailed("The software is longer than announced.")
        with self._path.open("ab") as file:
            file.write(piece)

    def finish(self) -> None:
        """Verify what the disk gives back, not what was sent to it. Raises _UpdateFailed."""
        with self._path.open("rb") as file:
            os.fsync(file.fileno())
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if self.size_bytes != self._manifest.size_bytes:
            raise _UpdateFailed("The software is shorter than announced.")
        if found != self._manifest.sha256:
            raise _UpdateFailed("The software is not what its maker signed.")

    def discard(self) -> None:
        """Remove the image: the simulator runs no image, real hardware has taken it by now."""
        self._path.unlink(missing_ok=True)


async def _to_its_end(work: Callable[_P, None], *args: _P.args, **kwargs: _P.kwargs) -> None:
    """Run disk work in a thread; when broken off, still wait for it.

    Otherwise a thread left alone would write into what is being cleared up.
    """
    task = asyncio.create_task(asyncio.to_thread(work, *args, **kwargs))
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.gather(task, return_exceptions=True)
        raise


def _told(error: OSError) -> str:
    return f"The software could not be stored: {error.strerror or 'the disk failed'}."
