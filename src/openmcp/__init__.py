"""A reverse proxy for the Model Context Protocol: policy, human approval and evidence between agents and MCP servers.

The package exposes its version and nothing else; the door is the command line, `openmcp.cli.main`.
"""

__version__ = "0.1.0"
