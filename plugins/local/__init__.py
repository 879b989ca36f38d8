"""The local VIM: containers, microVMs and VMs of one Linux host."""
