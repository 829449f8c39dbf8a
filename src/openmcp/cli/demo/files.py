"""The demo's configuration as YAML files, written to be read and edited by people.

What depends on ports and keys is written at each start. The policies are written once:
in a folder that is kept, they are the reader's own afterwards.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from string import Template

AGENTS = ("support-bot", "report-bot")
DESKS = ("a", "b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where everything is."""

    folder: Path
    public_port: int
    """Where agents connect; 0 = on any free port, as is `admin_port`."""

    admin_port: int
    ticket_urls: tuple[str, ...]
    notes_url: str
    keys: Mapping[str, str] = field(repr=False)
    """Each agent's API key."""

    @property
    def bootstrap(self) -> Path:
        """The file that the gateway is started with."""
        return self.folder / "gateway.yaml"

    @property
    def policies(self) -> Path:
        """The file to edit while the demo runs."""
        return self.folder / "resources" / "policies.yaml"

    @property
    def audit(self) -> Path:
        """The folder of the audit log."""
        return self.folder / "data" / "audit"


def write(site: Site) -> None:
    """Write all files; policies that are already there stay as they are."""
    resources = site.policies.parent
    resources.mkdir(exist_ok=True)
    values = {
        "public_port": site.public_port,
        "admin_port": site.admin_port,
        "ticket_replicas": ", ".join(f'"{url}"' for url in site.ticket_urls),
        "notes_replica": f'"{site.notes_url}"',
        **{f"{agent.replace('-', '_')}_sha256": _digest(key) for agent, key in site.keys.items()},
    }
    site.bootstrap.write_text(Template(GATEWAY).substitute(values))
    (resources / "servers.yaml").write_text(Template(SERVERS).substitute(values))
    (resources / "agents.yaml").write_text(Template(AGENT_DOCUMENTS).substitute(values))
    if not site.policies.exists():
        site.policies.write_text(POLICIES)


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


GATEWAY = """\
# What the gateway needs before it can read anything else.
apiVersion: openmcp.dev/v1alpha1
kind: GatewayConfig
metadata: {name: demo}
spec:
  listeners:
  - {name: public, address: "127.0.0.1:$public_port"}
  admin: {address: "127.0.0.1:$admin_port"}
  dataDir: data
  config: {path: resources}
  # The tickets are made up, so whole messages may be kept. The default is `metadata`.
  audit: {bodies: full}
  # Streams that are open at Ctrl-C get this long.
  limits: {drainTimeout: 1s}
"""

SERVERS = """\
# The servers behind the gateway. Agents reach them at /tickets and /notes.
apiVersion: openmcp.dev/v1alpha1
kind: MCPServer
metadata: {name: tickets}
spec:
  upstream:
    # Two replicas: a session stays at the one that opened it.
    replicas: [$ticket_replicas]
---
apiVersion: openmcp.dev/v1alpha1
kind: MCPServer
metadata: {name: notes}
spec:
  upstream:
    replicas: [$notes_replica]
"""

AGENT_DOCUMENTS = """\
# Who the agents are. Only digests of their keys stand here; the keys were shown at the start.
apiVersion: openmcp.dev/v1alpha1
kind: IdentitySource
metadata: {name: keys}
spec: {apiKey: {header: Authorization}}
---
apiVersion: openmcp.dev/v1alpha1
kind: Agent
metadata: {name: support-bot}
spec:
  groups: [support]
  identities:
  - apiKey: {source: keys, id: support-bot, sha256: "$support_bot_sha256"}
---
apiVersion: openmcp.dev/v1alpha1
kind: Agent
metadata: {name: report-bot}
spec:
  groups: [reports]
  identities:
  - apiKey: {source: keys, id: report-bot, sha256: "$report_bot_sha256"}
"""

POLICIES = """\
# Who may do what. Edit this file while the demo runs: a valid change counts at once,
# a faulty one is reported and changes nothing.
apiVersion: openmcp.dev/v1alpha1
kind: Policy
metadata: {name: ticket-overview}
spec:
  servers: [tickets]
  rules:
  - id: overview-is-free
    match: {tools: [ticket_list, ticket_status]}
    effect: allow
---
apiVersion: openmcp.dev/v1alpha1
kind: Policy
metadata: {name: ticket-text}
spec:
  servers: [tickets]
  agents: {groups: [support]}
  rules:
  - id: support-reads-tickets
    match: {tools: [ticket_read, ticket_search], prompts: [summarize], resources: ["ticket://**"]}
    effect: allow
---
apiVersion: openmcp.dev/v1alpha1
kind: Policy
metadata: {name: reports-without-text}
spec:
  servers: [tickets]
  agents: {names: [report-bot]}
  rules:
  # With a reason: the agent is told it.
  - id: no-reading
    match: {tools: [ticket_read]}
    effect: deny
    reason: Ticket text may hold personal data. Use ticket_list and ticket_status.
  # Without: the answer is the same as for a tool that does not exist.
  - id: no-searching
    match: {tools: [ticket_search], prompts: [summarize], resources: ["ticket://**"]}
    effect: deny
---
apiVersion: openmcp.dev/v1alpha1
kind: Policy
metadata: {name: notes-for-everyone}
spec:
  servers: [notes]
  rules:
  - id: everything
    match: {tools: ["**"], prompts: ["**"], resources: ["**"]}
    effect: allow
"""
