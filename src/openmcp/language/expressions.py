"""CEL: the conditions of rules, compiled and type-checked when they are loaded, three-valued when they run.

The one file that knows the engine (`cel-expr-python`), and closes what it leaves open: a value
nested or looped too deeply kills its process, one lone surrogate raises, a large one takes
milliseconds to convert, an evaluation that failed is a value like any other. What reaches the
engine from here has been measured first, and every answer is yes, no, or why there is none.

An expression evaluates on the stack of its thread: `MAX_DEPTH` fits threads of 256 KiB.
"""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, Final, TypeAlias, cast
from urllib.parse import urlsplit

from cel_expr_python import cel
from cel_expr_python.ext import ext_bindings, ext_encoders, ext_math, ext_optional, ext_strings

from openmcp.language.globs import compile_globs

Answer: TypeAlias = bool | str
"""Whether a condition holds; a text says why that cannot be told."""

MAX_CHARS: Final = 4096
"""Longest expression. Nobody can review a longer one."""

MAX_DEPTH: Final = 64
MAX_NODES: Final = 4_096
MAX_TEXT: Final = 256 << 10
"""Bounds on one value (arguments, a result): within them its conversion takes less than 5 ms."""

RESPONSE: Final = frozenset({"result", "isError", "findings"})
"""What only conditions on content in responses may read."""

_INT64 = 1 << 63
_T = cel.Type
_TEXTS: Final = _T.Map(_T.STRING, _T.STRING)
_ANYTHING: Final = _T.Map(_T.STRING, _T.DYN)
_VARIABLES: Final[Mapping[str, cel.Type]] = {
    "agent.id": _T.STRING,
    "agent.name": _T.STRING,
    "agent.groups": _T.List(_T.STRING),
    "agent.labels": _TEXTS,
    "agent.attributes": _ANYTHING,
    "agent.source": _T.STRING,
    "agent.trust": _T.STRING,
    "server.name": _T.STRING,
    "server.labels": _TEXTS,
    "mcp.method": _T.STRING,
    "mcp.kind": _T.STRING,
    "mcp.name": _T.STRING,
    "mcp.uri": _T.STRING,
    "mcp.version": _T.STRING,
    "tool.name": _T.STRING,
    "tool.digest": _T.STRING,
    "tool.pinned": _T.BOOL,
    "tool.declared": _ANYTHING,
    "args": _T.DYN,
    "request.ip": _T.STRING,
    "request.headers": _TEXTS,
    "session.id": _T.STRING,
    "session.age": _T.DURATION,
    "session.calls": _T.INT,
    "now": _T.TIMESTAMP,
}
_OF_RESPONSES: Final[Mapping[str, cel.Type]] = {
    "result": _T.DYN,
    "isError": _T.BOOL,
    "findings": _T.Map(_T.STRING, _T.INT),
}
_NESTED: Final = frozenset({"args", "result", "agent.attributes", "tool.declared"})
"""Variables whose values others have made at will."""

GROUPS: Final = ("agent", "server", "mcp", "tool", "args", "request", "session", "now", *sorted(RESPONSE))
_READ_ALONE: Final = ("session.calls", "session.id")
_FAULT = re.compile(r"ERROR: <input>:(\d+):(\d+): (.*)")
_UNDECLARED = re.compile(r"undeclared reference to '([^']*)'")
_MISSING = re.compile(r'Key not found in map : "([^"]*)"')
_REASONS: Final = {
    "No matching overload": "a value has another type than the condition takes",
    "Iteration budget": "it takes too many steps",
    "divide by zero": "it divides by zero",
    "modulus by zero": "it divides by zero",
    "Index error": "a list is shorter than the condition takes",
    "invalid regular expression": "a regular expression is none",
    "SELECT to non-message": "a value has another type than the condition takes",
    "out of range": "a number is out of range",
    "overflow": "a number is out of range",
}
_LITERAL = r"""r?(?:"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')"""
_MATCHES = re.compile(rf"\bmatches\s*\(\s*(?:[\w.]+\s*,\s*)?({_LITERAL})\s*\)")


@dataclass(frozen=True, slots=True, eq=False)
class Expression:
    """One condition. Equal to itself only."""

    source: str
    reads: frozenset[str]
    """Groups of variables: `agent`, `args`, `now`, …; besides `session.calls` and `session.id` by themselves."""

    _compiled: cel.Expression

    def ask(self, scope: "Scope") -> Answer:
        """Return whether the condition holds of what is in scope; a text where that cannot be told."""
        for variable, why in scope.unreadable.items():
            if self._may_read(variable):
                return why
        try:
            value = self._compiled.eval(scope.activation)
        except (RuntimeError, ValueError, TypeError, OverflowError) as fault:
            return self._why(str(fault))
        if value.type() == _T.BOOL:
            held: Any = value.value()
            return held is True
        return self._why(str(value.value())) if value.type() == _T.ERROR else "gives something else than true or false"

    def _why(self, fault: str) -> str:
        """Return why there is no answer, in words that hold nothing but what the rule's author wrote."""
        key = _MISSING.search(fault)
        if key is not None:
            return f"there is no `{key[1]}`" if key[1] in self.source else "a key is missing"
        return next((why for words, why in _REASONS.items() if words in fault), "it cannot be evaluated")

    def _may_read(self, variable: str) -> bool:
        return variable.partition(".")[0] in self.reads and variable.rpartition(".")[2] in self.source


class Scope:
    """The values of one message, put to the engine once however many conditions look at them."""

    __slots__ = ("activation", "unreadable")

    def __init__(self, values: dict[str, Any], *, is_of_response: bool = False) -> None:
        """`values`: by the names of `variables`; it is the scope's own from now on."""
        self.unreadable: dict[str, str] = {}
        """Variables that the engine must not see, and why."""

        for name in _NESTED:
            value = values.get(name)
            fault = unreadable(value) if value else ""
            if fault:
                self.unreadable[name] = f"{name} {fault}"
                del values[name]
        self.activation = _environment(is_of_response).Activation(values)


@lru_cache(4096)
def compile_expression(source: str, *, is_of_response: bool = False) -> Expression:
    """Return the condition.

    Raises: ValueError with line, column and what is wrong; `line 1, column 5: …`.
    """
    if len(source) > MAX_CHARS:
        raise ValueError(f"an expression has at most {MAX_CHARS} characters, this one has {len(source)}")
    try:
        source.encode()
        compiled = _environment(is_of_response).compile(source)
    except UnicodeEncodeError:
        raise ValueError("an expression is text; this one holds half of a surrogate pair") from None
    except RuntimeError as fault:
        raise ValueError(_explained(str(fault), is_of_response=is_of_response)) from None
    if compiled.return_type() != _T.BOOL:
        kind = compiled.return_type().name()
        raise ValueError(f"a condition is true or false; this one gives {kind.lower()}" + _hint(kind))
    _require_patterns(source)
    reads = _reads(source, is_of_response=is_of_response)
    expression = Expression(source, reads, compiled)
    if not reads:
        _require_answer(expression)
    return expression


def variables() -> Mapping[str, str]:
    """Return the variables of expressions with their types, those of responses last; for the reference."""
    return {name: type.name() for name, type in {**_VARIABLES, **_OF_RESPONSES}.items()}


def unreadable(value: object) -> str:
    """Return why the engine must not be given a value; empty if it may.

    Deeper, larger or stranger than honest arguments are; measured without recursion, in time proportional to what
    is allowed.
    """
    if value is None or isinstance(value, bool | float):
        return ""
    left, text = MAX_NODES, MAX_TEXT
    level: list[object] = [value]
    for _ in range(MAX_DEPTH):
        below: list[object] = []
        for item in level:
            if isinstance(item, str):
                text -= len(item)
                if not item.isascii() and _is_torn(item):
                    return "holds half of a surrogate pair"
            elif isinstance(item, Mapping):
                held = cast("Mapping[object, object]", item)
                below.extend(held.keys())
                below.extend(held.values())
            elif isinstance(item, list):
                below.extend(cast("list[object]", item))
            elif item is not None and not isinstance(item, bool | float | int):
                return "holds something that is not JSON"
            elif isinstance(item, int) and not -_INT64 <= item < _INT64:
                return "holds a number of more than 64 bits"
            if text < 0 or len(below) > left:
                return f"is larger than conditions can look at ({MAX_NODES} values, {MAX_TEXT >> 10} KiB of text)"
        if not below:
            return ""
        left -= len(below)
        level = below
    return f"is nested more than {MAX_DEPTH} deep"


def _is_torn(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


@cache
def _environment(is_of_response: bool, without: str = "") -> cel.Env:
    known = {**_VARIABLES, **(_OF_RESPONSES if is_of_response else {})}
    kept = {name: type for name, type in known.items() if name != without and name.partition(".")[0] != without}
    extensions = [
        ext_strings.ExtStrings(),
        ext_optional.ExtOptional(),
        ext_math.ExtMath(),
        ext_bindings.ExtBindings(),
        ext_encoders.ExtEncoders(),
    ]
    return cel.NewEnv(variables=kept, extensions=extensions, functions=_functions())


def _functions() -> list[cel.FunctionDecl]:
    """What rules about addresses and names need and CEL lacks. One that raises gives an error like any other."""
    two, one = [_T.STRING, _T.STRING], [_T.STRING]
    return [
        cel.FunctionDecl("glob", [cel.Overload("glob_string_string", _T.BOOL, two, False, _glob)]),
        cel.FunctionDecl("cidrContains", [cel.Overload("cidr_string_string", _T.BOOL, two, False, _cidr_contains)]),
        cel.FunctionDecl("host", [cel.Overload("host_string", _T.STRING, one, False, _host)]),
    ]


@lru_cache(512)
def _compiled_glob(pattern: str) -> Any:
    return compile_globs((pattern,))


def _glob(pattern: str, text: str) -> bool:
    return bool(_compiled_glob(pattern)(text))


def _cidr_contains(network: str, address: str) -> bool:
    return ipaddress.ip_address(address) in _network(network)


@lru_cache(512)
def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    return ipaddress.ip_network(text)


def _host(url: str) -> str:
    """Return the host of a URL in lower case; anything that two readers could take for two hosts is an error."""
    if not url.isascii() or any(char <= " " or char in '\\"<>^`{|}\x7f' for char in url):
        raise ValueError("not a plain URL")
    parts = urlsplit(url)
    if not parts.scheme or not parts.netloc or "@" in parts.netloc or "%" in parts.netloc or not parts.hostname:
        raise ValueError("not a plain URL")
    return parts.hostname


def _reads(source: str, *, is_of_response: bool) -> frozenset[str]:
    """Return which variables an expression cannot be compiled without."""
    names = [name for name in (*GROUPS, *_READ_ALONE) if name.partition(".")[0] in source]
    return frozenset(name for name in names if not _compiles(source, is_of_response, without=name))


def _compiles(source: str, is_of_response: bool, *, without: str) -> bool:
    try:
        _environment(is_of_response, without).compile(source)
    except RuntimeError:
        return False
    return True


def _require_patterns(source: str) -> None:
    """The engine finds a faulty regular expression only when it runs; one that stands there is tried at once."""
    for literal in _MATCHES.findall(source):
        value = _environment(False).compile(f"''.matches({literal})").eval()
        if value.type() == _T.ERROR:
            why = _brief(str(value.value())).removeprefix("invalid regular expression: ")
            raise ValueError(f"RE2 refuses the regular expression {literal[:80]}: {why}")


def _require_answer(expression: Expression) -> None:
    nobody: Any = cel.NewEnv().Activation({})
    scope = Scope.__new__(Scope)
    scope.activation, scope.unreadable = nobody, {}
    answer = expression.ask(scope)
    if isinstance(answer, str):
        raise ValueError(f"this never gives an answer: {answer}")


def _explained(fault: str, *, is_of_response: bool) -> str:
    found = _FAULT.search(fault)
    if found is None:
        return f"not a CEL expression: {_brief(fault)}"
    line, column, why = found.groups()
    why = why.replace(" (in container '')", "").strip()
    name = _UNDECLARED.search(why)
    return f"line {line}, column {column}: {why}{_unknown(name[1], is_of_response) if name else ''}"


def _unknown(name: str, is_of_response: bool) -> str:
    root = name.partition(".")[0]
    if root in RESPONSE and not is_of_response:
        return "; it is there in content rules of `phase: response` only"
    known = [variable for variable in _VARIABLES if variable.partition(".")[0] == root] or list(GROUPS[:8])
    return f"; known: {', '.join(known)}"


def _hint(kind: str) -> str:
    return "; has() is for members of maps: a variable itself is always there" if kind == "STRING" else ""


def _brief(fault: str) -> str:
    """Return the engine's words on one line, without its codes; never more than a sentence."""
    line = fault.split("\n", 1)[0]
    return re.sub(r"^[A-Z_]+: ", "", line).removesuffix(" [INTERNAL]")[:160]
