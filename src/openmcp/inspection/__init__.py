"""Finds and removes what must not pass: `inspect(message, content rules)`."""
