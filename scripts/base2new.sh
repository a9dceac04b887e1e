#!/usr/bin/env bash
# Base-to-new generalisation: bash scripts/base2new.sh [DATA_ROOT] [DATASET|all] [METHOD[,METHOD…]] [BACKBONE] [KEY VALUE …]
# Without arguments: phantom data, Tiny backbone. Complete runs are not repeated.
# SHOTS="16" and SEEDS="1 2 3" in the environment choose others. PYTHON=/path/to/python installs nothing.
set -euo pipefail
root=${1:+$(realpath -m "$1")}
source "$(dirname "$0")/environment.sh"
exec "$PYTHON" -m sweep run --protocol base2new ${root:+--root "$root"} --datasets "${2:-phantom}" \
    --methods "${3:-ZeroShot,CoOp,BiomedDPT}" --backbone "${4:-Tiny}" \
    --shots "${SHOTS:-16}" --seeds "${SEEDS:-1 2 3}" "${@:5}"
