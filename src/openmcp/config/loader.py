"""Files in, a `Snapshot` or every fault of all files out.

Called by `openmcp serve`, `openmcp validate` and the sources that watch. Changes
nothing outside: a key that is absent is not made here, a directory not created.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from openmcp.config import check, check_approvals, check_policies, later, lint, yaml_file
from openmcp.config.compile import compile_snapshot
from openmcp.config.documents import Placed, validate
from openmcp.config.inventory import Inventory
from openmcp.config.resources import PolicyDocument, PolicyTestDocument
from openmcp.config.secrets import Secrets
from openmcp.config.snapshot import Snapshot
from openmcp.config.stamps import Stamp, stamp
from openmcp.config.yaml_file import Node, YamlFile, child_at
from openmcp.errors import Fault, Misconfigured

SUFFIXES = frozenset({".yaml", ".yml"})


@dataclass(frozen=True, slots=True)
class Loaded:
    """A valid configuration."""

    snapshot: Snapshot
    warnings: tuple[Fault, ...] = ()
    """What is probably not meant; nothing is refused for it."""

    policies: tuple[Placed[PolicyDocument], ...] = field(default=(), compare=False)
    """The policies as they are written, for what has to be said about their places."""

    tests: tuple[Placed[PolicyTestDocument], ...] = field(default=(), compare=False)
    """Cases for `openmcp policy test`; nothing of a gateway depends on them."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try to load: what came of it, and which files and directories it depended on."""

    outcome: Loaded | Misconfigured
    watched: Mapping[Path, Stamp]
    """Each with what it was just before it was read."""


def load(paths: Sequence[Path], *, env: Mapping[str, str], is_rehearsal: bool = False) -> Loaded:
    """Return the configuration in the files, and in those that their `GatewayConfig` names.

    `is_rehearsal`: it is tried out and not served. So it may ask for what only the running gateway lacks, it needs no
    secrets, and kinds of which there is no document may be kept elsewhere.

    Raises: Misconfigured with every fault of all files.
    """
    outcome = attempt(paths, env=env, is_rehearsal=is_rehearsal).outcome
    if isinstance(outcome, Misconfigured):
        raise outcome
    return outcome


def attempt(paths: Sequence[Path], *, env: Mapping[str, str], is_rehearsal: bool = False) -> Attempt:
    """Return the configuration or its faults, with the files to watch in either case; `is_rehearsal`: see `load`."""
    reading = _Reading()
    reading.read(paths)
    documents = validate(reading.files, passing_over=later.KINDS if is_rehearsal else ())
    inventory = Inventory.of(
        documents.usable, documents.declared, default_base=_directory(paths), is_rehearsal=is_rehearsal
    )
    secrets = Secrets(env)
    snapshot = compile_snapshot(inventory, secrets)
    faults = [*reading.faults, *documents.faults, *check.faults(inventory)]
    if not is_rehearsal:
        faults += [*secrets.faults, *check_policies.not_yet(inventory), *check_approvals.faults(inventory)]
    watched = {**reading.watched, **secrets.files}
    if faults:
        return Attempt(Misconfigured(reading.in_order(faults)), watched)
    warnings = reading.in_order([*reading.warnings, *lint.warnings(inventory, snapshot)])
    loaded = Loaded(snapshot, tuple(warnings), policies=inventory.policies, tests=inventory.tests)
    return Attempt(loaded, watched)


def _directory(paths: Sequence[Path]) -> Path:
    first = paths[0] if paths else Path()
    return first if first.is_dir() else first.parent


class _Reading:
    """The files that belong to one configuration, each read once."""

    def __init__(self) -> None:
        self.files: list[YamlFile] = []
        self.watched: dict[Path, Stamp] = {}
        self.faults: list[Fault] = []
        self.warnings: list[Fault] = []
        self._seen: set[Path] = set()

    def read(self, paths: Sequence[Path]) -> None:
        """Read the files and directories, and what their `GatewayConfig`s name in `config.path`."""
        for path in paths:
            self._read(path)
        named = [(file.path, node) for file in self.files for node in _config_paths(file)]
        for file, node in named:
            path = file.parent / str(node.value)
            if path.exists():
                self._read(path)
            else:
                self.watched[path] = stamp(path)
                place = f"{file}:{node.place[0]}:{node.place[1]}"
                self.faults.append(Fault(place, f"spec.config.path: there is no file or directory `{path}`"))

    def in_order(self, faults: Iterable[Fault]) -> list[Fault]:
        """Sort by file as read, then line and column; what has no line comes first."""
        ranks = {str(file.path): rank for rank, file in enumerate(self.files)}

        def rank(fault: Fault) -> tuple[int, int, int]:
            file, *numbers = fault.place.rsplit(":", 2)
            if len(numbers) == 2 and file in ranks:
                return ranks[file], int(numbers[0]), int(numbers[1])
            return ranks.get(fault.place, -1), 0, 0

        return sorted(faults, key=rank)

    def _read(self, path: Path) -> None:
        try:
            self._read_all(path)
        except (OSError, RuntimeError, ValueError) as error:
            # A link to itself, a NUL in a name, a directory that may not be listed: a fault like any other.
            self.faults.append(Fault(str(path).replace("\0", "\\0"), f"cannot be read: {error}"))

    def _read_all(self, path: Path) -> None:
        if not path.is_dir():
            self._read_file(path)
            return
        files = list(self._yaml_files(path))
        if not files:
            self.warnings.append(Fault(str(path), "the directory holds no *.yaml or *.yml file"))
        for file in files:
            self._read_file(file)

    def _read_file(self, path: Path) -> None:
        resolved = path.resolve()
        if resolved not in self._seen:
            self._seen.add(resolved)
            self.watched[path] = stamp(path)
            read = yaml_file.read(path)
            if not read.documents and not read.faults:
                # More often cut short than meant: what it held would be gone, and a deny with it.
                self.faults.append(Fault(str(path), "holds no resource: write one, or remove the file"))
            self.files.append(read)

    def _yaml_files(self, directory: Path) -> Iterator[Path]:
        """The YAML files below, sorted; hidden ones are left out (a mounted ConfigMap keeps old versions in `..*`)."""
        self.watched[directory] = stamp(directory)
        for path in sorted(directory.iterdir()):
            if path.name.startswith("."):
                continue
            if path.is_dir():
                yield from self._yaml_files(path)
            elif path.suffix in SUFFIXES:
                yield path


def _config_paths(file: YamlFile) -> Iterator[Node]:
    """Where the bootstrap documents say that the other resources are; read before anything is validated."""
    for document in file.documents:
        kind = child_at(document, "kind")
        node = child_at(document, "spec", "config", "path")
        if kind is not None and kind.value == "GatewayConfig" and node is not None and isinstance(node.value, str):
            yield node
