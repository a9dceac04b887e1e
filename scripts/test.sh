#!/usr/bin/env bash
# Style, types and all tests: bash scripts/test.sh [pytest arguments]
# PYTHON=/path/to/python uses that interpreter and installs nothing.
set -euo pipefail
needed=(requirements.txt requirements-dev.txt)
source "$(dirname "$0")/environment.sh"
"$PYTHON" -m ruff check .
"$PYTHON" -m ruff format --check .
"$PYTHON" -m mypy $(ls -d biomed_dpt clip configs evidence runs trainers 2>/dev/null)
exec "$PYTHON" -m pytest -q -n 2 --dist worksteal "$@"
