"""Opening by kind of source, and what importing costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

from weightbench.models import UnknownModelError, ZooSource, open_model


def test_bundled_models() -> None:
    from weightbench import zoo

    base, tuned = zoo.names()[:2]
    model = open_model(ZooSource(base))
    assert (model.name, model.base, model.family) == (base, None, base)
    assert model.directory == zoo.directory(base)
    child = open_model(ZooSource(tuned))
    assert child.base == child.family == zoo.ZOO[tuned].base
    assert {n: t.shape for n, t in child.tensors.items()} == {n: t.shape for n, t in model.tensors.items()}
    with pytest.raises(UnknownModelError, match=f"did you mean '{base}'"):
        open_model(ZooSource("lama"))


def test_importing_is_light() -> None:
    code = (
        "import sys, weightbench.models; heavy = ('torch', 'transformers', 'gguf', 'huggingface_hub'); "
        "print([module for module in heavy if module in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
