"""Every YAML in the documents is valid, and means the same to a YAML 1.1 reader."""

import re
from pathlib import Path

import pytest
import yaml

from openmcp.config import yaml_file
from openmcp.config.documents import validate
from openmcp.config.loader import load
from tests.docs import made, pages
from tests.support import credentials

BLOCKS = pages.of_language("yaml")
COMPLETE = [block for block in BLOCKS if block.label == "complete"]
IN_FILES = sorted({block.page for block in BLOCKS if block.label.startswith("file=")})
PARTS = [block for block in BLOCKS if not block.label]
SECRET = "a secret of the tests, long enough for all"
NEEDS_A_KEY = "README.md"
"""Its configuration is finished by what `openmcp key new` prints; test_readme does that."""


def secrets(text: str, folder: Path) -> dict[str, str]:
    """Values for all secrets that a text names; files are made."""
    for name in re.findall(r"\{file: ([\w./-]+)\}", text):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(SECRET)
    return {name: _value(name) for name in re.findall(r"\{env: (\w+)\}", text)}


def _value(name: str) -> str:
    return credentials.argon2id("correct") if name.endswith("_HASH") else SECRET


def test_documents_have_examples_of_each_form() -> None:
    assert COMPLETE
    assert IN_FILES
    assert PARTS
    assert {block.label for block in BLOCKS if not block.label.startswith("file=")} <= {"", "complete"}


@pytest.mark.parametrize("block", COMPLETE, ids=str)
def test_complete_configuration_loads_without_a_warning(block: pages.Block, tmp_path: Path) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_text(block.text)
    made.certificates(block.text, tmp_path)
    loaded = load([path], env=secrets(block.text, tmp_path))
    assert loaded.snapshot.servers or loaded.snapshot.agents
    if pages.name(block.page) != NEEDS_A_KEY:
        assert loaded.warnings == ()


@pytest.mark.parametrize("page", IN_FILES, ids=pages.name)
def test_configuration_in_several_files_loads_without_a_warning(page: Path, tmp_path: Path) -> None:
    bootstrap = pages.write_configuration(page, tmp_path)
    assert bootstrap is not None
    loaded = load([bootstrap], env={})
    assert loaded.snapshot.servers
    assert loaded.snapshot.policies
    assert loaded.warnings == ()


@pytest.mark.parametrize("block", PARTS, ids=str)
def test_single_resources_are_valid(block: pages.Block) -> None:
    documents = validate([yaml_file.parse(block.text, Path(str(block)))])
    assert documents.faults == ()
    assert documents.usable


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_reader_of_yaml_1_1_sees_the_same(block: pages.Block) -> None:
    ours = [document.plain() for document in yaml_file.parse(block.text, Path("page.yaml")).documents]
    assert list(yaml.safe_load_all(block.text)) == ours
