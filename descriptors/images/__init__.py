"""Builds the images of the sample VNF packages from files of this Debian host, and lays out the packages with them.

No registry, no loop device, no root: `fw`, `rt` and `mon` are OCI archives of busybox and nftables, `gw` is a disk with
a boot loader, Debian's cloud kernel and busybox. `python -m descriptors.images build all` is the command.
"""
