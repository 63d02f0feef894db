"""What the documentation names is there: pages, links, pictures, files, choices; messages as printed."""

from __future__ import annotations

import itertools
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from weightbench.arguments import name_models, one_line, with_members
from weightbench.errors import WeightbenchError
from weightbench.figures.catalogue import SHEETS
from weightbench.request import register_schema, request_of
from weightcodecs import MissingExtraError, WeightCodecsError

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md"))
TEXTS = [*PAGES, ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "examples").rglob("*.md"))]
NAMES = [str(path.relative_to(ROOT)) for path in TEXTS]
BLOCK = re.compile(r"^```.*?^```|^(?:    .+\n)+", re.M | re.S)
REFUSALS = (HydraException, OmegaConfBaseException, WeightbenchError, WeightCodecsError)


def prose(text: str) -> str:
    return BLOCK.sub("", text)


def links(text: str) -> list[str]:
    return re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`]*`", "", prose(text)))


def run_commands(text: str) -> list[list[str]]:
    """The words after `python run.py` of every such line in a block, without the remark behind them."""
    line = re.compile(r"^(?:\$ |    )?(?:\S+=\S+ )?python run\.py ((?:\S+ ?)*)", re.M)
    found = [shlex.split(words, comments=True) for words in line.findall("\n".join(BLOCK.findall(text)))]
    return [list(itertools.takewhile(lambda word: "=" in word or word[0] == "-", words)) for words in found]


def refusal(words: list[str]) -> str | None:
    """Compose every cell of a command; return what is printed if it is refused."""
    register_schema()
    words = [word for word in words if word not in ("-m", "--help")]
    try:
        axes = [values(word) for word in words if not word.startswith(("hydra/", "hydra."))]
        for point in itertools.product(*axes):
            with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
                config = compose("config", overrides=name_models(point))
                cell: dict[str, Any] = OmegaConf.to_container(config, resolve=False)  # type: ignore[assignment]
                request_of(with_members(cell))
    except MissingExtraError:
        pass
    except REFUSALS as error:
        return one_line(error) if isinstance(error, HydraException | OmegaConfBaseException) else str(error)
    return None


def values(word: str) -> list[str]:
    """The words that a word with a list stands for; of what a search may choose from, the first value."""
    key, _, listed = word.partition("=")
    if chosen := re.findall(r"\w\(([^(),]+)", listed):
        return [f"{key}={chosen[-1]}"]
    return (
        [word]
        if listed.startswith(("[", "{", "'", '"'))
        else [f"{key}={value}" for value in listed.split(",")]
    )


def in_nav(node: Any) -> list[str]:
    if isinstance(node, str):
        return [node]
    parts = node.values() if isinstance(node, dict) else node
    return [page for part in parts for page in in_nav(part)]


def test_every_page_is_in_the_contents_once() -> None:
    nav = in_nav(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])
    assert sorted(nav) == [path.relative_to(DOCS).as_posix() for path in PAGES]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_links_stay_within_the_pages(path: Path) -> None:
    """Files elsewhere in the repository are named by their path: the site does not hold them."""
    inside = [
        link.split("#")[0] for link in links(path.read_text()) if not link.startswith(("#", "https://"))
    ]
    strange = [link for link in inside if DOCS not in (path.parent / link).resolve().parents]
    assert strange == []
    assert [link for link in inside if link.endswith(".md") and not (path.parent / link).is_file()] == []


@pytest.mark.parametrize(
    "path", [path for path in TEXTS if path not in PAGES], ids=lambda path: path.parent.name
)
def test_links_of_other_texts_lead_somewhere(path: Path) -> None:
    named = [link.split("#")[0] for link in links(path.read_text()) if not link.startswith(("#", "https://"))]
    assert [link for link in named if not (path.parent / link).exists()] == []


def test_every_figure_of_a_paper_is_on_a_page_and_every_picture_is_a_figure() -> None:
    shown = {
        (path.parent / link).resolve().relative_to(DOCS).as_posix()
        for path in PAGES
        for link in links(path.read_text())
        if link.endswith(".png")
    }
    drawn = {f"figures/{paper}/{sheet.name}.png" for paper, sheets in SHEETS.items() for sheet in sheets}
    assert shown == drawn


@pytest.mark.parametrize("path", TEXTS, ids=NAMES)
def test_every_file_that_is_named_is_there(path: Path) -> None:
    folders = "benchmarks|codecs|conf|docs|examples|experiments|notebooks|tests"
    named = re.findall(rf"(?<![\w/.])((?:{folders})/[\w./+-]*\w)", path.read_text())
    absent = [name for name in named if not (ROOT / name).exists() and "/NAME" not in name]
    assert [name for name in absent if not name.startswith(GIVEN_BY_THE_READER)] == []


GIVEN_BY_THE_READER = ("docs/figures", "conf/workload/bible.yaml")


@pytest.mark.parametrize("path", TEXTS, ids=NAMES)
def test_no_line_names_a_machine_or_an_index(path: Path) -> None:
    assert re.findall(r"/work/|/root/|/home/|/opt/|pypi\.|\bproxy\b|/tmp/\w+", path.read_text()) == []


@pytest.mark.parametrize("path", TEXTS, ids=NAMES)
def test_lists_stand_apart_as_the_site_needs_it(path: Path) -> None:
    lines = prose(path.read_text()).splitlines()
    starts = re.compile(r"(?:[-*]|\d+\.) ")
    fits = re.compile(r" |#|$|(?:[-*]|\d+\.) ")  # what may stand before a list: its text, a heading, nothing
    joined = [
        line for before, line in itertools.pairwise(lines) if starts.match(line) and not fits.match(before)
    ]
    assert joined == []


def test_every_notebook_is_named() -> None:
    page = (DOCS / "notebooks.md").read_text()
    notebooks = [path.name for path in (ROOT / "notebooks").glob("*.ipynb")]
    assert [name for name in notebooks if f"`notebooks/{name}`" not in page] == []


COMMANDS = {
    " ".join(words): words
    for path in TEXTS
    for words in run_commands(path.read_text())
    if path.name != "faq.md" and "bfloat_parts" not in " ".join(words)
}


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_composes(command: str) -> None:
    words = [word for word in COMMANDS[command] if word != "experiment=NAME"]
    assert refusal(words) is None


MESSAGES = re.findall(r"^\$ python run\.py (.*)\nerror: (.*)", (DOCS / "faq.md").read_text(), re.M)
WHEN_IT_RUNS = (
    "there is no ",
    "/",
    "cannot reach the hub",
    "[Errno",
    "measure=timing takes",
    "Ambiguous value",
    "pysz is not",
)
COMPOSED = [(words, message) for words, message in MESSAGES if not message.startswith(WHEN_IT_RUNS)]


@pytest.mark.parametrize(("words", "message"), COMPOSED)
def test_messages_are_those_that_are_printed(words: str, message: str) -> None:
    assert refusal(shlex.split(words)) == message


def test_the_faq_has_messages_that_are_checked() -> None:
    assert len(COMPOSED) >= 3
