"""Builds the guest: Debian's kernel with a virtual Bluetooth adapter, BlueZ, Python, our wheels.

All of it is one initramfs, so nothing needs a disk, root or a network once it is built. What
changes with every edit (this project's own code) is laid over it at each start.
"""

import fcntl
import hashlib
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

ROOT: Final = Path(__file__).parents[2]
CACHE: Final = ROOT / ".cache" / "bluez"
# In this order, the first that Debian still has. Later builds of 6.1 (6.1.192) have a fault that
# stops the machine when a peripheral has forgotten the bond with this central: list_del in
# hci_chan_del. The last two are whatever is newest of their line.
KERNELS: Final = ("linux-image-6.1.0-50-amd64", "linux-image-6.12-amd64", "linux-image-amd64")
KERNEL_VARIABLE: Final = "CHARGEPIN_GUEST_KERNEL"  # names another, to try it
PACKAGES: Final = ("bluez", "bluez-test-tools", "busybox-static", "dbus-daemon", "kmod", "python3")
MODULES: Final = (
    *("drbg", "jitterentropy_rng", "hmac", "sha512_generic", "sha256_generic"),  # for ECDH
    *("virtio_pci", "virtio_console", "bluetooth", "hci_vhci", "uhid", "hid", "hid_generic"),
    *("algif_skcipher", "algif_hash", "cmac", "ccm", "ecdh_generic", "ecb", "ctr"),
)
WHEELS: Final = (
    *("annotated-doc", "anyio", "bleak", "bumble", "certifi", "cffi"),
    *("cryptography", "pyee"),
    *("dbus-fast", "h11", "httpcore", "httpx", "idna", "markdown-it-py", "mdurl", "msgspec"),
    *("pycparser", "pygments", "rich", "shellingham", "typer"),
    "typing-extensions",
)
PLATFORMS: Final = ("manylinux_2_34_x86_64", "manylinux_2_28_x86_64", "manylinux2014_x86_64")
TOOLS: Final = ("qemu-system-x86_64", "apt-get", "apt-cache", "dpkg-deb", "depmod", "modprobe")
INSTALL: Final = "apt-get update && apt-get install qemu-system-x86 kmod"
_NOT_NEEDED: Final = re.compile(
    r"(linux-image|perl|usrmerge|debconf|dpkg_|tar_|adduser|lsb-base|libperl|gcc-12-base|libdb5"
    r"|libsemanage|passwd|libpam|sysvinit|libgdbm|libasound2-data|media-types|udev_|init-system)"
)
_LEFT_OUT: Final = (
    *("./usr/share/doc*", "./usr/share/man*", "./usr/share/locale*", "./usr/share/info*"),
    *("./usr/share/lintian*", "./usr/share/zoneinfo*", "./usr/lib/x86_64-linux-gnu/gconv"),
    *("./usr/lib/python3*/test", "./usr/lib/python3*/idlelib", "./usr/lib/python3*/lib2to3"),
    *("./usr/lib/python3*/pydoc_data", "./usr/lib/python3*/ensurepip", "*/__pycache__"),
)
_USERS: Final = """\
root:x:0:0:root:/root:/bin/sh
messagebus:x:101:101::/nonexistent:/bin/false
stranger:x:1000:1000::/tmp:/bin/sh
"""
_GROUPS: Final = "root:x:0:\nmessagebus:x:101:\nbluetooth:x:102:\nstranger:x:1000:\n"


@dataclass(frozen=True, slots=True)
class Image:
    """A kernel, archives to lay over each other, and what is in them.

    python: of the guest. package: the kernel's.
    """

    kernel: Path
    archives: tuple[Path, ...]
    python: tuple[int, int]
    package: str

    @property
    def pinned(self) -> bool:
        """Whether the kernel is the one that is known to be sound."""
        return self.package == KERNELS[0]


def missing() -> list[str]:
    """The tools that are not there."""
    return [tool for tool in TOOLS if shutil.which(tool, path=_path()) is None]


def built() -> Image:
    """The image, from the cache where nothing that goes into it has changed."""
    CACHE.mkdir(parents=True, exist_ok=True)
    source = Path(__file__).read_bytes() + os.environ.get(KERNEL_VARIABLE, "").encode()
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        system = _cached("system", source, _build_system)
        major, minor, package = (system / "about").read_text().split()
        python = (int(major), int(minor))
        inputs = source + _locked_wheels().encode()
        wheels = _cached("wheels", inputs, lambda place: _build_wheels(place, python))
    archives = (system / "archive.cpio", wheels / "archive.cpio")
    return Image(system / "vmlinuz", archives, python, package)


def _cached(name: str, inputs: bytes, build: Callable[[Path], None]) -> Path:
    place = CACHE / f"{name}-{hashlib.sha256(inputs).hexdigest()[:16]}"
    if not place.is_dir():
        for old in CACHE.glob(f"{name}-*"):
            shutil.rmtree(old)
        making = CACHE / "making"
        shutil.rmtree(making, ignore_errors=True)
        making.mkdir()
        build(making)
        making.rename(place)
    return place


def _locked_wheels() -> str:
    """The part of the lock that the guest needs, hashes and all."""
    entries = re.split(r"(?m)^(?=[a-z])", (ROOT / "requirements.lock").read_text())
    return "".join(entry for entry in entries if entry.partition("==")[0] in WHEELS)


def _build_system(place: Path) -> None:
    debs, root = place / "debs", place / "root"
    kernel = _downloaded(debs)
    _unpack(debs, root)
    _install_kernel(kernel, place, root)
    library = next((root / "usr/lib").glob("python3.*"))
    _configure(root, library.name)
    python = (3, int(library.name.partition(".")[2]))
    _archive(root, place, python, library.relative_to(root))
    package = kernel.name.partition("_")[0]
    (place / "about").write_text(f"{python[0]} {python[1]} {package}\n")
    shutil.rmtree(debs)


def _build_wheels(place: Path, python: tuple[int, int]) -> None:
    root, packages = place / "root", Path("usr/lib/python3/dist-packages")
    _install_wheels(root / packages, python)
    _archive(root, place, python, packages)


def _archive(root: Path, place: Path, python: tuple[int, int], code: Path) -> None:
    compiled(root / code, python)
    with (place / "archive.cpio").open("wb") as archive:
        write_archive(archive, root)
    shutil.rmtree(root)


def _downloaded(debs: Path) -> Path:
    """Fetch the packages with all that they need, as if nothing were installed; gives the kernel.

    Raises RuntimeError.
    """
    (debs / "partial").mkdir(parents=True, exist_ok=True)
    options = [
        *("-o", "Dir::State::status=/dev/null", "-o", f"Dir::Cache::archives={debs}"),
        *("-o", "Debug::NoLocking=true"),
        *("-o", "Acquire::Retries=5", "-o", "Acquire::http::Timeout=30"),
    ]
    if os.getuid() == 0:
        options += ["-o", "APT::Sandbox::User=root"]
    get = ["apt-get", *options, "-y", "-qq", "--no-install-recommends", "--download-only"]
    _run([*get, "install", *PACKAGES])
    return kernel(debs, options)


def kernel(debs: Path, options: Sequence[str] = ()) -> Path:
    """Fetch the first kernel that can be had. Raises RuntimeError that says why none can."""
    chosen = os.environ.get(KERNEL_VARIABLE)
    complaints = []
    for name in (chosen,) if chosen else KERNELS:
        try:
            package = _package_of(name)
            _run(["apt-get", *options, "-qq", "download", package], cwd=debs)
            return next(debs.glob(f"{package}_*.deb"))
        except RuntimeError as error:
            complaints.append(f"{name}: {error}")
    raise RuntimeError(
        "no kernel for the guest can be had from Debian's archive; `apt-get update` may help. "
        + " ".join(complaints)
    )


def _package_of(name: str) -> str:
    """A kernel's own package, which some names only lead to. Raises RuntimeError."""
    _run(["apt-cache", "show", name])
    leads_to = re.search(r"Depends: (linux-image-\S+)", _run(["apt-cache", "depends", name]))
    return leads_to[1] if leads_to else name


def _unpack(debs: Path, root: Path) -> None:
    for name in ("bin", "sbin", "lib", "lib64"):
        (root / "usr" / name).mkdir(parents=True)
        (root / name).symlink_to(f"usr/{name}")
    left_out = [f"--exclude={each}" for each in _LEFT_OUT]
    for deb in sorted(debs.glob("*.deb")):
        if not _NOT_NEEDED.match(deb.name):
            _extract(deb, root, *left_out)


def _extract(deb: Path, place: Path, *options: str) -> None:
    unpacked = ["tar", "-x", "-C", str(place), "--keep-directory-symlink", *options]
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", deb], stdout=subprocess.PIPE) as reading:
        subprocess.run(unpacked, stdin=reading.stdout, check=True)


def _install_kernel(deb: Path, place: Path, root: Path) -> None:
    """The kernel, and of its modules those that are loaded."""
    unpacked = place / "kernel"
    unpacked.mkdir()
    _extract(deb, unpacked, "./boot", "./lib/modules")
    version = next((unpacked / "lib/modules").iterdir()).name
    shutil.copy(unpacked / "boot" / f"vmlinuz-{version}", place / "vmlinuz")
    _run(["depmod", "-b", str(unpacked), version])
    needed = set()
    show = ["modprobe", "-d", str(unpacked), "-S", version, "--show-depends"]
    for module in MODULES:
        for line in _run([*show, module]).splitlines():
            kind, path = line.split()[:2]
            if kind == "insmod":
                needed.add(Path(path))
    for source in needed:
        kept = root / "usr" / source.relative_to(unpacked)
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, kept)
    for index in ("modules.order", "modules.builtin", "modules.builtin.modinfo"):
        shutil.copy(unpacked / "lib/modules" / version / index, root / "usr/lib/modules" / version)
    _run(["depmod", "-b", str(root), version])
    shutil.rmtree(unpacked)


def _install_wheels(place: Path, python: tuple[int, int]) -> None:
    wanted = place / "wanted.txt"
    place.mkdir(parents=True, exist_ok=True)
    wanted.write_text(_locked_wheels())
    platforms = [word for each in PLATFORMS for word in ("--platform", each)]
    _run(
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", "--no-deps"),
            *("--disable-pip-version-check", "--require-hashes", "--only-binary", ":all:"),
            *("--retries", "5", "--timeout", "30"),
            *("--python-version", f"{python[0]}.{python[1]}", *platforms),
            *("--target", str(place), "--requirement", str(wanted)),
        ]
    )


def _configure(root: Path, python: str) -> None:
    for name in ("proc", "sys", "dev", "run", "tmp", "root", "opt", "var/lib/bluetooth"):
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / "tmp").chmod(0o1777)
    (root / "etc/passwd").write_text(_USERS)
    (root / "etc/group").write_text(_GROUPS)
    (root / "etc/machine-id").write_text("0123456789abcdef" * 2 + "\n")
    (root / "var/lib/dbus").mkdir(parents=True, exist_ok=True)
    (root / "var/lib/dbus/machine-id").symlink_to("/etc/machine-id")
    for name, target in (("sh", "busybox"), ("python3", python)):
        link = root / "usr/bin" / name
        if not link.is_symlink():
            link.symlink_to(target)


def compiled(place: Path, python: tuple[int, int]) -> None:
    """Make byte code here where this Python can: the guest's processor is emulated."""
    if python == sys.version_info[:2]:
        command = [sys.executable, "-m", "compileall", "-q", "--invalidation-mode"]
        _run([*command, "unchecked-hash", str(place)], check=False)  # some is no code for Python 3


def write_archive(archive: IO[bytes], root: Path) -> None:
    """Write a folder as an initramfs (newc); everything in it belongs to root."""
    for number, path in enumerate(sorted(root.rglob("*")), start=1):
        about = path.lstat()
        if stat.S_ISLNK(about.st_mode):
            data = str(path.readlink()).encode()
        elif stat.S_ISREG(about.st_mode):
            data = path.read_bytes()
        elif stat.S_ISDIR(about.st_mode):
            data = b""
        else:
            continue
        _write_member(archive, str(path.relative_to(root)), data, about.st_mode, number)
    _write_member(archive, "TRAILER!!!", b"", 0, 0)


def _write_member(archive: IO[bytes], name: str, data: bytes, mode: int, number: int) -> None:
    raw = name.encode() + b"\0"
    fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(raw), 0)
    header = b"070701" + b"".join(b"%08X" % field for field in fields)
    archive.write(_padded(header + raw) + _padded(data))


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _run(command: Sequence[str], *, check: bool = True, cwd: Path | None = None) -> str:
    environment = {**os.environ, "PATH": _path()}
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=cwd, env=environment
    )
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(command[:3])} …: {done.stderr[-2000:]}")
    return done.stdout


def _path() -> str:
    """Where administrators' tools are is not on everybody's path."""
    return os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))


if __name__ == "__main__":
    built()
