"""The OpenStack VIM: VMs by heat-translator and Heat, wired in Neutron. Knows only the protos and the kit."""
