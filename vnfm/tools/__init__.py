"""What the `vnfm` command does without a manager."""
