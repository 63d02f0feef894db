"""The report's file: nothing from a row is markup, nothing is fetched, numbers are those of the rows."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import math
import re
from functools import lru_cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from report_stores import HOSTILE, failed_row, ok_row, some_rows, store_of

from weightbench.errors import EmptyStoreError
from weightbench.figures import style
from weightbench.report import write_report
from weightbench.report.__main__ import main
from weightbench.report.charts import library, look
from weightbench.report.write import SelectionError
from weightbench.rows import Row

PART = re.compile(r'<script type="text/plain" id="([\w-]+)">([A-Za-z0-9+/=]*)</script>')


def written(tmp_path: Path, rows: list[Row], **options: Any) -> str:
    store_of(tmp_path / "store", rows)
    write_report([tmp_path / "store"], tmp_path / "report.html", **options)
    return (tmp_path / "report.html").read_text("utf-8")


@lru_cache(maxsize=20)
def part(text: str, name: str) -> Any:
    packed = dict(PART.findall(text))[name]
    return json.loads(gzip.decompress(base64.b64decode(packed)))


def column(table: dict[str, Any], key: str) -> list[Any]:
    found = next(column for column in table["columns"] if column["key"] == key)
    return found.get("values") or [found["words"][place] for place in found["places"]]


def fields_of(text: str, table: dict[str, Any], row: int) -> dict[str, Any]:
    block = part(text, f"details-{row // table['block']}")
    place = row % table["block"]
    each = {name: values[place] for name, values in block["each"].items()}
    return {"command": block["commands"][place], **block["same"], **each}


def test_numbers_are_those_of_the_rows(tmp_path: Path) -> None:
    rows = {row.id: row for row in some_rows(150)}
    text = written(tmp_path, list(rows.values()))
    table = part(text, "table")
    ids = column(table, "id")
    assert sorted(ids) == sorted(rows)
    decode = next(column for column in table["columns"] if column["key"] == "decode")
    for place, id_ in enumerate(ids):
        row: Any = rows[id_]
        assert column(table, "status")[place] == row.status
        fields = fields_of(text, table, place)
        assert fields["id"] == id_
        assert f"codec={row.cell['codec']['name']} " in fields["command"]
        if row.status != "ok":
            assert column(table, "ratio")[place] is None
            assert column(table, "reason")[place] == row.reason == fields["error.message"]
            continue
        speed = row.result["speed"]["decode"]["mb_per_s"]
        assert column(table, "ratio")[place] == row.result["sizes"]["ratio"]
        assert decode["values"][place] == speed["median"]
        assert (decode["low"][place], decode["high"][place]) == (speed.get("ci_low"), speed.get("ci_high"))
        assert fields["result.speed.decode.mb_per_s.max"] == pytest.approx(speed["max"], rel=1e-5)
        assert fields["result.sizes.raw_bytes"] == row.result["sizes"]["raw_bytes"]


def test_tensors_of_a_cell_are_its_own(tmp_path: Path) -> None:
    rows = {row.id: row for row in (ok_row("elf", n, tensors=n % 7) for n in range(100))}
    text = written(tmp_path, list(rows.values()))
    table = part(text, "table")
    for place, id_ in enumerate(column(table, "id")):
        block, inside = part(text, f"details-{place // table['block']}"), place % table["block"]
        tensors: Any = block["tensors"]
        span = slice(*tensors["starts"][inside : inside + 2])
        names = [tensors["key"]["words"][word] for word in tensors["key"]["places"][span]]
        records: Any = rows[id_].tensors
        assert names == [record["key"] for record in records]
        assert tensors["stored_bytes"]["values"][span] == [record["stored_bytes"] for record in records]
        seconds = [record["encode_seconds"] for record in records]
        assert tensors["encode_seconds"]["values"][span] == pytest.approx(seconds, rel=1e-5)


def test_tensors_beyond_the_limit_are_counted(tmp_path: Path) -> None:
    text = written(tmp_path, [ok_row("elf", n, tensors=10) for n in range(6)], max_tensors=35)
    block = part(text, "details-0")
    assert block["left"] == [0, 0, 0, 10, 10, 10]
    assert block["tensors"]["starts"] == [0, 10, 20, 30, 30, 30, 30]


def test_a_bit_exact_cell_lost_nothing_and_the_front_is_of_its_weights(tmp_path: Path) -> None:
    rows = [ok_row(system, n, model=model) for n in range(5) for system in ("elf", "zstd") for model in "ab"]
    table = part(written(tmp_path, rows), "table")
    models, ratios = column(table, "model"), column(table, "ratio")
    titles = [measure["title"] for measure in table["measures"]]
    assert len(titles) == len(set(titles)) == 7
    for measure in table["measures"]:
        sign = 1 if measure["picture"] == "speed" else -1
        better = [None if value is None else sign * value for value in measure["values"]]
        for place in range(len(rows)):
            beaten = any(
                models[other] == models[place]
                and (ratios[other], better[other]) != (ratios[place], better[place])
                and ratios[other] >= ratios[place]
                and better[other] >= better[place]
                for other in range(len(rows))
            )
            assert (place in measure["front"]) == (not beaten), measure["title"]
    losses = next(measure for measure in table["measures"] if "log-likelihood" in measure["title"])
    for system, value, low in zip(column(table, "system"), losses["values"], losses["low"], strict=True):
        assert (value == 0 and low == 0 and math.copysign(1, value) > 0) == (system == "zstd")


def test_single_rounds_are_on_no_front(tmp_path: Path) -> None:
    table = part(written(tmp_path, [ok_row("elf", n, rounds=1) for n in range(3)]), "table")
    assert [measure["front"] for measure in table["measures"] if measure["picture"] == "speed"] == [[]] * 4


class Tags(HTMLParser):
    """All tags and attributes of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def hostile_rows() -> list[Row]:
    rows = [ok_row(f"elf{text}", n, model=f"llama{text}") for n, text in enumerate(HOSTILE)]
    return rows + [failed_row("zstd", n, text, model=text) for n, text in enumerate(HOSTILE)]


def test_nothing_in_a_row_is_markup(tmp_path: Path) -> None:
    text = written(tmp_path, hostile_rows())
    plain = written(tmp_path / "other", [ok_row("elf", 0)])
    assert "window.hit" not in text
    kinds = [tag for tag, _ in Tags(text).found]
    assert [tag for tag in kinds if tag != "script"] == [
        tag for tag, _ in Tags(plain).found if tag != "script"
    ]
    table = part(text, "table")
    assert set(HOSTILE) < set(column(table, "reason"))


def test_nothing_is_fetched_and_only_our_scripts_may_run(tmp_path: Path) -> None:
    text = written(tmp_path, some_rows(3))
    tags = Tags(text).found
    for tag, attributes in tags:
        assert tag not in ("iframe", "object", "embed", "base", "img", "audio", "video", "source")
        for name in ("src", "href", "action", "data", "style", "onclick", "onload"):
            assert name not in attributes or str(attributes[name]).startswith(("#", "data:,"))
    policy = next(a["content"] for t, a in tags if t == "meta" and "http-equiv" in a)
    assert policy is not None
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    script = text[text.rindex("<script>") + 8 : text.rindex("</script>")]
    hashes = {
        f"'sha256-{base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()}'"
        for code in (script, library())
    }
    assert set(rules["script-src"].split()) == hashes
    assert "</" not in script
    assert "innerHTML" not in script
    assert not re.search(r"""url\(|@import""", text.split("</style>")[0])


def test_every_system_has_a_marker() -> None:
    for system in (*style._SYSTEMS, *(f"somebody's {number}" for number in range(100))):
        assert look(system)["colour"] == style.system_style(system).colour


def test_equal_rows_make_equal_files(tmp_path: Path) -> None:
    store_of(tmp_path / "store", some_rows(20))
    for name in ("a", "b"):
        assert main([str(tmp_path / "store"), "--out", str(tmp_path / name)]) == 0
    # Bokeh numbers its models through a process; nothing else may differ.
    texts = [part((tmp_path / name).read_text(), "table") | {"pictures": None} for name in ("a", "b")]
    assert texts[0] == texts[1]
    blocks = [dict(PART.findall((tmp_path / name).read_text()))["details-0"] for name in ("a", "b")]
    assert blocks[0] == blocks[1]


def test_a_store_with_only_failures(tmp_path: Path) -> None:
    table = part(written(tmp_path, [failed_row("elf", n, "it broke") for n in range(3)]), "table")
    assert (table["rows"], table["measures"], table["pictures"]) == (3, [], [])


def test_rows_from_several_stores_come_once(tmp_path: Path) -> None:
    one = store_of(tmp_path / "one", [ok_row("elf", n) for n in range(3)])
    other = store_of(tmp_path / "other", [ok_row("elf", n) for n in range(2, 5)])
    assert write_report([one, other], tmp_path / "report.html") == 5


def test_only_some_rows(tmp_path: Path) -> None:
    store = store_of(tmp_path / "store", some_rows(24))
    out = tmp_path / "report.html"
    assert write_report([store], out, ["system=elf", "status=ok"]) == 4
    assert write_report([store], out, ["cell.granularity.chunk_bytes=4096"]) == 1
    with pytest.raises(SelectionError, match="did you mean system"):
        write_report([store], out, ["systm=elf"])
    with pytest.raises(EmptyStoreError, match="no row with system=none"):
        write_report([store], out, ["system=none"])


def test_wrong_input_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    assert main([str(tmp_path / "empty"), "--out", str(tmp_path / "report.html")]) == 2
    assert capsys.readouterr().err.startswith("error: no results in ")
    store = store_of(tmp_path / "store", some_rows(2))
    assert main([str(store), "--out", str(tmp_path / "missing" / "report.html")]) == 2
    assert "could not be written" in capsys.readouterr().err
    assert not (tmp_path / "report.html").exists()
