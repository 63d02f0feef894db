"""Which codecs there are. Names lead to classes; nothing is imported before it is asked for.

Ours are listed here; anybody else's come through the entry-point group ``weightcodecs.codecs`` (name =
codec name, value = class), see examples/third_party_codec.
"""

from __future__ import annotations

import dataclasses
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

from .blob import Bytes, parse_description
from .codec import Array, Codec
from .errors import ConfigError, CorruptBlobError, UnknownNameError, WeightCodecsError, nearest_names

__all__ = ["codec_class", "configuration_packages", "decode", "get_codec", "list_codecs", "register_codec"]

GROUP = "weightcodecs.codecs"

_BUILT_IN = {
    "identity": "identity:Identity",
    "zstd": "_zstd:Zstd",
    "lz4": "_lz4:Lz4",
    "brotli": "_brotli:Brotli",
    "zlib": "_zlib:Zlib",
    "xz": "_lzma:Xz",
    "cast": "cast:Cast",
    "elf": "elf:Elf",
    "openzl": "_openzl:OpenZl",
    "blosc2": "_blosc2:Blosc2",
    "pcodec": "_pcodec:Pcodec",
    "fpzip": "_fpzip:Fpzip",
    "zfp": "_zfp:Zfp",
    "sz3": "_sz3:Sz3",
    "bg4_lz4": "_bg4_lz4:Bg4Lz4",
    "distance": "distance:Distance",
    "fm_delta": "fm_delta:FmDelta",
    "zipnn": "zipnn:Zipnn",
    "zipnn_delta": "zipnn:ZipnnDelta",
    "zipnn_lossy": "zipnn_lossy:ZipnnLossy",
    "zipnn_official": "_zipnn:ZipnnOfficial",
    "bitx": "bitx:Bitx",
    "qstore": "qstore:QStore",
    "qstore_chain": "qstore_chain:QStoreChain",
    "int8": "absmax:Int8",
    "int4": "absmax:Int4",
    "nf4": "absmax:Nf4",
}
_registered: dict[str, type[Codec]] = {}

C = TypeVar("C", bound=type[Codec])


@cache
def _installed() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}


def register_codec(cls: C) -> C:
    """Make a codec class known under its `name`; usable as a decorator.

    Raises `ConfigError` if another class has that name.
    """
    known = _BUILT_IN.get(cls.name) or _registered.get(cls.name, cls)
    if known is not cls:
        raise ConfigError(f"there is a codec {cls.name!r} already; choose another name")
    _registered[cls.name] = cls
    return cls


def list_codecs() -> list[str]:
    """Return the names of all known codecs, sorted; imports none of them."""
    return sorted({*_BUILT_IN, *_registered, *_installed()})


def codec_class(name: str) -> type[Codec]:
    """Return the class behind a name; `UnknownNameError` with the nearest names if there is none."""
    if name in _BUILT_IN:
        module, _, attribute = _BUILT_IN[name].partition(":")
        return getattr(import_module(f"{__package__}.{module}"), attribute)  # type: ignore[no-any-return]
    if name in _registered:
        return _registered[name]
    if name in _installed():
        try:
            found = _installed()[name].load()
        except WeightCodecsError:
            raise
        except Exception as error:  # whatever somebody else's package raises while it is imported
            raise ConfigError(f"codec {name!r} is installed but cannot be loaded: {error!r}") from error
        if not (isinstance(found, type) and issubclass(found, Codec)) or found.name != name:
            raise ConfigError(f"the entry point {name!r} in group {GROUP} is not a codec class of that name")
        return found
    raise UnknownNameError("codec", name, list_codecs())


def get_codec(name: str, **config: Any) -> Codec:
    """Return a configured codec.

    Raises `UnknownNameError` for a name that does not exist, `ConfigError` for an unknown option or a bad
    value and `MissingExtraError` if the codec needs a package that is not installed.
    """
    cls = codec_class(name)
    options = [field.name for field in dataclasses.fields(cls)]
    for option in config:
        if option not in options:
            near = nearest_names(option, options)
            raise ConfigError(
                f"codec {name!r} has no option {option!r}; "
                + (f"did you mean {near[0]!r}?" if near else f"it has: {', '.join(options) or 'none'}")
            )
    return cls(**config)


def configuration_packages() -> list[str]:
    """Return the top-level packages that bring codecs and have a folder ``conf`` for Hydra; imports none."""
    packages = {point.module.partition(".")[0] for point in _installed().values()}
    return sorted(name for name in packages if _has_configuration(name))


def _has_configuration(package: str) -> bool:
    spec = find_spec(package)
    places = (spec.submodule_search_locations or []) if spec else []
    return any((Path(place) / "conf").is_dir() for place in places)


def decode(
    blob: Bytes, *, reference: Array | None = None, out: Array | None = None, threads: int = 1
) -> Array:
    """Decode a blob of any known codec: the blob says which. Arguments and errors as for `Codec.decode`."""
    name = parse_description(blob).codec  # the codec checks the rest, and the checksum once
    try:
        codec = codec_class(name)()
    except UnknownNameError as error:
        raise CorruptBlobError(f"the blob names a codec that is not installed here: {error}") from None
    return codec.decode(blob, reference=reference, out=out, threads=threads)
