#!/usr/bin/env bash
# Installs the Debian packages that the local VIM, its guests and the sample images need, where they are missing.
set -euo pipefail

packages=(
  python3-venv                                   # the .venv
  crun                                           # containers
  qemu-system-x86 qemu-utils                     # microVMs and VMs
  linux-image-cloud-amd64                        # the guests' kernel
  nftables iproute2 kmod util-linux procps       # wiring
  busybox-static                                 # the sample images' tools
  iputils-ping                                   # the demo's pings
  gcc libc6-dev lz4                              # the microVM's agent, the kernel's packing
  syslinux mtools dosfstools                     # the sample VM's disk
)

installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

missing=()
for package in "${packages[@]}"; do
  # a python that brings its own venv and ensurepip needs no package for it
  if [ "$package" = python3-venv ] && "${PYTHON:-python3}" -c 'import venv, ensurepip' 2>/dev/null; then continue; fi
  installed "$package" || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  echo "missing: ${missing[*]}; as root: apt-get install -y ${missing[*]}" >&2
  # whoever has no root may still plan, validate and run the tests that need none
  exit 0
fi
echo "installing Debian packages: ${missing[*]}" >&2
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# no initramfs for a kernel that only guests boot
export INITRD=No
install() { apt-get install -y -qq --no-install-recommends "${missing[@]}" >"$log" 2>&1; }
install || { apt-get update -qq >"$log" 2>&1 && install; } || { tail -n 20 "$log" >&2; exit 1; }
