"""Measures the shape of a Python source tree and says where it breaks the limits.

Called by `make check` as `python tools/shape.py --check src/openmcp tools`; without
`--check` it only prints the figures. Knows nothing of what the code means: style is
ruff's, types are mypy's and pyright's, decision points are ruff's C901.

The limits below are a ratchet: they are only ever tightened.
"""

import argparse
import ast
import statistics
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

FILE_CAP = 500
"""Lines of a file, everything counted."""

FILE_CAPS = {"gateway.py": 150}
"""Tighter caps by path under the measured root: who reads one file only, reads this one."""

FUNCTION_CAP = 60
"""Lines of a function without its docstring, so that explaining costs nothing."""

NESTING_CAP = 4
"""Blocks inside one another within a function."""

WINDOW = 12
"""Lines that must be equal in a row before they count as repeated."""

REPEATED_CAP_PERCENT = 1.0
"""Share of windows that may occur more than once in the tree."""

Function = ast.FunctionDef | ast.AsyncFunctionDef
BLOCKS = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith, ast.Try, ast.TryStar, ast.Match)
SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)


@dataclass
class Shape:
    """The figures of one tree, and each place that breaks a limit."""

    file_lines: list[int] = field(default_factory=list[int])
    function_lines: list[int] = field(default_factory=list[int])
    windows: Counter[str] = field(default_factory=Counter[str])
    places: dict[str, str] = field(default_factory=dict[str, str])
    """For each window the place where it was seen first."""
    faults: list[str] = field(default_factory=list[str])

    @property
    def repeated_percent(self) -> float:
        """Share of windows that occur more than once, in percent."""
        repeats = sum(count for count in self.windows.values() if count > 1)
        return 100 * repeats / max(self.windows.total(), 1)

    def report(self) -> str:
        """The figures as lines of text."""
        rows = [
            f"{name:9} n={len(sizes)} median={statistics.median(sizes):.0f} p95={_p95(sizes)} max={max(sizes)}"
            for name, sizes in (("file", self.file_lines), ("function", self.function_lines))
            if sizes
        ]
        return "\n".join([*rows, f"repeated windows {self.repeated_percent:.2f} %"])


def measure(roots: list[Path]) -> Shape:
    """The shape of all Python files under the roots.

    Raises:
        SyntaxError: a file is not Python of this interpreter's version.
    """
    shape = Shape()
    for root in roots:
        for path in sorted(root.rglob("*.py")):
            _measure_file(shape, path, root)
    if shape.repeated_percent > REPEATED_CAP_PERCENT:
        shape.faults += _repetitions(shape)
    return shape


def _measure_file(shape: Shape, path: Path, root: Path) -> None:
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text, filename=str(path))
    lines = text.count("\n")
    shape.file_lines.append(lines)
    cap = FILE_CAPS.get(path.relative_to(root).as_posix(), FILE_CAP)
    if lines > cap:
        shape.faults.append(f"{path}:1: {lines} lines, at most {cap}")
    if not ast.get_docstring(tree):
        shape.faults.append(f"{path}:1: no module docstring")
    for node in ast.walk(tree):
        if isinstance(node, Function):
            _measure_function(shape, path, node)
    for line, window in _windows(text):
        shape.windows[window] += 1
        shape.places.setdefault(window, f"{path}:{line}")


def _measure_function(shape: Shape, path: Path, node: Function) -> None:
    place = f"{path}:{node.lineno}: {node.name}()"
    size = _body_lines(node)
    shape.function_lines.append(size)
    if size > FUNCTION_CAP:
        shape.faults.append(f"{place} has {size} lines, at most {FUNCTION_CAP}")
    if not _is_typed(node):
        shape.faults.append(f"{place} is not fully typed")
    depth = max((_depth(child) for child in node.body), default=0)
    if depth > NESTING_CAP:
        shape.faults.append(f"{place} nests {depth} blocks, at most {NESTING_CAP}")


def _body_lines(node: Function) -> int:
    first = node.body[0]
    docstring_lines = 0
    if ast.get_docstring(node, clean=False) is not None:
        docstring_lines = (first.end_lineno or first.lineno) - first.lineno + 1
    return (node.end_lineno or node.lineno) - node.lineno + 1 - docstring_lines


def _is_typed(node: Function) -> bool:
    positional = [*node.args.posonlyargs, *node.args.args]
    if positional and positional[0].arg in ("self", "cls"):
        positional = positional[1:]
    extra = [arg for arg in (node.args.vararg, node.args.kwarg) if arg]
    return node.returns is not None and all(arg.annotation for arg in [*positional, *node.args.kwonlyargs, *extra])


def _depth(node: ast.AST) -> int:
    """Blocks inside one another at and below this node; a function or class inside starts anew."""
    if isinstance(node, SCOPES):
        return 0
    children = [child for child in ast.iter_child_nodes(node) if not _is_elif(node, child)]
    below = max(map(_depth, children), default=0)
    beside = max((_depth(child) for child in ast.iter_child_nodes(node) if _is_elif(node, child)), default=0)
    return max(below + isinstance(node, BLOCKS), beside)


def _is_elif(node: ast.AST, child: ast.AST) -> bool:
    return isinstance(node, ast.If) and node.orelse == [child] and isinstance(child, ast.If)


def _windows(text: str) -> Iterator[tuple[int, str]]:
    """Each run of code lines with the line where it starts; indentation, comments and imports left out."""
    lines = [
        (number, line.strip())
        for number, line in enumerate(text.splitlines(), start=1)
        if line.strip() and not line.strip().startswith(("#", "import ", "from "))
    ]
    for start in range(len(lines) - WINDOW + 1):
        yield lines[start][0], "\n".join(line for _, line in lines[start : start + WINDOW])


def _repetitions(shape: Shape) -> list[str]:
    head = f"repeated windows {shape.repeated_percent:.2f} %, at most {REPEATED_CAP_PERCENT} %"
    common = [f"{shape.places[window]}: {n} times" for window, n in shape.windows.most_common(10) if n > 1]
    return [head, *common]


def _p95(values: list[int]) -> int:
    return sorted(values)[round(0.95 * (len(values) - 1))]


def main() -> int:
    """Print the figures; with `--check`, exit 1 where a limit is broken."""
    parser = argparse.ArgumentParser(description="Measure the shape of Python source trees.")
    parser.add_argument("roots", nargs="+", type=Path)
    parser.add_argument("--check", action="store_true", help="exit 1 where a limit is broken")
    arguments = parser.parse_args()
    shape = measure(arguments.roots)
    print(shape.report())
    print(*shape.faults, sep="\n", end="\n" if shape.faults else "")
    return int(bool(shape.faults) and arguments.check)


if __name__ == "__main__":
    sys.exit(main())
