"""What an NFVO and the command line call: gRPC servicers over the core and its stores."""
