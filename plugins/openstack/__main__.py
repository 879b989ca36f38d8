"""`python -m plugins.openstack`: what the manager starts for `--vim NAME=openstack:CONFIG.yaml`."""

from __future__ import annotations

import sys

from plugins.openstack.plugin import make_plugin
from vnfm.pluginkit import serve

VERSION = "1"

if __name__ == "__main__":
    sys.exit(serve.run("openstack", VERSION, make_plugin, sys.argv[1:]))
