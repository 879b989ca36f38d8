#!/usr/bin/env bash
# Runs the tests with pytest, in the order of how much of this host they need. `--long` runs what takes long,
# `--openstack` what needs an OpenStack.
set -uo pipefail
py=.venv/bin/python
code=0
run() { # pytest's 5 means that nothing was selected
  "$py" -m pytest -p no:cacheprovider "$@"
  local got=$?
  [ $got -eq 0 ] || [ $got -eq 5 ] || code=1
}
# on the lab, or on the cloud that OS_CLOUD names; without either each says why it was skipped
openstack() {
  # a cloud makes several things at once faster than one after the other
  run tests/contract -m "openstack and not long" -n 3 --dist worksteal
  # but a test that stops one of its services, or takes a wire, wants it for itself
  run tests --ignore tests/contract -m "openstack and not long"
}
if [ "${1:-}" = --long ]; then
  run tests -m long
  exit $code
fi
if [ "${1:-}" = --openstack ]; then
  openstack
  exit $code
fi
# workers wait for guests and processes more than they compute
run tests -m "not host and not openstack and not long" -n 3 --dist loadfile
run tests -m "host and not openstack and not long" -n 2 --dist loadfile
openstack
exit $code
