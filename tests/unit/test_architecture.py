"""The limits of the house hold, and the tools that watch them see what they are there to see."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tools import house, permitted, shape

ROOT = Path(__file__).resolve().parent.parent.parent
SOURCE = ROOT / "src" / "openmcp"
GATEWAY = SOURCE / "gateway.py"


def write(root: Path, name: str, text: str) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


# ---------------------------------------------------------------- the tree as it is


@pytest.mark.skipif(not GATEWAY.exists(), reason="gateway.py is not written yet")
def test_gateway_can_be_read_in_one_sitting() -> None:
    assert len(GATEWAY.read_text(encoding="utf-8").splitlines()) <= 150


def test_shape_of_the_tree_is_within_its_limits() -> None:
    assert shape.measure([SOURCE, ROOT / "tools"]).faults == []


def test_permitted_is_made_only_by_its_makers() -> None:
    assert list(permitted.faults(SOURCE)) == []


def test_no_file_names_a_registry_or_a_folder_of_one_machine() -> None:
    assert house.faults(ROOT) == []


def test_every_module_has_a_place_in_the_house() -> None:
    placed = set(re.findall(r"\w+", " ".join(_layers("house"))))
    present = {path.stem for path in SOURCE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert present - {"__init__"} <= placed


# ---------------------------------------------------------------- shape


LONG_FUNCTION = '"""Doc."""\n\n\ndef long() -> None:\n' + "    pass\n" * 60
DEEP = (
    '"""Doc."""\n\n\ndef deep() -> None:\n'
    + "".join("    " * (depth + 1) + f"if {depth}:\n" for depth in range(5))
    + "    " * 6
    + "pass\n"
)


@pytest.mark.parametrize(
    ("name", "text", "fault"),
    [
        ("long.py", '"""Doc."""\n' + "\n" * 500, "501 lines, at most 500"),
        ("gateway.py", '"""Doc."""\n' + "\n" * 150, "151 lines, at most 150"),
        ("sub/gateway.py", '"""Doc."""\n' + "\n" * 150, None),
        ("function.py", LONG_FUNCTION, "has 61 lines, at most 60"),
        ("deep.py", DEEP, "nests 5 blocks, at most 4"),
        ("bare.py", "VALUE = 1\n", "no module docstring"),
        ("untyped.py", '"""Doc."""\n\n\ndef f(a) -> None:\n    pass\n', "not fully typed"),
        ("unanswered.py", '"""Doc."""\n\n\ndef f(a: int):\n    pass\n', "not fully typed"),
        ("method.py", '"""Doc."""\n\n\nclass C:\n    def f(self) -> None:\n        pass\n', None),
    ],
)
def test_shape_finds_what_is_over_a_limit(tmp_path: Path, name: str, text: str, fault: str | None) -> None:
    write(tmp_path, name, text)
    found = "\n".join(shape.measure([tmp_path]).faults)
    assert (fault or "") in found
    assert bool(found) == bool(fault)


def test_shape_counts_elif_as_one_level(tmp_path: Path) -> None:
    chain = "".join(f"    {'if' if n == 0 else 'elif'} a == {n}:\n        pass\n" for n in range(8))
    write(tmp_path, "chain.py", f'"""Doc."""\n\n\ndef f(a: int) -> None:\n{chain}')
    assert shape.measure([tmp_path]).faults == []


def test_shape_leaves_the_docstring_of_a_function_out(tmp_path: Path) -> None:
    documented = LONG_FUNCTION.replace("    pass\n", '    """A\n\n    B\n    """\n', 1)
    write(tmp_path, "documented.py", documented)
    assert not any("lines" in fault for fault in shape.measure([tmp_path]).faults)


def test_shape_finds_a_copied_passage(tmp_path: Path) -> None:
    passage = "".join(f"VALUE_{n} = {n}\n" for n in range(20))
    write(tmp_path, "one.py", f'"""One."""\n{passage}')
    write(tmp_path, "two.py", f'"""Two."""\n{passage}')
    assert any("repeated windows" in fault for fault in shape.measure([tmp_path]).faults)


def test_shape_ends_with_one_when_asked_to_check(tmp_path: Path) -> None:
    write(tmp_path, "bare.py", "VALUE = 1\n")
    command = [sys.executable, str(ROOT / "tools" / "shape.py"), str(tmp_path)]
    assert subprocess.run(command, check=False, capture_output=True).returncode == 0
    assert subprocess.run([*command, "--check"], check=False, capture_output=True).returncode == 1


# ---------------------------------------------------------------- the proof


@pytest.mark.parametrize(
    "body",
    [
        "def forge() -> object:\n    return Permitted()\n",
        "def forge() -> object:\n    return decision.Permitted(1)\n",
        "from openmcp.model.decision import Permitted as P\nproof = P()\n",
        "def own() -> object:\n    return Permitted()\n",
        "make = Permitted\n",
        "class Forged(Permitted):\n    pass\n",
        "proof = cast(Permitted, object())\n",
        "proof = msgspec.convert({}, Permitted)\n",
        "proof = structs.replace(permitted, message=1)\n",
        "def f(proof: object = Permitted()) -> None: ...\n",
        "proof = box[Permitted()]\n",
    ],
)
def test_permitted_made_elsewhere_is_found(tmp_path: Path, body: str) -> None:
    write(tmp_path, "upstream/client.py", body)
    assert len(list(permitted.faults(tmp_path))) >= 1


def test_permitted_made_by_another_function_of_the_gateway_is_found(tmp_path: Path) -> None:
    write(tmp_path, "gateway.py", "def forward() -> object:\n    return Permitted()\n")
    assert len(list(permitted.faults(tmp_path))) == 1


@pytest.mark.parametrize(
    "body",
    [
        "def admit() -> Permitted:\n    return Permitted()\n",
        "class Gateway:\n    async def own(self) -> Permitted:\n        return Permitted(1)\n",
        "def send(proof: Permitted, more: list[Permitted]) -> None: ...\n",
        "Sender = Callable[[Permitted], None]\n",
        "proof: Permitted | None = None\n",
        "def f(x: object) -> bool:\n    return isinstance(x, Permitted)\n",
        "def f(x: object) -> None:\n    match x:\n        case Permitted():\n            pass\n",
    ],
)
def test_permitted_may_be_named_and_made_by_its_makers(tmp_path: Path, body: str) -> None:
    write(tmp_path, "gateway.py", body)
    assert list(permitted.faults(tmp_path)) == []


# ---------------------------------------------------------------- the repository


@pytest.mark.parametrize(
    "line",
    [
        "index = https://" + "pypi." + "org/simple",
        "resolved: https://registry." + "npmjs." + "org/left-pad",
        "see /" + "work/main/x.py",
    ],
)
def test_house_finds_what_ties_a_file_to_one_machine(tmp_path: Path, line: str) -> None:
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    write(tmp_path, "a.txt", f"fine\n{line}\n")
    assert [fault.startswith("a.txt:2: ") for fault in house.faults(tmp_path)] == [True]


def test_house_finds_a_crowded_root_and_generated_files(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    for number in range(20):
        write(tmp_path, f"{number}.txt", "fine, even with docs/" + "work/x and networks\n")
    assert house.faults(tmp_path) == []
    write(tmp_path, "build/made.txt", "fine\n")
    assert len(house.faults(tmp_path)) == 2


def test_no_lock_names_where_its_packages_come_from() -> None:
    for lock in (ROOT / "requirements").glob("*.txt"):
        text = lock.read_text(encoding="utf-8")
        assert "://" not in text, lock
        assert "--hash=sha256:" in text, lock
    node = (ROOT / "requirements" / "conformance" / "package-lock.json").read_text(encoding="utf-8")
    assert '"resolved"' not in node


# ---------------------------------------------------------------- the import contract


@pytest.mark.parametrize(
    ("importer", "line", "broken"),
    [
        ("policy/engine.py", "import openmcp.approvals.service", True),
        ("policy/engine.py", "import openmcp.gateway", True),
        ("mcp/message.py", "import openmcp.model", True),
        ("plugins.py", "import openmcp.state", True),
        ("policy/engine.py", "import sqlite3", True),
        ("state/memory.py", "import openmcp.state.sqlite", True),
        ("audit/sinks/file.py", "import openmcp.audit.sinks.stdout", True),
        ("audit/sinks/file.py", "import openmcp.audit.sinks.base", False),
        ("nowhere.py", "import json", True),
        ("state/sqlite.py", "import sqlite3", False),
        ("gateway.py", "import openmcp.policy.engine", False),
    ],
)
def test_import_contract_sees_a_planted_import(tmp_path: Path, importer: str, line: str, broken: bool) -> None:
    files = ["state/memory.py", "state/sqlite.py", "policy/engine.py", "approvals/service.py", "mcp/message.py"]
    files += ["audit/sinks/base.py", "audit/sinks/file.py", "audit/sinks/stdout.py"]
    files += ["model/__init__.py", "gateway.py", "plugins.py", importer]
    for name in files:
        path = write(tmp_path, f"openmcp/{name}", '"""Doc."""\n')
        while path.parent != tmp_path:
            path = path.parent
            write(path, "__init__.py", '"""Doc."""\n')
    write(tmp_path, f"openmcp/{importer}", f'"""Doc."""\n\n{line}\n')
    write(tmp_path, "pyproject.toml", (ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    linter = Path(sys.executable).parent / "lint-imports"
    # The tree under test comes first on the path; the installed package must not answer for it.
    done = subprocess.run(
        [linter, "--no-cache"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path)},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == int(broken), done.stdout + done.stderr
    assert "kept" in done.stdout


def _layers(identifier: str) -> list[str]:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    return next(list[str](contract["layers"]) for contract in contracts if contract["id"] == identifier)
