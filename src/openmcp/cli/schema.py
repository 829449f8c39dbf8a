"""`openmcp schema`: the JSON Schema of all resources."""

import json

import click

from openmcp.config.schema import json_schema


def run() -> int:
    """Print the schema."""
    click.echo(json.dumps(json_schema(), indent=2))
    return 0
