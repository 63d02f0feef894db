"""A fuzzer of blobs that are damaged on purpose and then sealed again, so that every checksum is right.

The checksum finds accidents; it trusts nobody. Whatever a description or payload says, a decoder must raise
a typed error or return an array of the declared shape: no crash, no hang, and no memory that the bytes do
not justify. Run as a program, in a process of its own with little memory to spare:

    python tests/weightcodecs/fuzz.py --mutations 20000 --seed 1 [--codec elf]

Each mutation follows from (seed, number) alone: `--first N --mutations 1` repeats one.
"""

from __future__ import annotations

import argparse
import faulthandler
import io
import resource
import signal
import sys
import warnings
from collections import Counter
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

sys.path.insert(0, str(Path(__file__).parent))

from configurations import TRUSTING, configurations, pair_configurations
from corpus import base_of, random_bits, references, refused, small_pairs, weights
from golden import GOLDEN, recipe, references_for

import weightcodecs
from weightcodecs import FORMATS, CorruptBlobError, FloatFormat, WeightCodecsError, WrongReferenceError
from weightcodecs.blob import MAGIC, BlobInfo, parse_blob, read_varint, seal, varint
from weightcodecs.pair import description_digest

Generator = np.random.Generator

SPARE_MEMORY = 192 << 20
"""What a decoder may allocate on top of the warm process; the honest blobs here hold 100 KB at most."""
TIME_LIMIT = 20
PAIR_CODECS = {codec.name for _, codec in pair_configurations()}

EXTREMES = (0, 1, 2, 7, 8, 63, 64, 255, 256, 4095, 4096, 4097, 65535, 65536, 1 << 24, 1 << 31, (1 << 32) - 1)
HUGE = (1 << 40, 1 << 61, (1 << 62) - 1, (1 << 63) - 1, 1 << 63, (1 << 64) - 1, 1 << 68)


@dataclass(frozen=True)
class Seed:
    """An honest blob to damage, and the base it needs."""

    name: str
    blob: bytes
    info: BlobInfo
    extra: dict[str, Any]


def seeds(codec_name: str | None) -> list[Seed]:
    """Return honest blobs of every configuration: coded, raw, compressible, with exceptions, long.

    And the golden ones of versions that are read, but not written any more.
    """
    made = []
    for name, codec in configurations():
        if codec_name not in (None, codec.name) or codec.name in TRUSTING:
            continue
        for format in FORMATS.values():
            if refused(codec, format) or not (format.is_float or format.name in ("uint8", "int64")):
                continue
            some = weights(format, 300, 1)
            some[::50] = random_bits(format, some[::50].size)
            arrays = [
                some,
                random_bits(format, 5),
                np.zeros(12_000, format.dtype),
                weights(format, 4200, 2)[:3],
            ]
            if format.name in ("float32", "float16"):
                arrays += [weights(format, 9000, 3), np.tile(weights(format, 40, 4), (30, 2))]
            for values in arrays:
                extra = references(codec, values)
                blob = bytes(codec.encode(values, **extra))
                codec.decode(blob, **extra)  # compiles what there is to compile
                made.append(Seed(f"{name} {format.name}{list(values.shape)}", blob, parse_blob(blob), extra))
    for name, pair_codec in pair_configurations():
        if codec_name not in (None, pair_codec.name):
            continue
        for what, high, low, scales in small_pairs(pair_codec):
            blob = bytes(pair_codec.encode_pair(high, low, scales=scales))
            pair_codec.decode_pair(blob)
            made.append(Seed(f"{name} {what}", blob, parse_blob(blob), {}))
    newest = {golden.codec: golden.version for golden in sorted(GOLDEN, key=lambda golden: golden.version)}
    for golden in GOLDEN:
        if codec_name in (None, golden.codec) and golden.version < newest[golden.codec]:
            extra = references_for(weightcodecs.get_codec(golden.codec), recipe(golden.format))
            blob = golden.path.read_bytes()
            weightcodecs.decode(blob, **extra)
            made.append(Seed(golden.path.stem, blob, parse_blob(blob), extra))
    return made


def mutated_bytes(rng: Generator, data: bytes, others: list[bytes]) -> bytes:
    """Return bytes with a few random changes: flips, extremes, cuts, insertions, repeats, splices."""
    out = bytearray(data)
    for _ in range(int(rng.choice([1, 1, 1, 2, 3, 8]))):
        size = len(out)
        # Half of all changes are near the front, where codecs keep their tables.
        at = int(rng.integers(0, size + 1)) if rng.random() < 0.5 else int(rng.integers(0, min(size, 40) + 1))
        span = int(rng.choice([1, 1, 2, 4, 8, 64]))
        match int(rng.integers(0, 9)):
            case 0 | 1 if size:
                out[min(at, size - 1)] ^= 1 << int(rng.integers(0, 8))
            case 2 if size:
                out[min(at, size - 1)] = int(rng.choice([0, 1, 0x7F, 0x80, 0xFE, 0xFF, rng.integers(0, 256)]))
            case 3:
                out[at : at + span] = rng.bytes(span)
            case 4:
                del out[at : at + span]
            case 5:
                out[at:at] = rng.bytes(span) if rng.random() < 0.5 else bytes(span)
            case 6:
                extreme = int(rng.choice(EXTREMES))
                out[at : at + 4] = (extreme & 0xFFFFFFFF).to_bytes(4, "little")
            case 7:
                other = others[int(rng.integers(0, len(others)))]
                cut = int(rng.integers(0, len(other) + 1))
                out[at:] = other[cut:]
            case _:
                out[at : at + span] = (b"\xff" if rng.random() < 0.5 else b"\0") * min(
                    span, max(size - at, 0)
                )
    return bytes(out)


def mutated_parameters(rng: Generator, data: bytes) -> bytes:
    """Return codec parameters with changed bytes, or with a number put in the place of one."""
    if rng.random() < 0.5:
        return mutated_bytes(rng, data, [data])[:2000]
    at = int(rng.integers(0, len(data) + 1))
    number = int(rng.choice(EXTREMES)) if rng.random() < 0.7 else HUGE[int(rng.integers(0, len(HUGE)))]
    return data[:at] + varint(number) + data[at + int(rng.integers(0, 3)) :]


def mutated_shape(rng: Generator, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return another shape: off by one, huge, empty, deeper, or of the same size."""
    sizes = list(shape) or [1]
    at = int(rng.integers(0, len(sizes)))
    match int(rng.integers(0, 7)):
        case 0:
            sizes[at] += int(rng.choice([-1, 1, 8, -8]))
        case 1:
            sizes[at] = int(rng.choice(EXTREMES))
        case 2:
            sizes[at] = HUGE[int(rng.integers(0, len(HUGE)))]
        case 3:
            sizes.insert(at, int(rng.choice([0, 1, 2, 1 << 33])))
        case 4:
            sizes = [1] * int(rng.choice([31, 32, 33, 63, 64, 65, 200])) + [prod(sizes)]
        case 5:
            sizes[at] *= int(rng.choice([2, 3, 16, 4096]))
        case _:
            sizes = [0, *(HUGE[int(rng.integers(0, len(HUGE)))] for _ in range(2))]
    return tuple(max(size, 0) for size in sizes)


def resealed(body: bytes, footer_length: int) -> bytes:
    """Return bytes with a right tail, whatever they say."""
    length = (footer_length & 0xFFFF).to_bytes(2, "little")
    return body + length + xxhash.xxh3_64(body + length).digest()[::-1] + MAGIC


def resealed_pair(
    codec: str, version: int, format: FloatFormat, shape: tuple[int, ...], parameters: bytes, payload: bytes
) -> bytes:
    """Return a pair blob's parameters with right digests, as far as they can be read."""
    said = parameters[:-8]
    try:
        length, at = read_varint(said, 0)
    except CorruptBlobError:
        return parameters
    said = said[:at] + xxhash.xxh3_64(payload[:length]).digest() + said[at + 8 :]
    return said + description_digest(codec, version, format, shape, said)


def mutated_blob(rng: Generator, seed: Seed, others: list[Seed]) -> bytes:
    """Return a damaged blob with a right checksum."""
    info = seed.info
    payload, parameters, shape, format = bytes(info.payload), info.parameters, info.shape, info.format
    codec, version, raw, reference = info.codec, info.version, info.raw, info.reference
    payloads = [bytes(other.info.payload) for other in others]
    kinds = rng.choice(
        10, size=int(rng.choice([1, 1, 2, 3])), p=[0.4, 0.2, 0.15, 0.05, 0.04, 0.04, 0.04, 0.03, 0.02, 0.03]
    )
    for kind in kinds:
        match int(kind):
            case 0:
                payload = mutated_bytes(rng, payload, payloads)
            case 1:
                parameters = mutated_parameters(rng, parameters)
            case 2:
                shape = mutated_shape(rng, shape)
            case 3:
                format = list(FORMATS.values())[int(rng.integers(0, len(FORMATS)))]
            case 4:
                raw = not raw
            case 5:
                codec = others[int(rng.integers(0, len(others)))].info.codec
            case 6:
                other = others[int(rng.integers(0, len(others)))].info
                parameters, codec = other.parameters, other.codec
            case 7:
                reference = None if reference is not None else bytes(16)
            case 8:
                version = int(rng.choice([0, 1, 2, 255]))
            case _:
                body = mutated_bytes(rng, seed.blob[:-14], payloads)
                return resealed(body, int(rng.choice([len(body), *range(60)])))
    if codec in PAIR_CODECS:
        parameters = resealed_pair(codec, version, format, shape, parameters, payload)
    return bytes(
        seal(
            io.BytesIO(payload),
            codec=codec,
            version=version,
            format=format,
            shape=shape,
            raw=raw,
            parameters=parameters,
            reference=reference,
        )
    )


def attempt(blob: bytes, extra: dict[str, Any], threads: int, with_out: bool) -> str:
    """Decode hostile bytes; return what came of it. Anything but a typed error or a fitting array raises."""
    try:
        info = parse_blob(blob)
    except CorruptBlobError:
        return "refused: description"
    needs = info.reference is not None
    if needs and info.count <= 1 << 20:
        # A base with the right digest cannot be had for a mutated shape; the digest is checked elsewhere.
        extra = extra or {"reference": base_of(np.zeros(info.shape, info.format.dtype))}
    if with_out and info.nbytes <= 1 << 20:
        extra = {**extra, "out": np.zeros(info.shape, info.format.dtype)}
    try:
        decoded = weightcodecs.decode(blob, threads=threads, **extra)
    except (CorruptBlobError, WrongReferenceError) as error:
        if len(str(error)) < 10:
            raise AssertionError(f"an error that says nothing: {error!r}") from error
        return f"refused: {type(error).__name__}"
    if decoded.shape != info.shape or decoded.dtype != info.format.dtype:
        raise AssertionError(
            f"decoded {decoded.dtype}{decoded.shape}, declared {info.format.name}{info.shape}"
        )
    return "decoded"


def limit_memory(spare: int) -> None:
    """Leave this process `spare` bytes of writable memory beyond what it has."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    now = int(fields["VmData"].split()[0]) << 10
    resource.setrlimit(resource.RLIMIT_DATA, (now + spare, now + spare))


def _out_of_time(signum: int, frame: object) -> None:
    raise AssertionError(f"one blob took more than {TIME_LIMIT} s")


def main() -> int:
    """Fuzz; return 0 if nothing was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--mutations", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--codec", help="blobs of this codec alone")
    options = parser.parse_args()
    faulthandler.enable()
    warnings.simplefilter("error")
    corpus = seeds(options.codec)
    weightcodecs.decode(corpus[0].blob, threads=2, **corpus[0].extra)
    limit_memory(SPARE_MEMORY)
    signal.signal(signal.SIGALRM, _out_of_time)
    seen: Counter[str] = Counter()
    for number in range(options.first, options.first + options.mutations):
        rng = np.random.default_rng((options.seed, number))
        seed = corpus[number % len(corpus)]
        others = [corpus[int(i)] for i in rng.integers(0, len(corpus), 3)]
        blob = mutated_blob(rng, seed, others)
        signal.alarm(TIME_LIMIT)
        try:
            seen[attempt(blob, seed.extra, 1 + number % 2, bool(number % 3 == 0))] += 1
        except (Exception, AssertionError) as error:
            kind = "untyped error" if not isinstance(error, WeightCodecsError) else "wrong error"
            print(f"{kind} at --seed {options.seed} --first {number}, from {seed.name}", flush=True)
            raise
    signal.alarm(0)
    print(", ".join(f"{what}: {count}" for what, count in sorted(seen.items())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
