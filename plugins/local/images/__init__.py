"""The image cache: content-addressed, verified while it streams in, hostile archives refused."""
