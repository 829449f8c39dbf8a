"""The documents as tests see them: pages, their fenced blocks, and the commands in those.

A fence says what a block is: `yaml complete` is a whole configuration, `yaml file=PATH`
one file of the page's configuration, plain `yaml` one or several resources. `sh` holds
commands, one per line or joined by a backslash.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WRITTEN = [ROOT / name for name in ("README.md", "ARCHITECTURE.md")] + sorted((ROOT / "docs" / "guides").glob("*.md"))
ALL = sorted({*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")})

_FENCE = re.compile(r"^( *)```([^\n`]*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One fenced block."""

    page: Path
    line: int
    language: str
    label: str
    text: str

    def __str__(self) -> str:
        return f"{name(self.page)}:{self.line}"


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for found in _FENCE.finditer(text):
        indent, info, body = found.groups()
        language, _, label = info.strip().partition(" ")
        line = text.count("\n", 0, found.start()) + 1
        yield Block(page, line, language, label, re.sub(rf"^{indent}", "", body, flags=re.MULTILINE))


def of_language(language: str) -> list[Block]:
    return [block for page in WRITTEN for block in blocks(page) if block.language == language]


def commands(block: Block) -> list[str]:
    """The commands of a block, each on one line."""
    joined = block.text.replace("\\\n", " ")
    return [line.strip() for line in joined.splitlines() if line.strip() and not line.strip().startswith("#")]


def outside_fences(page: Path) -> str:
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def write_configuration(page: Path, folder: Path) -> Path | None:
    """Write the page's configuration as a reader would; returns its bootstrap file, `None` if the page has none."""
    for block in blocks(page):
        if block.language == "yaml" and (block.label == "complete" or block.label.startswith("file=")):
            path = folder / (block.label.removeprefix("file=") if block.label != "complete" else "gateway.yaml")
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(block.text, encoding="utf-8")
    bootstrap = folder / "gateway.yaml"
    return bootstrap if bootstrap.exists() else None
