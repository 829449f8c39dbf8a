"""Checks that a `Permitted` is made only by `admit` and `own` of gateway.py.

A `Permitted` is the proof that an exchange passed every stage; whoever can make one
can go round them. So the class may be *named* anywhere (annotations, `isinstance`,
`match`, the arguments of a generic type), and *used as a value* only by those two
functions. A cast, a subclass, a copy under another name are as good as a call and
are refused alike.

Called by `make check` as `python tools/permitted.py src/openmcp`.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

PROOF = "Permitted"
HOME = "gateway.py"
MAKERS = ("admit", "own")
COPIES = ("replace", "copy", "deepcopy")

Function = ast.FunctionDef | ast.AsyncFunctionDef


class Finder(ast.NodeVisitor):
    """Collects the places of one file where the proof could come into being."""

    def __init__(self, *, is_home: bool) -> None:
        self.faults: list[tuple[int, str]] = []
        self._is_home = is_home
        self._names = {PROOF}
        self._makers = 0

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        self._names |= {alias.asname for alias in node.names if alias.name == PROOF and alias.asname}

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._function(node)

    def _function(self, node: Function) -> None:
        is_maker = self._is_home and node.name in MAKERS
        self._makers += is_maker
        for child in [*node.decorator_list, *filter(None, _defaults(node)), *node.body]:
            self.visit(child)
        self._makers -= is_maker

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value:
            self.visit(node.value)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        self.visit(node.value)
        # `list[Permitted]` is a type; `makers[Permitted(…)]` holds a call and is looked at.
        for call in ast.walk(node.slice):
            if isinstance(call, ast.Call):
                self.visit(call)

    def visit_MatchClass(self, node: ast.MatchClass) -> None:
        for pattern in [*node.patterns, *node.kwd_patterns]:
            self.visit(pattern)

    def visit_Call(self, node: ast.Call) -> None:
        name = _last_name(node.func)
        if name in ("isinstance", "issubclass"):
            self.visit(node.args[0])
            return
        if name in COPIES and node.args and _last_name(node.args[0]).lower().endswith(PROOF.lower()):
            self._found(node, "copied")
        self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        if node.id in self._names:
            self._found(node, "used as a value")

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if node.attr == PROOF:
            self._found(node, "used as a value")
        self.visit(node.value)

    def _found(self, node: ast.expr, what: str) -> None:
        if not self._makers:
            self.faults.append((node.lineno, what))


def _defaults(node: Function) -> list[ast.expr | None]:
    return [*node.args.defaults, *node.args.kw_defaults]


def _last_name(node: ast.AST) -> str:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case _:
            return ""


def faults(root: Path) -> Iterator[str]:
    """One line for each place under the root that could make the proof and must not."""
    for path in sorted(root.rglob("*.py")):
        finder = Finder(is_home=path == root / HOME)
        finder.visit(ast.parse(path.read_text(encoding="utf-8"), filename=str(path)))
        for line, what in finder.faults:
            yield f"{path}:{line}: {PROOF} {what} outside {' and '.join(MAKERS)} of {HOME}"


def main() -> int:
    """Print what was found; exit 1 if there is anything."""
    found = [fault for root in sys.argv[1:] for fault in faults(Path(root))]
    print(*found, sep="\n", end="\n" if found else "")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
