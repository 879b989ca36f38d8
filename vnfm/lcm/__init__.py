"""Lifecycle management: the pure intent-log machine, recipes (one file an operation), the runner, and its ports."""
