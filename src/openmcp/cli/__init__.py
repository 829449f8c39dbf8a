"""The commands: one function each, in `main`; what a command does is in the module of its name."""
