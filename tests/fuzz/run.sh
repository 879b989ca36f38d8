#!/bin/bash
# Each target (or the one that is named) for some seconds, from a corpus that grows in build/fuzz.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=$1 seconds=$2
shift 2
[ $# -gt 0 ] || set -- archive manifest signature vnfd
for target in "$@"; do
    mkdir -p "build/fuzz/$target"
    "$python" tests/fuzz/seeds.py "$target" "build/fuzz/$target"
    "$python" tests/fuzz/fuzz_package.py "$target" "build/fuzz/$target" \
        -max_total_time="$seconds" -artifact_prefix="build/fuzz/$target-" -timeout=20 -rss_limit_mb=3000 -print_final_stats=1
done
