"""What works on this host without a manager: `doctor`, and what is done to package files."""
