#!/usr/bin/env bash
# Installs what some tests need in addition and are skipped without: bash scripts/extras.sh
# The packages of all requirements-*.txt; on Debian, as root, Chromium and LaTeX.
# With PYTHON=/path/to/python nothing is installed: what is missing is named, with exit code 2.
set -euo pipefail
needed=(requirements.txt requirements-dev.txt)
source "$(dirname "$0")/environment.sh"
extras=()
for file in requirements-*.txt; do
    [ "$file" = requirements-dev.txt ] || extras+=("$file")
done
if [ -n "$user_python" ]; then
    needed=("${extras[@]}")
    require_packages
    exit 0
fi
skipped() { echo "not installed ($1): $2; their tests will be skipped" >&2; }

for file in "${extras[@]}"; do
    install "$file" || skipped "see above" "$file"
done

packages=(chromium chromium-driver texlive-latex-recommended)
if ! command -v apt-get >/dev/null || [ "$(id -u)" -ne 0 ]; then
    skipped "takes root on Debian" "${packages[*]}"
elif ! dpkg -s "${packages[@]}" >/dev/null 2>&1; then
    export DEBIAN_FRONTEND=noninteractive
    { apt-get update -qq && apt-get install -y -qq --no-install-recommends "${packages[@]}"; } >/dev/null ||
        skipped "apt-get failed" "${packages[*]}"
fi
