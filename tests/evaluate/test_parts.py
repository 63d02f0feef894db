"""The parts that need no model: plans, values' errors, the baseline file, offline, imports."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from weightbench.canonical import dumps, loads
from weightbench.evaluate import Evaluation, EvaluationError, EvaluationPlan, evaluate
from weightbench.evaluate.baseline import baseline_key, read_baseline, write_baseline
from weightbench.evaluate.session import offline
from weightcodecs.errors import ConfigError, UnknownNameError

Arrays = dict[str, np.ndarray[Any, Any]]


def compare(before: Arrays, after: Arrays) -> Evaluation:
    return evaluate(
        EvaluationPlan(mode="tensor"),
        directory=None,
        original=before.__getitem__,
        restored=after.__getitem__,
        names=list(before),
        baseline_cache=None,
        identity="x",
        progress=lambda _: None,
    )


def test_tensor_errors() -> None:
    x = np.array([1.0, -2.0, 0.0, np.nan, np.inf, 4.0], dtype=np.float32)
    y = np.array([1.0, -2.5, 0.25, np.nan, 7.0, 4.0], dtype=np.float32)
    integers = np.arange(4, dtype=np.int32)
    errors = compare({"a": integers, "b": x}, {"a": integers, "b": y}).tensors
    assert errors is not None
    assert (errors.tensors, errors.values, errors.changed, errors.non_finite) == (2, 10, 3, 1)
    assert (errors.max_abs, errors.max_rel, errors.worst_tensor) == (0.5, 0.25, "b")
    assert errors.rmse == pytest.approx(math.sqrt((0.25 + 0.0625) / 4))
    assert errors.psnr_db == pytest.approx(20 * math.log10(6 / errors.rmse))


@pytest.mark.parametrize(
    "dtype", [np.float64, np.float16, ml_dtypes.bfloat16, ml_dtypes.float8_e5m2, np.uint8]
)
def test_equal_tensors_have_no_error(dtype: Any) -> None:
    bits = np.random.default_rng(0).integers(0, 256, 4096, dtype=np.uint8)
    array = bits.view(dtype)
    evaluation = compare(
        {"t": array, "empty": array[:0], "scalar": array[:1].reshape(())},
        {"t": array.copy(), "empty": array[:0], "scalar": array[:1].reshape(())},
    )
    assert evaluation.tensors is not None
    assert (evaluation.tensors.changed, evaluation.tensors.max_abs, evaluation.tensors.non_finite) == (
        0,
        0,
        0,
    )
    assert evaluation.to_json()["tensors"]["psnr_db"] == math.inf
    assert loads(dumps(evaluation.to_json())) == evaluation.to_json()


def test_the_sign_of_zero_counts_as_changed() -> None:
    errors = compare({"t": np.zeros(2, np.float32)}, {"t": np.array([0.0, -0.0], np.float32)}).tensors
    assert errors is not None
    assert (errors.changed, errors.max_abs) == (1, 0.0)


def test_another_shape_or_type_is_an_error() -> None:
    with pytest.raises(EvaluationError, match="came back as"):
        compare({"t": np.zeros(2, np.float32)}, {"t": np.zeros(3, np.float32)})
    with pytest.raises(EvaluationError, match="came back as"):
        compare({"t": np.zeros(2, np.float32)}, {"t": np.zeros(2, np.float16)})


def test_mode_none_says_so() -> None:
    evaluation = evaluate(
        EvaluationPlan(mode="none"),
        directory=None,
        original=None,
        restored=lambda _: np.zeros(0),
        names=(),
        baseline_cache=None,
        identity="",
        progress=lambda _: None,
    )
    assert (evaluation.status, evaluation.reason) == ("skipped", "no evaluation was asked for")


def test_plans_are_checked() -> None:
    with pytest.raises(UnknownNameError, match="lm_eval"):
        EvaluationPlan(mode="lm_evall")  # type: ignore[arg-type]
    with pytest.raises(UnknownNameError, match="float16"):
        EvaluationPlan(dtype="flaot16")
    for wrong in ({"batch_size": 0}, {"limit": 0}, {"max_length": 1}, {"mode": "kl", "kl_tokens": 0}):
        with pytest.raises(ConfigError):
            EvaluationPlan(**wrong)  # type: ignore[arg-type]
    assert hash(EvaluationPlan(tasks=["a"])) == hash(EvaluationPlan(tasks=("a",)))  # type: ignore[arg-type]


def test_baseline_file(tmp_path: Path) -> None:
    key = baseline_key("model", {"a": 1}, {}, "data")
    assert key != baseline_key("model", {"a": 2}, {}, "data")
    assert read_baseline(tmp_path, key) == (None, "")
    payload = [0.1, float("inf"), "text"]
    write_baseline(tmp_path, key, payload)
    assert read_baseline(tmp_path, key) == (payload, "")
    assert [file.name for file in tmp_path.iterdir()] == [f"{key}.json"]
    (tmp_path / f"{key}.json").rename(tmp_path / "0.json")
    assert read_baseline(tmp_path, "0")[0] is None  # another key's content
    (tmp_path / "1.json").write_bytes(b"\xff\x00")
    payload, warning = read_baseline(tmp_path, "1")
    assert payload is None
    assert "damaged" in warning


def test_offline_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants

    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    before = huggingface_hub.constants.HF_HUB_OFFLINE
    with offline():
        assert os.environ["HF_HUB_OFFLINE"] == "1"
        assert huggingface_hub.constants.HF_HUB_OFFLINE
    assert "HF_HUB_OFFLINE" not in os.environ
    assert before == huggingface_hub.constants.HF_HUB_OFFLINE


def test_importing_is_cheap() -> None:
    code = "import sys, weightbench.evaluate; print(sorted({m.split('.')[0] for m in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    for heavy in ("torch", "transformers", "lm_eval", "datasets", "scipy", "huggingface_hub"):
        assert f"'{heavy}'" not in loaded
