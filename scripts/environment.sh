# Sourced by the other scripts: goes to the project's folder and sets $PYTHON to an interpreter that satisfies
# requirements.txt: the active one if it does, else .venv in the project, made and filled where it is missing.
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

if python3 scripts/check_requirements.py >/dev/null 2>&1; then
    PYTHON=python3
else
    PYTHON=.venv/bin/python
    if ! { [ -x "$PYTHON" ] && "$PYTHON" scripts/check_requirements.py >/dev/null 2>&1; }; then
        base=
        for candidate in python3 python3.13 python3.12 python3.11; do
            if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then base=$candidate; break; fi
        done
        if [ -z "$base" ]; then echo "error: Python 3.11 or newer is needed" >&2; exit 2; fi
        echo "Setting up .venv with $("$base" --version): installing requirements.txt (several GB, a few minutes) …"
        [ -x "$PYTHON" ] || "$base" -m venv .venv || exit 1
        "$PYTHON" -m pip install --quiet --disable-pip-version-check -r requirements.txt || exit 1
        "$PYTHON" scripts/check_requirements.py || exit 1
    fi
fi
