"""Model names as file names: any name makes one file, inside of the folder, and no two the same."""

from __future__ import annotations

import hashlib
import string

from .errors import DepotError

__all__ = ["MANIFEST_SUFFIX", "manifest_file"]

MANIFEST_SUFFIX = ".wbm"
PLAIN = frozenset(string.ascii_letters + string.digits + "-_.")
LONGEST = 160  # file systems take 255 bytes, of which the temporary file's name needs some


def manifest_file(name: str) -> str:
    """Return the file name of a model's manifest.

    Bytes other than ASCII letters, digits, ``-``, ``_`` and ``.`` are written ``%2F``, and so is a dot in
    front. A name that gets too long is cut, and its SHA-256 stands behind it.

    >>> manifest_file("org/name"), manifest_file("..")
    ('org%2Fname.wbm', '%2E..wbm')

    Raises:
        DepotError: the name is empty or is not text.
    """
    try:
        data = name.encode()
    except UnicodeEncodeError as error:
        raise DepotError(f"{name!r} cannot name a model: {error}") from None
    if not data:
        raise DepotError("a model in a depot needs a name")
    coded = "".join(chr(c) if chr(c) in PLAIN else f"%{c:02X}" for c in data)
    if coded.startswith("."):
        coded = "%2E" + coded[1:]
    if len(coded) > LONGEST:
        # "%~" begins no coded byte, so that no short name looks like it.
        coded = f"{coded[: LONGEST - 64]}%~{hashlib.sha256(data).hexdigest()}"
    return coded + MANIFEST_SUFFIX
