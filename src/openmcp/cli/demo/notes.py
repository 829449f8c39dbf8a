"""A notes server as an MCP server: `python -m openmcp.cli.demo.notes --port 9002`. Forgets everything when it ends."""

from mcp.server.mcpserver import MCPServer

from openmcp.cli.demo.serving import main

MAX_NOTES = 1000


def build(desk: str) -> MCPServer:
    """Return an empty notes server; there is one, so `desk` says nothing."""
    server = MCPServer(
        "notes", version="1.0", instructions="Short notes, kept until the server ends.", log_level="WARNING"
    )
    notes: list[str] = []

    @server.tool(structured_output=False)
    def note_add(text: str) -> str:
        """Keep a note."""
        if len(notes) >= MAX_NOTES:
            raise ValueError(f"There are {MAX_NOTES} notes already.")
        notes.append(text)
        return f"Note {len(notes)} is kept."

    @server.tool(structured_output=False)
    def note_list() -> str:
        """List all notes."""
        return _all(notes)

    @server.resource("notes://all", mime_type="text/plain")
    def everything() -> str:
        """All notes, as a resource."""
        return _all(notes)

    # The decorators keep them; nothing else calls them.
    _ = (note_add, note_list, everything)
    return server


def _all(notes: list[str]) -> str:
    return "\n".join(f"{number}. {note}" for number, note in enumerate(notes, start=1)) or "There are no notes."


if __name__ == "__main__":
    main("A notes server as an MCP server.", build)
