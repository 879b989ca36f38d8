#!/usr/bin/env bash
# Makes the virtual environment $1 and installs the project into it, editable, with all its extras.
set -euo pipefail
venv=$1
python=${PYTHON:-python3}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
  echo "python 3.11 or newer is needed; $python is $("$python" --version)" >&2
  exit 1
}
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
echo "installing Python packages into $venv" >&2
"$venv/bin/python" -m pip install -q --disable-pip-version-check -e '.[dev,openstack,kubernetes,optimal]'
# OR-Tools asks for an older protobuf than our stubs; CP-SAT's own interface does not load it, so its wish is passed over
"$venv/bin/python" -m pip install -q --disable-pip-version-check --no-deps 'ortools==9.15.6755'
