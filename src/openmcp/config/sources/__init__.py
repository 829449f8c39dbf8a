"""The built-in `ConfigSource`s."""
