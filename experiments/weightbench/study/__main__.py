"""What a set of models has in common: equal pieces at every level, and chunks that resemble each other.

    python -m weightbench.study llama llama_kjv_1e-5 --json study.json

MODEL is what `model=` takes: a name of conf/model, a folder, or a hub id.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from weightbench.arguments import name_models, one_line, register_search_path
from weightbench.dedup import DedupReport, dedup_report
from weightbench.errors import WeightbenchError
from weightbench.granularity import Granularity
from weightbench.models import Model, ModelError
from weightbench.request import ModelRequest, model_request, open_requested, register_schema
from weightbench.similarity import SimilarityReport, analyse_similarity
from weightbench.workload import repositories
from weightcodecs import WeightCodecsError

__all__ = ["main"]

LEVELS = ("file", "model", "layer", "tensor", "parameter")
FIXED = "512,1K,2K,4K,8K,16K,32K,64K,128K,1M"
CONTENT = "4K,8K,16K,32K,64K,128K,256K,512K,1M"
WRONG_INPUT = 2
UNITS = {"K": 1 << 10, "M": 1 << 20}
DEDUP_HEAD = f"{'level':<24}{'pieces':>11}{'different':>11}{'ratio':>9}{'counted':>9}{'metadata':>11}" + (
    f"{'at 17 PB':>11}{'MB/s':>8}"
)
SIMILAR_HEAD = f"{'chunks':<24}{'pieces':>11}{'equal':>9}{'matched':>9}{'similar':>9}{'share %':>9}" + (
    f"{'ratio':>9}{'without':>9}{'at 17 PB':>11}{'MB/s':>8}"
)


def main(arguments: Sequence[str]) -> int:
    """Print both tables; return 0, or 2 for wrong input."""
    options = _parser().parse_args(arguments)
    if options.json and not options.json.absolute().parent.is_dir():  # known before hours of work
        return _complain(f"there is no folder {options.json.parent} for --json")
    try:
        models = [open_requested(request) for request in _requests(options.models, options.dtype)]
        print(DEDUP_HEAD)
        reports = []
        for level in _levels(options):
            reports.append(dedup_report(models, level))
            print(_dedup_line(reports[-1]), flush=True)
        similar = _similar(models, options)
    except (HydraException, OmegaConfBaseException) as error:
        return _complain(one_line(error))
    except (WeightbenchError, WeightCodecsError, ModelError, OSError) as error:
        return _complain(str(error))
    if options.json:
        said = {"models": [model.name for model in models], "revisions": [m.revision() for m in models]}
        rows = {"dedup": [r.plain() for r in reports], "similarity": [r.plain() for r in similar]}
        options.json.write_text(json.dumps(said | rows, indent=1) + "\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m weightbench.study",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("models", nargs="+", metavar="MODEL", help="in this order")
    parser.add_argument("--dtype", help="cast the models first: bfloat16, …")
    parser.add_argument("--levels", default=",".join(LEVELS), help=f"of {', '.join(LEVELS)}, or none")
    parser.add_argument("--fixed", default=FIXED, type=_sizes, help="sizes of fixed chunks, or none")
    parser.add_argument(
        "--content", default=CONTENT, type=_sizes, help="normal sizes of content-defined chunks"
    )
    parser.add_argument(
        "--similar", default="8K,64K", type=_sizes, help="sizes to look for similar chunks at"
    )
    parser.add_argument("--json", type=Path, help="write the numbers to this file, too")
    return parser


def _sizes(text: str) -> list[int]:
    try:
        parts = [part.strip().upper() for part in text.split(",") if part.strip() not in ("", "none")]
        return [int(part[:-1]) * UNITS[part[-1]] if part[-1] in UNITS else int(part) for part in parts]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of sizes such as 512,4K,1M") from None


def _requests(names: Sequence[str], dtype: str | None) -> Iterator[ModelRequest]:
    register_schema()
    register_search_path()
    cast = [f"model.dtype={dtype}"] if dtype else []
    with initialize_config_dir(str(Path(__file__).parents[3] / "conf"), version_base="1.3"):
        for name in names:
            config = compose("config", overrides=[*name_models([f"model={name}"]), *cast])
            plain: Any = OmegaConf.to_container(config.model, resolve=True)
            request = model_request(plain)
            if found := repositories(request.source):
                yield from (ModelRequest(source, request.dtype) for source in found)
            else:
                yield request


def _levels(options: argparse.Namespace) -> Iterator[Granularity | str]:
    for level in options.levels.split(","):
        if level != "none":
            yield level if level == "file" else Granularity(level)
    for chunking in ("fixed", "content"):
        for size in getattr(options, chunking):
            yield Granularity("chunk", size, chunking)


def _similar(models: Sequence[Model], options: argparse.Namespace) -> list[SimilarityReport]:
    made: list[SimilarityReport] = []
    for chunking in ("fixed", "content"):
        for size in options.similar:
            if not made:
                print(f"\n{SIMILAR_HEAD}")
            made.append(analyse_similarity(models, size, chunking=chunking))
            print(_similar_line(made[-1]), flush=True)
    return made


def _dedup_line(report: DedupReport) -> str:
    return (
        f"{report.level:<24}{report.units:>11}{report.entries:>11}{report.ratio:>9.5g}"
        f"{report.counted_ratio:>9.5g}{_bytes(report.metadata_bytes):>11}{_bytes(report.projected):>11}"
        f"{report.mb_per_second:>8.0f}"
    )


def _similar_line(report: SimilarityReport) -> str:
    name = f"{report.chunking} {report.chunk_bytes}"
    return (
        f"{name:<24}{report.chunks:>11}{report.duplicates:>9}{report.candidates:>9}{report.similar:>9}"
        f"{report.similar_share:>9.2f}{report.ratio:>9.4f}{report.ratio_without:>9.4f}"
        f"{_bytes(report.projected):>11}{report.mb_per_second:>8.0f}"
    )


def _bytes(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 1000:
            return f"{count:.4g} {unit}"
        count /= 1000
    return f"{count:.4g} PB"


def _complain(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return WRONG_INPUT


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
