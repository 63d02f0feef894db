"""What models declare, and what hostile cards do not do."""

from __future__ import annotations

import logging
import time

import pytest
from networks import Make, front, weights

from weightbench import zoo
from weightbench.lineage import Declaration, declared_base
from weightbench.lineage.at_hand import find_at_hand
from weightbench.lineage.model_card import CARD_BYTES, read_front_matter
from weightbench.models import SyntheticSource, ZooSource, open_model

TINY = weights(0, layers=1, vocabulary=4, width=4)


@pytest.mark.parametrize(
    ("card", "expected"),
    [
        (front(base_model="meta-llama/Llama-3.1-8B"), ("meta-llama/Llama-3.1-8B",)),
        (front(base_model=["a/b"], base_model_relation="Quantized"), ("a/b",)),
        ("---\nbase_model:\n- a/b\n- c/d\n- a/b\n---\n", ("a/b", "c/d")),
        ("\ufeff---\r\nbase_model: a/b # the base\r\n---\r\ntext", ("a/b",)),
        ("---\nbase_model: 7\n---\n", ("7",)),
        ("---\nbase_model: null\n---\n", None),
        ("---\nbase_model: {name: a/b}\n---\n", None),
        ("---\nbase_model: [[a], {b: c}]\n---\n", None),
        ("---\n---\nbase_model: a/b\n", None),
        ("base_model: a/b\n", None),
        ("text\n---\nbase_model: a/b\n---\n", None),
        ("", None),
    ],
)
def test_cards(make: Make, card: str, expected: tuple[str, ...] | None) -> None:
    found = declared_base(make("model", TINY, card=card))
    assert (found.bases if found else None) == expected
    assert found is None or found.source == "card"


def test_relations(make: Make) -> None:
    card = front(base_model="a/b", base_model_relation="Adapter")
    assert declared_base(make("adapter", TINY, card=card)) == Declaration(("a/b",), "adapter", "card")
    merged = declared_base(make("merge", TINY, card=front(base_model=["a/b", "c/d"])))
    assert merged == Declaration(("a/b", "c/d"), "merge", "card")


def test_the_configuration_is_the_second_witness(make: Make) -> None:
    config = {"_name_or_path": "org/base"}
    assert declared_base(make("a", TINY, config=config)) == Declaration(("org/base",), "", "config")
    both = make("b", TINY, config=config, card=front(base_model="org/other"))
    assert declared_base(both) == Declaration(("org/other",), "", "card")
    for i, named in enumerate(("", "itself1", 3, "a\nb", "x" * 999)):
        assert declared_base(make(f"itself{i}", TINY, config={"_name_or_path": named})) is None
    for i, nothing in enumerate(([], "x", 7)):
        assert declared_base(make(f"odd{i}", TINY, config=nothing)) is None


def test_models_without_a_folder_declare_nothing() -> None:
    assert declared_base(open_model(SyntheticSource(shapes=[(2, 2)]))) is None


def test_the_zoo_declares_its_base() -> None:
    for name, entry in zoo.ZOO.items():
        found = declared_base(open_model(ZooSource(name)))
        assert found == (Declaration((entry.base,), "finetune", "card") if entry.base else None)


LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(9)
)
MERGES = "a: &a {x: y}\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} {{<<: [{', '.join(['*' + chr(97 + i)] * 9)}]}}\n" for i in range(9)
)


@pytest.mark.parametrize(
    "matter",
    [
        LAUGHS,
        MERGES,
        "base_model: !!python/object/apply:os.system ['false']\n",
        "[" * 30_000 + "\n",
        "{a: " * 10_000 + "\n",
        "? [a, b]\n: c\n",
        "base_model: \x00\n",
        "base_model: 'unfinished\n",
        "a: b: c\n",
        "- " * 20_000 + "x\n",
        "base_model: " + "9" * 50_000 + "\n",
        "%YAML 9.9\n",
        "base_model: *nobody\n",
        "!!binary x\n",
        "base_model: \ud7ff\ufffe\n",
    ],
    ids=lambda text: text[:20].encode("unicode_escape").decode(),
)
def test_hostile_front_matter_declares_nothing(make: Make, matter: str) -> None:
    started = time.process_time()
    found = declared_base(make("model", TINY, card=f"---\n{matter}---\n"))
    assert found is None or found.bases == ("false",)  # a name like any other
    assert time.process_time() - started < 20


def test_what_is_refused_is_said(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert declared_base(make("aliases", TINY, card="---\na: &a b\nbase_model: *a\n---\n")) is None
        assert declared_base(make("long", TINY, card="---\nx: y\n" + "# x\n" * CARD_BYTES)) is None
        assert declared_base(make("names", TINY, card=front(base_model="x" * 1000))) is None
    assert "it has aliases" in caplog.text
    assert "no end" in caplog.text


def test_bytes_that_are_no_text(make: Make) -> None:
    model = make("model", TINY, card="")
    assert model.directory is not None
    (model.directory / "README.md").write_bytes(b"---\nbase_model: \xff\xfe\n---\n")
    (model.directory / "config.json").write_bytes(b'{"_name_or_path": "\xff' + b"[" * 100_000)
    found = declared_base(model)
    assert found is None or found.source == "card"
    (model.directory / "README.md").unlink()
    assert declared_base(model) is None
    (model.directory / "README.md").mkdir()
    assert declared_base(model) is None


def test_nothing_is_constructed() -> None:
    assert read_front_matter("---\nwhen: 2020-01-01\nyes: on\nn: 1_000\n---\n") == {
        "when": "2020-01-01",
        "yes": "on",
        "n": "1_000",
    }


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        ("meta-llama/Llama-3.1-8B", "meta-llama/Llama-3.1-8B"),
        ("META-LLAMA/llama-3.1-8b", "meta-llama/Llama-3.1-8B"),
        ("meta-llama_Llama-3.1-8B", "meta-llama/Llama-3.1-8B"),
        ("models--meta-llama--Llama-3.1-8B", "meta-llama/Llama-3.1-8B"),
        ("/somewhere/else/Llama-3.1-8B/", "meta-llama/Llama-3.1-8B"),
        ("org/bert", "b"),
        ("bert_folder.safetensors", None),
        ("gpt2", None),  # two of them
        ("one/gpt2", "one/gpt2"),
        ("openai/gpt2", None),
        ("nobody/nothing", None),
        ("self", None),
        ("", None),
        ("/", None),
    ],
)
def test_ids_and_models_at_hand(declared: str, expected: str | None) -> None:
    names = {"meta-llama/Llama-3.1-8B": "abc", "b": "bert", "one/gpt2": "", "two/gpt2": "", "self": "self"}
    assert find_at_hand(declared, names, but="self") == expected
