"""What everything speaks of: frozen dataclasses and enums in ETSI's words. No I/O; imports nothing of ours."""
