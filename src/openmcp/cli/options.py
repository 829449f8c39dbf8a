"""Options that several commands have. Imports nothing but click: it is loaded by `--help`."""

from collections.abc import Callable
from typing import Final, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., object])

FORMS: Final = ("table", "json", "yaml")


def output_option(command: Command) -> Command:
    """Give a command `--output table|json|yaml`, as the parameter `form`."""
    return click.option(
        "--output",
        "form",
        type=click.Choice(FORMS),
        default="table",
        show_default=True,
        help="Form of what is printed.",
    )(command)
