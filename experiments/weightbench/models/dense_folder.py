"""A GGUF file as a folder in Hugging Face layout: dense float32 safetensors, configuration, tokenizer."""

from __future__ import annotations

import json
import logging
from pathlib import Path

from .cache import cache_directory, publish
from .content import file_sha256
from .errors import DamagedCacheError, UnsupportedModelError
from .gguf_dense import DenseGguf
from .model import Model

__all__ = ["RECORD", "dense_folder"]

RECORD = "weightbench-dense.json"
VERSION = 1  # of what is written; raise it when the folder's content changes
COPY_BYTES = 16 << 20

log = logging.getLogger(__name__)


def dense_folder(model: DenseGguf, gguf: Path, key: str) -> tuple[Path, str]:
    """Return the folder and the SHA-256 of its model.safetensors, made once and kept in the cache.

    The weights are ours (`DenseGguf`, equal to those that transformers loads); configuration and tokenizer
    are read from the GGUF by transformers.

    Args:
        model: the dense view of the file.
        gguf: the file.
        key: names the folder; must identify the file's content.

    Raises:
        UnsupportedModelError: transformers cannot read configuration or tokenizer.
        DamagedCacheError: the weights in the cache are not those that were written.
    """
    folder = cache_directory() / "dense" / f"{key}-v{VERSION}"

    def build(target: Path) -> None:
        log.warning("writing dense weights of %s (once, about 15 s for 135 M parameters)", model.name)
        _write_weights(model, target)
        _write_configuration(gguf, target)
        digest = file_sha256(target / model.files[0].name)
        (target / RECORD).write_text(json.dumps({"file": model.files[0].name, "sha256": digest}))

    publish(folder, build)
    try:
        record = json.loads((folder / RECORD).read_text())
        digest = file_sha256(folder / record["file"])
        intact = digest == record["sha256"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DamagedCacheError(f"{folder} is damaged ({error}); delete it and try again") from error
    if not intact:
        raise DamagedCacheError(f"{folder}: {record['file']} was changed; delete the folder and try again")
    return folder, digest


def _write_weights(model: Model, target: Path) -> None:
    for file in model.files:
        with (target / file.name).open("wb") as out:
            for extent in file.extents:
                for start in range(0, extent.nbytes, COPY_BYTES):
                    size = min(COPY_BYTES, extent.nbytes - start)
                    out.write(model.read_range(file.name, extent.offset + start, size))
                if extent.tensor is not None:
                    model.drop(extent.tensor)


def _write_configuration(gguf: Path, target: Path) -> None:
    from transformers import AutoConfig, AutoTokenizer  # seconds to import, and needed once

    try:
        config = AutoConfig.from_pretrained(gguf.parent, gguf_file=gguf.name)
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    except (ImportError, OSError, ValueError, KeyError, NotImplementedError) as error:
        raise UnsupportedModelError(
            f"{gguf}: transformers cannot read its configuration ({error})"
        ) from error
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    config.architectures = [MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[config.model_type]]
    config.dtype = "float32"
    config.save_pretrained(target)
    tokenizer.save_pretrained(target)
