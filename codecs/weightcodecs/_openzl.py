"""openzl: Meta's OpenZL (the package openzl, extra `baselines`): a float split into fields, each entropy
coded.

Graphs: `huffman` and `fse` deconstruct float32, float16 and bfloat16 into sign-and-fraction, which is
stored, and exponent, which is coded; numbers of other formats, and the graph `generic`, go through its
general compressor. One thread: the package has no other.

Payload: its frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, Literal

from .blob import BlobInfo
from .codec import Array, ArrayCodec, Encoded
from .errors import CorruptBlobError
from .formats import FloatFormat
from .peer import accept, check_expansion, encode_exact, require_package

__all__ = ["OpenZl"]

_NODES = {"float32": "Float32Deconstruct", "float16": "Float16Deconstruct", "bfloat16": "BFloat16Deconstruct"}


@dataclass(frozen=True)
class OpenZl(ArrayCodec):
    """OpenZL; see the module's docstring.

    Attributes:
        graph: "huffman" or "fse" (how exponents are coded), or "generic".
    """

    name: ClassVar[str] = "openzl"
    graph: Literal["huffman", "fse", "generic"] = "huffman"

    def validate(self) -> None:
        """Check that the package is installed."""
        require_package("openzl")

    def _encode(
        self, values: Array, format: FloatFormat, reference: Array | None, threads: int
    ) -> Encoded | None:
        zl = _package()
        context = zl.CCtx()
        context.ref_compressor(_compressor(self.graph, _NODES.get(format.name)))
        numbers = values.view(format.bits_dtype)
        if not numbers.flags.aligned:
            numbers = numbers.copy()
        return encode_exact(values, context.compress([zl.Input(zl.Type.Numeric, numbers)]))

    def _decode(self, info: BlobInfo, reference: Array | None, out: Array | None, threads: int) -> Array:
        check_expansion(self.name, info)
        zl, frame = _package(), bytes(info.payload)
        try:
            about = zl.FrameInfo(frame)
            if about.num_outputs != 1 or about.output_content_size(0) != info.nbytes:
                raise CorruptBlobError("openzl: the frame does not hold an array of this size")
            decoded = zl.DCtx().decompress(frame)[0]
        except RuntimeError as error:
            raise CorruptBlobError(f"openzl: {str(error).splitlines()[0]}") from None
        return accept(self.name, decoded.content.as_nparray(), info, out)


@cache
def _package() -> Any:
    import openzl.ext

    return openzl.ext


def _compressor(graph: str, node: str | None) -> Any:
    """Build the graph; cheap, and a compressor must not be shared between threads."""
    zl = _package()
    compressor = zl.Compressor()
    compressor.set_parameter(zl.CParam.FormatVersion, zl.MAX_FORMAT_VERSION)
    if graph == "generic" or node is None:
        compressor.select_starting_graph(zl.graphs.Compress()(compressor))
        return compressor
    exponents = zl.graphs.Huffman() if graph == "huffman" else zl.graphs.Fse()
    head = getattr(zl.nodes, node)()(
        compressor, sign_frac=zl.graphs.Store()(compressor), exponent=exponents(compressor)
    )
    compressor.select_starting_graph(head)
    return compressor
