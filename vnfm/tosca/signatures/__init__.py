"""CMS signatures of packages (ETSI GS NFV-SOL 004 clause 5): read here, their cryptography done by `cryptography`."""
