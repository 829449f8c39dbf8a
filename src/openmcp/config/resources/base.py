"""What all documents have in common: strictness, `metadata`, and how secrets are named.

The models keep what was written (durations and sizes stay texts), so that a document
can be shown and hashed as it is; `config.compile` turns it into numbers.
"""

import re
from typing import Annotated, ClassVar, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    Strict,
    StringConstraints,
    ValidationInfo,
    model_validator,
)
from pydantic.alias_generators import to_camel

API_VERSION = "openmcp.dev/v1alpha1"

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
_NAME_CHARS = 253
_TEXT_CHARS = 1024


def _check_name(name: str) -> str:
    if len(name) > _NAME_CHARS or not _NAME.fullmatch(name):
        raise ValueError(
            f"`{name[:80]}` cannot be a name: use lower-case letters, digits, `-` and `.`, "
            f"starting and ending with a letter or digit, at most {_NAME_CHARS} characters"
        )
    return name


Name = Annotated[str, AfterValidator(_check_name), Field(json_schema_extra={"pattern": f"^{_NAME.pattern}$"})]
"""A resource's name, as Kubernetes takes it (RFC 1123 subdomain)."""

Text = Annotated[str, StringConstraints(max_length=_TEXT_CHARS)]
Label = Annotated[str, StringConstraints(min_length=1, max_length=_NAME_CHARS)]


_Item = TypeVar("_Item")
Items = Annotated[tuple[_Item, ...], Strict(False)]
"""A list in the document, immutable here; what is in it is checked strictly."""


REMAINS = "remains"
"""Set in the context of a validation: the document has lost its faulty parts, and is only read for its references."""


def _not_empty(items: tuple[_Item, ...], info: ValidationInfo) -> tuple[_Item, ...]:
    if not items and info.context != REMAINS:
        raise ValueError("has to hold at least one entry")
    return items


SomeItems = Annotated[
    tuple[_Item, ...], Strict(False), AfterValidator(_not_empty), Field(json_schema_extra={"minItems": 1})
]
"""A list that says nothing when it is empty, and which may lose all its entries for being faulty."""


class Fields(BaseModel):
    """A mapping with a fixed set of fields. Unknown ones are faults, and no type is guessed."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        alias_generator=to_camel,
        use_attribute_docstrings=True,
        hide_input_in_errors=True,
    )


def only_field(given: BaseModel, *aside: str) -> tuple[str, object]:
    """Return alias and value of the one field that is given, those named in `aside` not counted.

    Raises: ValueError where there is none, or more than one.
    """
    fields = type(given).model_fields
    names = [field.alias or name for name, field in fields.items() if name not in aside]
    chosen = [name for name in fields if name in given.model_fields_set and name not in aside]
    if len(chosen) != 1:
        found = "none is" if not chosen else " and ".join(f"`{fields[name].alias or name}`" for name in chosen) + " are"
        raise ValueError(f"give exactly one of {', '.join(names)}; {found} given")
    return fields[chosen[0]].alias or chosen[0], getattr(given, chosen[0])


class Metadata(Fields):
    """What a resource is called."""

    name: Name
    """The resource's name, unique within its kind."""

    labels: dict[Label, Text] = {}
    """Words to select the resource by."""

    annotations: dict[Label, str] = {}
    """Notes for people and other tools; the gateway gives them no meaning."""


class Document(Fields):
    """One resource."""

    api_version: Literal["openmcp.dev/v1alpha1"]
    """The version of the resource model."""

    metadata: Metadata
    """What the resource is called."""


FilePath = Annotated[str, StringConstraints(min_length=1)]


class SourcedIdentity(Fields):
    """An identity that one source makes."""

    naming_field: ClassVar[str]
    """Alias of the field that tells one identity of the source from another."""

    source: Name
    """Name of the `IdentitySource` that verifies it."""

    @property
    def principal_id(self) -> str:
        """What the source calls whoever presents it."""
        raise NotImplementedError


class SecretRef(Fields):
    """Where a secret value is read from when the configuration is loaded. Exactly one of the two."""

    env: Annotated[str, StringConstraints(min_length=1)] | None = None
    """Name of an environment variable."""

    file: Annotated[str, StringConstraints(min_length=1)] | None = None
    """Path of a file, counted from the file that names it; one newline at the end is ignored. Watched."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.env is None) == (self.file is None):
            raise ValueError("a secret is read from one place: give either `env` or `file`")
        return self


class MatchLabels(Fields):
    """Selects what carries all of these labels."""

    match_labels: Annotated[dict[Label, Text], Field(min_length=1)]
    """Labels that all have to be there with these values."""
