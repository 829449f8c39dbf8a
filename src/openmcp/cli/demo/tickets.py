"""A ticket desk as an MCP server: `python -m openmcp.cli.demo.tickets --port 9001`.

What the tickets are is harmless, what stands in them is not: the usual case for rules
that differ between a tool that lists and a tool that reads. Each answer names the desk
(the replica) that gave it, so that one can see where a session stays.
"""

from dataclasses import dataclass

from mcp.server.mcpserver import MCPServer

from openmcp.cli.demo.serving import main


@dataclass(frozen=True, slots=True)
class Ticket:
    """One request of a customer; all of them are made up."""

    id: str
    status: str
    title: str
    text: str


TICKETS = (
    Ticket("T-1", "open", "Invoice is wrong", "Dana Example, dana@example.com: I was charged twice in October."),
    Ticket("T-2", "waiting", "Cannot log in", "Kim Sample, +1 555 0100: the reset mail never arrives."),
    Ticket("T-3", "closed", "Move to another plan", "Robin Test, 1 Sample Street: please move me to the small plan."),
    Ticket("T-4", "open", "Export fails", "Alex Probe, alex@example.com: the export stops at 50 percent."),
)


def build(desk: str) -> MCPServer:
    """Return the ticket desk of that name."""
    server = MCPServer(
        "ticket-desk", version="1.0", instructions="List tickets first, then read one by its id.", log_level="WARNING"
    )

    def signed(text: str) -> str:
        return f"{text}\n(desk {desk})"

    @server.tool(structured_output=False)
    def ticket_list() -> str:
        """List all tickets: id, status and title."""
        return signed("\n".join(f"{ticket.id} {ticket.status}: {ticket.title}" for ticket in TICKETS))

    @server.tool(structured_output=False)
    def ticket_status(id: str) -> str:
        """Say whether a ticket is open, waiting or closed."""
        return signed(f"{id} is {_ticket(id).status}")

    @server.tool(structured_output=False)
    def ticket_read(id: str) -> str:
        """Read what the customer wrote."""
        return signed(_ticket(id).text)

    @server.tool(structured_output=False)
    def ticket_search(words: str) -> str:
        """Find tickets whose text holds these words."""
        found = [f"{ticket.id}: {ticket.text}" for ticket in TICKETS if words.lower() in ticket.text.lower()]
        return signed("\n".join(found) or "No ticket holds these words.")

    @server.resource("ticket://{id}", mime_type="text/plain")
    def ticket(id: str) -> str:
        """What the customer wrote, as a resource."""
        return _ticket(id).text

    @server.prompt()
    def summarize(id: str) -> str:
        """Ask for a summary of a ticket."""
        return f"Summarize this ticket in one sentence, without names:\n\n{_ticket(id).text}"

    # The decorators keep them; nothing else calls them.
    _ = (ticket_list, ticket_status, ticket_read, ticket_search, ticket, summarize)
    return server


def _ticket(id: str) -> Ticket:
    for ticket in TICKETS:
        if ticket.id == id:
            return ticket
    raise ValueError(f"There is no ticket {id}.")


if __name__ == "__main__":
    main("A ticket desk as an MCP server.", build)
