"""reStructuredText to plain text, as far as the Python documentation needs it (ours)."""

import re

__all__ = ["plain_text"]

_DROPPED = frozenset(
    [
        *("module", "moduleauthor", "sectionauthor", "currentmodule", "default-domain", "index", "toctree"),
        *(
            "image",
            "figure",
            "graphviz",
            "table",
            "list-table",
            "csv-table",
            "tabularcolumns",
            "productionlist",
        ),
        *("only", "include", "literalinclude", "raw", "contents", "highlight", "role", "rubric"),
        *("testsetup", "testcleanup", "audit-event", "bpo"),
    ]
)
_ADMONITION = {
    "note": "Note:",
    "warning": "Warning:",
    "seealso": "See also:",
    "tip": "Tip:",
    "caution": "Caution:",
    "important": "Important:",
    "impl-detail": "CPython implementation detail:",
    "availability": "Availability:",
    "versionadded": "New in version",
    "versionchanged": "Changed in version",
    "deprecated": "Deprecated since version",
    "deprecated-removed": "Deprecated since version",
}
_LITERAL = frozenset(
    ["code-block", "sourcecode", "code", "parsed-literal", "doctest", "testcode", "testoutput"]
)

_DIRECTIVE = re.compile(r"^(\s*)\.\.\s+([\w:-]+)::\s*(.*)$")
_COMMENT = re.compile(r"^(\s*)\.\.(\s.*)?$")
_LIST_ITEM = re.compile(r"^\s*([*-]|\d+\.|#\.)\s")
_OPTION = re.compile(r"^\s*:[\w-]+:(\s.*)?$")
_UNDERLINE = re.compile(r"^\s*([=\-~^\"'*#+.:_`])\1{2,}\s*$")
_TABLE_RULE = re.compile(r"^\s*={2,}(\s+={2,})+\s*$")
_GRID = re.compile(r"^\s*[+|].*[+|]\s*$")


def plain_text(source: str) -> str:
    """The prose and code of one reStructuredText document.

    Directives that hold no text and tables are dropped, paragraphs are put on one line each, code keeps its
    lines with an indentation of four.
    """
    return _Document(source.expandtabs(8).splitlines()).text()


def _inline(text: str) -> str:
    """Strip inline markup: roles, links, emphasis, literals."""
    text = re.sub(r":pep:`(\d+)`", r"PEP \1", text)
    text = re.sub(r":[\w:+-]+:`~?!?([^`<]+?)\s*<[^`>]*>`", r"\1", text)
    text = re.sub(r":[\w:+-]+:`~[\w.]*?(\w+(?:\(\))?)`", r"\1", text)
    text = re.sub(r":[\w:+-]+:`!?([^`]+)`", r"\1", text)
    # A backslash escapes markup outside a literal and is itself inside one.
    text = re.sub(r"``(.+?)``", lambda match: match[1].replace("\\", "\0"), text)
    text = re.sub(r"`([^`<]+?)\s*<[^`>]*>`__?", r"\1", text)
    text = re.sub(r"`([^`]+)`_{0,2}", r"\1", text)
    text = re.sub(r"(?<![\w*])\*\*([^\s*](?:[^*\n]*[^\s*])?)\*\*(?![\w*])", r"\1", text)
    text = re.sub(r"(?<![\w*])\*([^\s*](?:[^*\n]*[^\s*])?)\*(?![\w*])", r"\1", text)
    text = re.sub(r"\b([A-Za-z][\w-]*[A-Za-z0-9])_(?=[\s.,;:)]|$)", r"\1", text)
    text = re.sub(r"\s*\[#?\w+\]_", "", text)
    text = text.replace("\\ ", "").replace("\\*", "*").replace("\\", "").replace("\0", "\\")
    return re.sub(r"\s+", " ", re.sub(r"\s+---\s+", " - ", text)).strip()


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _code(lines: list[str]) -> str:
    """A code block with its common indentation replaced by four spaces."""
    kept = [line for line in lines if line.strip()]
    if not kept:
        return ""
    shift = min(_indent(line) for line in kept)
    block = "\n".join(("    " + line[shift:]).rstrip() for line in lines[lines.index(kept[0]) :])
    return block.rstrip()


class _Document:
    """A cursor over the lines; every method takes one construct and leaves the cursor behind it."""

    def __init__(self, lines: list[str]) -> None:
        self.lines = lines
        self.at = 0
        self.paragraphs: list[str] = []

    def text(self) -> str:
        while self.at < len(self.lines):
            line = self.lines[self.at]
            directive = _DIRECTIVE.match(line)
            if not line.strip() or _UNDERLINE.match(line) or _GRID.match(line):
                self.at += 1
            elif _TABLE_RULE.match(line):
                self.skip_table()
            elif directive:
                self.directive(len(directive[1]), directive[2].split(":")[-1], directive[3])
            elif _COMMENT.match(line):
                self.block(_indent(line))
            elif line.lstrip().startswith(">>>"):
                self.paragraphs.append(_code(self.while_text(-1)))
            else:
                self.paragraph(_indent(line))
        return "\n".join(paragraph for paragraph in self.paragraphs if paragraph.strip(" :")) + "\n"

    def block(self, indent: int) -> list[str]:
        """The line at the cursor and all deeper or blank lines behind it."""
        start = self.at
        self.at += 1
        while self.at < len(self.lines):
            line = self.lines[self.at]
            if line.strip() and _indent(line) <= indent:
                break
            self.at += 1
        return self.lines[start : self.at]

    def while_text(self, indent: int) -> list[str]:
        """Lines up to the next one that is blank or not deeper than ``indent``."""
        start = self.at
        while self.at < len(self.lines) and self.lines[self.at].strip():
            if _indent(self.lines[self.at]) <= indent:
                break
            self.at += 1
        return self.lines[start : self.at]

    def skip_table(self) -> None:
        """Pass a simple table, up to the rule that a blank line follows, else to the last rule there is."""
        first = last = self.at
        for number in range(first + 1, len(self.lines)):
            if _TABLE_RULE.match(self.lines[number]):
                last = number
            elif not self.lines[number].strip() and last == number - 1 and last > first + 1:
                break
        self.at = last + 1

    def directive(self, indent: int, name: str, argument: str) -> None:
        if name in _LITERAL:
            self.paragraphs.append(
                _code([line for line in self.block(indent)[1:] if not _OPTION.match(line)])
            )
            return
        if name in _DROPPED:
            self.block(indent)
            return
        self.at += 1
        while self.at < len(self.lines) and _OPTION.match(self.lines[self.at]):
            self.at += 1
        if name in _ADMONITION:
            head = f"{_ADMONITION[name]} {_inline(argument)}".rstrip()
            body = _inline(" ".join(line.strip() for line in self.while_text(indent)))
            mark = ": " if name.startswith(("version", "deprecated")) and body else " "
            self.paragraphs.append((head + mark + body).rstrip())
            return
        # A description such as ``.. function:: f(x)``: its signatures now, its body later as paragraphs.
        signatures = [argument, *(line.strip() for line in self.while_text(indent + 4))]
        self.paragraphs.extend(f"{name} {_inline(text)}" for text in signatures if text)

    def paragraph(self, indent: int) -> None:
        words = [self.lines[self.at].strip()]
        self.at += 1
        while self.at < len(self.lines):
            line = self.lines[self.at]
            if not line.strip() or _UNDERLINE.match(line) or _LIST_ITEM.match(line) or _COMMENT.match(line):
                break
            words.append(line.strip())
            self.at += 1
        text = " ".join(words)
        if not text.endswith("::"):
            self.paragraphs.append(_inline(text))
            return
        self.paragraphs.append(_inline(text[:-2].rstrip() + ":"))
        self.at -= 1
        self.paragraphs.append(_code(self.block(indent)[1:]))
