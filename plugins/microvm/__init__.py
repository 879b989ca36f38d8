"""An OCI runtime with runc's command line that boots a bundle's root file system in a qemu microVM."""

__version__ = "0.1.0"
