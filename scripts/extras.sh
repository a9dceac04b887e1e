#!/usr/bin/env bash
# What some tests need beside requirements.txt, and are skipped without: bash scripts/extras.sh
# Ray, submitit and selenium by pip; on Debian, as root, Chromium and LaTeX by apt.
set -euo pipefail
source "$(dirname "$0")/environment.sh"
skipped() { echo "not installed ($1): $2; their tests will be skipped" >&2; }

for file in requirements-ray.txt requirements-slurm.txt requirements-browser.txt; do
    "$PYTHON" -m pip install --quiet --disable-pip-version-check -r "$file" || skipped "pip failed" "$file"
done

packages=(chromium chromium-driver texlive-latex-recommended)
if ! command -v apt-get >/dev/null || [ "$(id -u)" -ne 0 ]; then
    skipped "takes root on Debian" "${packages[*]}"
elif ! dpkg -s "${packages[@]}" >/dev/null 2>&1; then
    export DEBIAN_FRONTEND=noninteractive
    { apt-get update -qq && apt-get install -y -qq --no-install-recommends "${packages[@]}"; } >/dev/null ||
        skipped "apt-get failed" "${packages[*]}"
fi
