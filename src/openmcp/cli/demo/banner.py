"""What the demo prints when it runs: addresses, keys, and commands to paste."""

import json
import shlex
import sys

from openmcp.cli.demo.files import Site

REVISION = "2026-07-28"


def text(site: Site, *, origin: str, admin: str, is_kept: bool) -> str:
    """Return everything that a person needs to try it."""
    support, report = site.keys["support-bot"], site.keys["report-bot"]
    flow_command = f"{shlex.quote(sys.executable)} -m openmcp.cli.main flow"
    kept = "" if is_kept else " (removed at the end)"
    return f"""\
The OpenMCP demo is running; Ctrl-C stops it.

Servers     {origin}/tickets   a ticket desk with two replicas
            {origin}/notes     notes
Agents      support-bot   {support}
            report-bot    {report}
Folder      {site.folder}{kept}
Policies    {site.policies}
            edit it: a valid change counts at once
Audit log   {site.audit}
Admin       {admin}   /livez /readyz /metrics

support-bot may read a ticket:

{curl(f"{origin}/tickets", key=support, tool="ticket_read", arguments={"id": "T-1"})}

report-bot may not, and is told why:

{curl(f"{origin}/tickets", key=report, tool="ticket_read", arguments={"id": "T-1"})}

What was said and decided, from the audit log:

{flow_command} list --log {shlex.quote(str(site.audit))}

The same with a client of the MCP SDK, whose session stays at one replica:

{shlex.quote(sys.executable)} -m openmcp.cli.demo.agent {origin}/tickets {support}

Any other MCP client: transport Streamable HTTP, one of the URLs above, and the header
Authorization: Bearer KEY
"""


def curl(url: str, *, key: str, tool: str, arguments: dict[str, str]) -> str:
    """Return a command that calls the tool: in the newest revision one POST is a whole conversation."""
    meta: dict[str, object] = {
        "io.modelcontextprotocol/protocolVersion": REVISION,
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    params: dict[str, object] = {"name": tool, "arguments": arguments, "_meta": meta}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})
    headers = (
        f"Authorization: Bearer {key}",
        "Content-Type: application/json",
        "Accept: application/json, text/event-stream",
        f"MCP-Protocol-Version: {REVISION}",
        "Mcp-Method: tools/call",
        f"Mcp-Name: {tool}",
    )
    parts = [f"curl -sS {url}", *(f"-H {shlex.quote(header)}" for header in headers), f"-d {shlex.quote(body)}"]
    return " \\\n  ".join(parts)
