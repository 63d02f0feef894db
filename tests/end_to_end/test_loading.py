"""Saving and loading inside cells: a checkpoint, and a pair whose parts load by themselves."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import Session

PLAN = ("measure=smoke", "measure.cold_cache=true", "measure.bandwidths_mb_per_s=[500]", "eval=none")


def loads(row: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    assert row["status"] == "ok", row["reason"]
    saved = row["result"]["save_load"]
    # the manifest of a computed model that was written down first says where that is
    assert saved["file_bytes"] == pytest.approx(row["result"]["sizes"]["stored_bytes"], abs=500)
    assert "sleeping" in saved["loading"]["throttle"]
    found: dict[str, list[dict[str, Any]]] = {}
    for each in saved["loading"]["loads"]:
        found.setdefault(each["load"], []).append(each)
    for under in found.values():
        # warm, at 500 MB/s, and cold where the file system lets go of its pages
        assert [each["bandwidth_mb_per_s"] for each in under if not each["cold"]] == [None, 500.0]
        assert len(under) == 3 or saved["loading"]["cold_reason"]
        limited = under[-1]
        assert limited["seconds"]["min"] >= limited["read_bytes"] / 500e6
    return found


def test_a_checkpoint_beside_its_plain_file(session: Session) -> None:
    session.run("codec=zipnn", "model=llama", *PLAN)
    (row,) = session.rows()
    found = loads(row)
    assert set(found) == {"all", "plain"}
    raw, stored = (row["result"]["sizes"][f"{name}_bytes"] for name in ("raw", "stored"))
    assert {each["read_bytes"] for each in found["plain"]} == {raw}
    assert {each["original_bytes"] for each in found["all"]} == {raw}
    assert all(0.95 * stored < each["read_bytes"] <= stored for each in found["all"])
    assert all(each["speed_over_plain"] for each in found["all"])


@pytest.mark.parametrize(("codec", "low"), [("zstd", "int8"), ("qstore", "nf4")])
def test_the_parts_of_a_pair(session: Session, codec: str, low: str) -> None:
    pair = ("workload=pair", f"workload.low={low}", "model=llama", "model.dtype=bfloat16")
    session.run(f"codec={codec}", *pair, *PLAN)
    (row,) = session.rows()
    found = loads(row)
    assert set(found) == {"high", "low", "plain high", "plain low"}
    sizes = {name: under[0]["read_bytes"] for name, under in found.items()}
    assert sizes["plain high"] == row["result"]["workload"]["high_raw_bytes"]
    assert sizes["low"] < sizes["plain low"]
    assert sizes["low"] < sizes["high"] < sizes["plain high"]
