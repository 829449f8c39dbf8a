"""Real MCP servers that tests put behind the gateway; each runs as a process of its own."""
