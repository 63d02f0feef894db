"""The main job and what may go wrong with it, through run.py."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from weightbench import results

from .conftest import QUICK, Session

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A safetensors folder that is not in the repository."""
    rng = np.random.default_rng(5)
    made = tmp_path / "weights"
    made.mkdir()
    weights = {f"layers.{i}.w": rng.normal(0, 0.02, (128, 96)).astype(np.float32) for i in range(3)}
    weights["half"] = rng.normal(0, 0.02, 501).astype(ml_dtypes.bfloat16)
    weights["steps"] = np.arange(7)
    save_file(weights, made / "model.safetensors")
    return made


def test_the_main_job(session: Session) -> None:
    quick = ("codec=elf", "model=llama", "measure=smoke", "eval.limit=16", "eval.kl_tokens=256")
    printed = session.run(*quick).stdout
    (row,) = session.rows()
    assert row["status"] == "ok"
    result = row["result"]
    sizes, error, evaluation = result["sizes"], result["error"], result["evaluation"]
    parts = sum(sizes[f"{part}_bytes"] for part in ("payload", "side", "literals", "index"))
    assert parts == sizes["stored_bytes"]
    assert sizes["ratio"] == sizes["raw_bytes"] / sizes["stored_bytes"] > 1.4
    assert 0 < error["max_abs_error"] <= error["bounds"]["float32"]["absolute"] == 2.0**-24
    (accuracy,) = [change for change in evaluation["changes"] if change["metric"] == "acc"]
    assert accuracy["n"] == 16
    assert accuracy["interval"]["low"] <= accuracy["difference"] <= accuracy["interval"]["high"]
    assert evaluation["divergence"]["mean"] < 1e-6
    assert (session.results / row["artifacts"][0]).read_bytes()[:8] == PNG
    for said in ("raw", "stored", "payload", "encode", "decode", "memcpy", "bound", "wb_continuation", "KL"):
        assert said in printed
    assert row["id"] in printed
    # Asked again, in other words: the row is there already.
    written = (session.results / "cells" / f"{row['id']}.json").stat().st_mtime_ns
    again = session.run(*quick, "codec.level=1", "limits.timeout_s=100")
    assert row["id"] in again.stdout
    assert "was there" in again.stdout
    assert "was there" not in printed
    assert (session.results / "cells" / f"{row['id']}.json").stat().st_mtime_ns == written
    assert "ok" in session.run(*quick, "dry_run=true").stdout


def test_a_folder_of_ones_own(session: Session, folder: Path) -> None:
    session.run("codec=lz4", "granularity=layer", f"model={folder}", *QUICK)
    (row,) = session.rows()
    assert row["result"]["error"]["bit_exact"]
    assert set(row["result"]["model"]["formats"]) == {"float32", "bfloat16", "int64"}
    assert row["cell"]["model"]["revision"].startswith("sha256:")


def test_a_hub_model_from_the_clients_cache(session: Session, folder: Path, tmp_path: Path) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    cache = tmp_path / "hub" / "models--org--name"
    snapshot = cache / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (cache / "refs").mkdir()
    (cache / "refs" / "v1").write_text(commit)
    (snapshot / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    offline = Session(session.results, {**session.env, "HF_HUB_CACHE": str(tmp_path / "hub")})
    offline.run("codec=zstd", "model=org/name", "model.revision=v1", *QUICK)
    (row,) = session.rows()
    assert commit in row["cell"]["model"]["revision"]


def test_a_sweep_gives_a_table(session: Session, folder: Path) -> None:
    session.run(
        "-m",
        "codec=zstd,elf",
        "granularity=model,parameter",
        f"model={folder}",
        "model.dtype=float16",
        *QUICK,
    )
    frame = results.cells(session.results)
    assert sorted(frame["cell.codec.name"]) == ["elf", "elf", "zstd", "zstd"]
    assert (frame["result.sizes.ratio"] > 0).all()
    assert len(results.cells(session.results, engine="polars")) == 4
    assert set(results.tensors(session.results)["id"]) == set(frame["id"])


def test_a_sweep_killed_in_the_middle_goes_on(session: Session, folder: Path) -> None:
    sweep = ("-m", "codec=zstd,zlib,xz,lz4", "granularity=tensor,chunk", f"model={folder}", *QUICK)
    process = subprocess.Popen(
        session.command(*sweep), env=session.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    cells = session.results / "cells"
    while not (finished := list(cells.glob("*.json"))):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(list(cells.glob("*.json"))) < 8
    before = {file: (file.stat().st_mtime_ns, file.read_bytes()) for file in finished}
    session.run(*sweep)
    assert len(session.rows()) == 8
    assert {file: (file.stat().st_mtime_ns, file.read_bytes()) for file in finished} == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("codec=zstdd",), "did you mean 'zstd'?"),
        (("model=lama",), "did you mean 'llama'"),
        (("granularity=chunks",), "did you mean 'chunk'?"),
        (("model.dtype=flaot16",), "did you mean 'float16'"),
        (("model=./nowhere",), "there is no"),
        (("model=nobody/nothing",), "model=llama"),
        (("model=hub",), "model.repository is not given"),
        (("limits.timeout_s=0",), "above 0"),
    ],
)
def test_wrong_input_is_one_line_and_code_2(
    session: Session, arguments: tuple[str, ...], message: str
) -> None:
    done = session.run(*arguments, code=2)
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("error: ")
    assert message in line


def test_a_damaged_file_is_refused(session: Session, folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    done = session.run("codec=zstd", f"model={folder}", code=2)
    assert "model.safetensors" in done.stderr
    assert not session.rows()


def test_models_without_any_value(session: Session, tmp_path: Path) -> None:
    for name, weights in (("none", {}), ("empty", {"w": np.zeros((0, 3), np.float32)})):
        save_file(weights, tmp_path / f"{name}.safetensors")
        session.run("codec=elf", f"model={tmp_path / name}.safetensors", *QUICK)
    assert [row["status"] for row in session.rows()] == ["ok", "ok"]


def test_a_results_folder_that_cannot_be_made_is_one_line(session: Session) -> None:
    session.results.write_text("a file")
    done = session.run("codec=zstd", *QUICK, code=1)
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("error: ")
    assert "results=" in line


def test_a_format_that_the_codec_refuses_is_skipped_with_the_reason(session: Session) -> None:
    session.run("codec=elf", "model=synthetic", "model.nbytes=100000", *QUICK)
    (row,) = session.rows()
    assert row["status"] == "skipped"
    assert "bfloat16" in row["reason"]
    assert "widen_bfloat16" in row["reason"]


def test_limits_make_rows_and_the_same_command_goes_on(session: Session, folder: Path) -> None:
    quick = ("codec=zstd", f"model={folder}", *QUICK)
    assert "timeout" in session.run(*quick, "limits.timeout_s=0.05", code=1).stdout
    assert [row["status"] for row in session.rows()] == ["timeout"]
    assert "oom" in session.run(*quick, "limits.memory_gb=0.02", code=1).stdout
    assert [row["status"] for row in session.rows()] == ["oom"]
    session.run(*quick)
    assert [row["status"] for row in session.rows()] == ["ok"]


LIAR = '''
from dataclasses import dataclass
import ctypes
import numpy as np
from weightcodecs import ArrayCodec, Encoded


@dataclass(frozen=True)
class Other(ArrayCodec):
    """Claims to be lossless and is not; or crashes."""

    name = "other"
    crash: bool = False

    def _encode(self, values, format, reference, threads):
        if self.crash:
            ctypes.string_at(0)
        return Encoded.of(values.astype(np.float16).tobytes())

    def _decode(self, info, reference, out, threads):
        return np.frombuffer(info.payload, np.float16).astype(info.format.dtype)
'''


def test_a_codec_that_lies_or_crashes(with_package: Callable[[str, str], Session], tmp_path: Path) -> None:
    session = with_package(LIAR, "name: other\ncrash: false\n")
    save_file(
        {"w": np.random.default_rng(0).normal(0, 1, 999).astype(np.float32)}, tmp_path / "w.safetensors"
    )
    told = session.run("codec=other", f"model={tmp_path / 'w.safetensors'}", *QUICK, code=1).stdout
    assert "violated" in told
    (row,) = session.rows()
    assert row["status"] == "violated"
    assert "not bit-exact" in row["reason"]
    session.run("codec=other", "codec.crash=true", f"model={tmp_path / 'w.safetensors'}", *QUICK, code=1)
    assert sorted(row["status"] for row in session.rows()) == ["failed", "violated"]


def test_help_names_the_choices(session: Session) -> None:
    told = subprocess.run(
        [sys.executable, session.command()[1], "--help"], capture_output=True, text=True, env=session.env
    )
    assert told.returncode == 0
    for said in ("codec=elf model=llama", "granularity: chunk, layer, model, parameter, tensor", "Exit code"):
        assert said in told.stdout


def test_help_does_not_import_what_is_heavy(session: Session) -> None:
    code = (
        "import sys, runpy\n"
        "sys.argv = ['run.py', '--help']\n"
        f"try: runpy.run_path({session.command()[1]!r}, run_name='__main__')\n"
        "except SystemExit: pass\n"
        "heavy = ('torch', 'numba', 'matplotlib', 'transformers', 'lm_eval', 'pandas')\n"
        "print([module for module in heavy if module in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=session.env)
    assert told.stdout.strip().endswith("[]")
