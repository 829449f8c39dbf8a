"""Where the lines of the audit log are kept: `base` says what a sink is, the others are sinks."""
