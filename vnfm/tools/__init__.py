"""Commands that need no manager."""
