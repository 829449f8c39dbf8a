"""`Detector`: a named set of patterns and keywords, for content rules and for the log."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from openmcp.config.resources.base import Document, Fields, Items
from openmcp.config.values import Keyword, SearchText

REGEX = "regex"
KEYWORDS = "keywords"
"""What stands for the name of a pattern that has none; a second one in the same rule is `regex-2`."""

ExampleText = Annotated[str, Field(min_length=1, max_length=4096)]


class Examples(Fields):
    """Texts that say what the detector is for; each is tried when the configuration is loaded."""

    match: Items[ExampleText] = ()
    """Texts in which it has to find something."""

    no_match: Items[ExampleText] = ()
    """Texts in which it must not."""


class DetectorSettings(Fields):
    """What is looked for: everything that one of the patterns or keywords finds, and the validator confirms."""

    regex: Annotated[Items[SearchText], Field(max_length=64)] = ()
    """RE2 patterns, found anywhere in a text. The first group, where a pattern has one, is what counts; the rest is its
    context. `^` and `$` are the ends of one text (a string of the message), not of the message."""

    keywords: Annotated[Items[Keyword], Field(max_length=1024)] = ()
    """Words and phrases, whatever their case, with any spaces between words; found whole, so that no letter, digit or
    `_` stands beside them."""

    validator: Literal["none", "luhn", "iban"] = "none"
    """What a match has to pass: `luhn`, the check digit of cards; `iban`, the checksum of bank accounts."""

    examples: Examples = Examples()
    """Texts that say what the detector is for; each is tried when the configuration is loaded."""

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.regex and not self.keywords:
            raise ValueError("a detector without patterns finds nothing: give `regex`, `keywords` or both")
        return self


class DetectorDocument(Document):
    """A named set of patterns and keywords that content rules look for; the built-in detectors need none."""

    kind: Literal["Detector"]
    """The resource's kind."""

    spec: DetectorSettings
    """The settings."""
