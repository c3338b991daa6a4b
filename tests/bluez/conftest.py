"""One guest and one radio for all of these tests; what they leave is kept when one fails."""

import fcntl
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bluez.image import CACHE, INSTALL, ROOT, Image, built, missing
from bluez.programs import running, serving
from bluez.virtual_machine import VirtualMachine
from needs import not_here

OPEN, PROTECTED, PASSCODE = "WB100001", "WB100002", "482913"
FAILED = CACHE / "failed"


@dataclass(frozen=True, slots=True)
class World:
    """The guest, and what is on the radio around it."""

    guest: VirtualMachine
    radio: str
    directory: Path


@pytest.fixture(scope="session")
def image(kept: None) -> Image:
    del kept  # it ends after everything that needs the image
    if platform.machine() != "x86_64" or missing():
        not_here(f"needs {', '.join(missing()) or 'an x86-64 Debian'}: {INSTALL}")
    try:
        return built()
    except RuntimeError as error:
        not_here(f"the guest cannot be built: {error}")


@pytest.fixture(scope="session")
def world(image: Image, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    directory = tmp_path_factory.mktemp("bluez")
    factory = directory / "factory-passcode"
    factory.write_text(PASSCODE)
    capture = directory / "radio.btsnoop"
    with ExitStack() as stack:
        listen = ("--listen", "tcp:127.0.0.1:0", "--capture", str(capture))
        radio = stack.enter_context(serving(directory / "radio.log", "radio", *listen)).listen
        for name, model, more in (
            (OPEN, "pulsar-plus", ()),
            (PROTECTED, "pulsar-max", ("--factory-passcode-file", str(factory))),
        ):
            about = ("--serial", name[2:], "--model", model, "--data", str(directory / name))
            charger = ("charger", *about, "--radio", radio, *more)
            stack.enter_context(serving(directory / f"{name}.log", *charger))
        scripted = str(ROOT / "tests/app/scripted_charger.py")
        stack.enter_context(running(directory / "scripted.log", scripted, radio))
        guest = stack.enter_context(VirtualMachine(image, radio, directory / "guest"))
        _GUESTS.append(guest)
        yield World(guest, radio, directory)
        guest.keep()


@pytest.fixture
def guest(world: World) -> VirtualMachine:
    return world.guest


@pytest.fixture(scope="session")
def kept(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """Keep every log of a session in which a test failed, once all programs have ended.

    Each process that runs tests has a place of its own.
    """
    _clear_once()
    yield
    if request.session.testsfailed:
        for directory in tmp_path_factory.getbasetemp().glob("bluez*[0-9]"):
            kept = FAILED / os.environ.get("PYTEST_XDIST_WORKER", "alone") / directory.name
            shutil.copytree(directory, kept, ignore=_no_secrets)
            for capture in kept.rglob("*.btsnoop"):
                _write_pairings(capture)


def _clear_once() -> None:
    """Remove what an earlier run left; whoever of this run comes later leaves it alone."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "run").open("a+") as seen:
        fcntl.flock(seen, fcntl.LOCK_EX)
        seen.seek(0)
        if seen.read() != run:
            shutil.rmtree(FAILED, ignore_errors=True)
            seen.truncate(0)
            seen.write(run)


def _no_secrets(_: str, names: list[str]) -> set[str]:
    """Charger's data, apps' homes and passcode files are left out."""
    return {name for name in names if re.fullmatch(r"WB\d+|home.*|.*passcode.*", name)}


def _write_pairings(capture: Path) -> None:
    """Beside a capture, every SMP packet in it as text, where tshark is there."""
    if shutil.which("tshark"):
        with capture.with_name("smp.txt").open("wb") as text:
            command = ["tshark", "-r", str(capture), "-t", "ad", "-Y", "btsmp", "-O", "btsmp"]
            subprocess.run(command, stdout=text, stderr=subprocess.DEVNULL, check=False)


_GUESTS: list[VirtualMachine] = []
_TOLD: list[str] = []  # by processes that ran tests for this one


def _about_guests() -> list[str]:
    said = []
    for guest in _GUESTS:
        known = "" if guest.image.pinned else ", not the one that these tests were written with"
        said.append(f"Guest: Linux {guest.kernel}{known}; booted in {guest.booted_s:.0f} s.")
    return said


def pytest_sessionfinish(session: pytest.Session) -> None:
    if (output := getattr(session.config, "workeroutput", None)) is not None:
        output["guests"] = _about_guests()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    _TOLD.extend(getattr(node, "workeroutput", {}).get("guests", ()))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for line in _about_guests() + _TOLD:
        terminalreporter.line(line)
    if FAILED.is_dir():
        terminalreporter.line(f"The guest's logs and what was in the air are in {FAILED}.")
