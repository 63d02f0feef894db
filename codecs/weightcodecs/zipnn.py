"""zipnn: exponents apart from mantissas, byte planes, Huffman (Hershcovitch et al., "ZipNN: Lossless
Compression for AI Models", arXiv 2411.05239; "Lossless and Near-Lossless Compression for Foundation Models",
arXiv 2404.15198).

The sign of a float32, float64 or bfloat16 moves below the exponent, bytes of equal significance are kept
together, and every plane of every chunk is entropy-coded or kept as it is, whichever is smaller.

`variant="paper"` is the published method (see zipnn_paper): chunks of 256 KiB, Huffman, the 0.95 keep rule,
and with entropy="auto" the choice of truncation, Huffman or zstd by zeros and runs; entropy="zstd" is the
other side of the paper's ablation. Its float formats are the authors': fp32, bf16, fp16, fp8.
`variant="fast"` (ours, see plane_stream) never holds a whole plane, knows runs and ANS, and takes float64
too, and integers, whose bytes are grouped and not turned. 8-bit floats stay whole bytes in both variants:
with N(0, 1) cast to float8_e4m3fn they take 0.812 of raw (Huffman; 0.807 with ANS), exponents coded apart
and the other bits kept raw 0.822 (0.816), and with float8_e5m2 0.694 (0.688)
against 0.699 (0.694), for the mantissa within a binade is not uniform.

What differs from the zipnn package: the input is never rewritten, lengths that are no multiple of four words
do not end the process, and a checksum and every size are checked.

`zipnn_delta` is the same on the XOR with a base (section "delta compression" of the papers); the package does
not store which base that was, a blob of ours refuses any other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from .blob import BlobInfo
from .codec import Array, ArrayCodec, Codec, DeltaCodec, Encoded
from .entropy import METHODS
from .errors import ConfigError, CorruptBlobError
from .formats import FloatFormat
from .plane_stream import decode_planes, encode_planes, piece_log2
from .zipnn_paper import decode_paper, encode_paper, paper_refusal

__all__ = ["Zipnn", "ZipnnDelta"]

_FAST, _PAPER = 0, 1

Variant = Literal["fast", "paper"]
Entropy = Literal["auto", "huffman", "ans", "smallest", "zstd"]
_PAPERS = ("auto", "huffman", "zstd")


@dataclass(frozen=True)
class _Zipnn(Codec):
    """The options of both codecs, and their coding: without a reference, of the array itself."""

    variant: Variant = "fast"
    entropy: Entropy = "auto"
    skip_chunks: int = 0

    def validate(self) -> None:
        """Check that the options go together."""
        if self.entropy not in (_PAPERS if self.variant == "paper" else METHODS):
            raise ConfigError(
                f"{self.name}: variant=paper goes with entropy=auto, huffman or zstd, "
                "variant=fast with auto, huffman, ans or smallest"
            )
        if not 0 <= self.skip_chunks <= 1000:
            raise ConfigError(f"{self.name}: skip_chunks must be from 0 to 1000")
        if self.skip_chunks and self.variant != "paper":
            raise ConfigError(f"{self.name}: skip_chunks goes with variant=paper")

    def unsupported(self, format: FloatFormat) -> str | None:
        """Variant paper: say why formats that the authors refuse are refused."""
        return paper_refusal(format) if self.variant == "paper" else None

    def _encode(self, values: Array, format: FloatFormat, reference: Array | None, threads: int) -> Encoded:
        if self.variant == "paper":
            payload = encode_paper(
                values, reference, format, entropy=self.entropy, skip=self.skip_chunks, threads=threads
            )
            return Encoded(payload, bytes((_PAPER,)))
        payload = encode_planes(values, reference, format, METHODS[self.entropy], threads)
        return Encoded(payload, bytes((_FAST, piece_log2(format))))

    def _decode(self, info: BlobInfo, reference: Array | None, out: Array | None, threads: int) -> Array:
        parameters = info.parameters
        if len(parameters) == 2 and parameters[0] == _FAST:
            return decode_planes(
                info.payload, info.count, reference, info.format, parameters[1], out, threads
            )
        if len(parameters) == 1 and parameters[0] == _PAPER and not paper_refusal(info.format):
            return decode_paper(info.payload, info.count, reference, info.format, out, threads)
        raise CorruptBlobError(f"{info.codec}: the parameters name no variant for {info.format.name}")


@dataclass(frozen=True)
class Zipnn(_Zipnn, ArrayCodec):
    """ZipNN, lossless; see the module's docstring.

    Attributes:
        variant: "fast" (ours) or "paper" (the authors' method).
        entropy: what a chunk may be coded with. "auto": runs, Huffman, or ANS where it saves 1/16 more
            (variant paper: truncation, Huffman or zstd by the authors' rule); "huffman"; "ans"; "smallest":
            whatever is smallest; "zstd", variant paper only: every group with zstd-3, as in the ablation.
        skip_chunks: variant paper only: chunks of a plane left raw after an incompressible one, without a
            try. The paper skips "a few", the package none.
    """

    name: ClassVar[str] = "zipnn"


@dataclass(frozen=True)
class ZipnnDelta(_Zipnn, DeltaCodec):
    """ZipNN of the XOR with a base array; attributes as for `Zipnn`."""

    name: ClassVar[str] = "zipnn_delta"
