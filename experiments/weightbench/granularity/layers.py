"""Which layer of a network a tensor belongs to, by its name."""

from __future__ import annotations

__all__ = ["layer_of"]


def layer_of(name: str) -> str:
    """Return the layer of a tensor: its name up to the first block index, else the module that holds it.

    Covers ``model.layers.3.…``, ``transformer.h.3.…``, ``encoder.layer.3.…``, ``encoder.block.3.…``,
    ``blk.3.…``; embeddings, heads and final norms are layers of their own.

    >>> layer_of("model.layers.3.mlp.experts.0.up_proj.weight")
    'model.layers.3'
    >>> layer_of("model.embed_tokens.weight"), layer_of("lm_head.weight"), layer_of("scale")
    ('model.embed_tokens', 'lm_head', 'scale')
    """
    parts = name.split(".")
    for i, part in enumerate(parts[1:-1], start=1):
        if part.isascii() and part.isdigit():
            return ".".join(parts[: i + 1])
    return ".".join(parts[:-1]) or name
