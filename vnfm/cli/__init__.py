"""The command line: a client of the gRPC API (vnfm.nfvo.v1) and nothing besides."""
