#!/usr/bin/env bash
# Few-shot classification: bash scripts/fewshot.sh [DATA_ROOT] [DATASET|all] [METHOD[,METHOD…]] [BACKBONE] [KEY VALUE …]
# Without arguments: phantom data, Tiny backbone. Complete runs are not repeated.
# SHOTS="1 2 4" and SEEDS="1 2 3" in the environment choose others. PYTHON=/path/to/python installs nothing.
set -euo pipefail
root=${1:+$(realpath -m "$1")}
source "$(dirname "$0")/environment.sh"
if [ $# -eq 0 ]; then shots="1 4 16"; else shots="1 2 4 8 16"; fi
exec "$PYTHON" -m sweep run --protocol few_shot ${root:+--root "$root"} --datasets "${2:-phantom}" \
    --methods "${3:-ZeroShot,CoOp,BiomedDPT}" --backbone "${4:-Tiny}" \
    --shots "${SHOTS:-$shots}" --seeds "${SEEDS:-1 2 3}" "${@:5}"
