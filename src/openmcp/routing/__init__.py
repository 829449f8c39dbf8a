"""Which server is this path, which replica holds this session? Health, and the catalogue of what servers offer."""
