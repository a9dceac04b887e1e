# Sourced by the other scripts. Goes to the project's folder and sets PYTHON to an interpreter that has the packages of
# the files in `needed` (default: requirements.txt). The first of these that fits is taken:
#   1. PYTHON, if the user has set it; nothing is installed then, and missing packages are an error;
#   2. the active python3, if it has the packages;
#   3. .venv in the project, which is made, filled or repaired where necessary (with uv where it is installed).
caller=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
[ -n "${needed:-}" ] || needed=(requirements.txt)

fail() {
    echo "error: $1" >&2
    exit 2
}

satisfies() { "$1" scripts/check_requirements.py "${needed[@]}"; }

# With PYTHON set by the user: says which packages are missing, and exits.
require_packages() {
    local problem
    problem=$(satisfies "$PYTHON" 2>&1) ||
        fail "PYTHON=$user_python: $problem (nothing is installed while PYTHON is set)"
}

# Prints the name of a Python that is new enough, if there is one.
find_python() {
    local candidate
    for candidate in python3 python3.13 python3.12 python3.11; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
}

# Prints the elapsed time and the installer's latest line every 10 seconds, until this script ends or kills it.
report_progress() {
    local seconds=0
    while sleep 1 && kill -0 $$ 2>/dev/null; do
        seconds=$((seconds + 1))
        if [ $((seconds % ${PROGRESS_SECONDS:-10})) -eq 0 ]; then
            echo "  $seconds s: $(grep -v '^WARNING' "$1" | tail -n 1 | sed 's/^ *//' | cut -c 1-100)"
        fi
    done
}

# Runs a command with its output in a log file, and reports progress meanwhile.
run_logged() {
    local log=$1 status=0
    shift
    : >"$log"
    report_progress "$log" &
    "$@" >>"$log" 2>&1 || status=$?
    kill $! 2>/dev/null
    wait $! 2>/dev/null
    return $status
}

# Installs requirements files into $PYTHON with uv, or with pip where uv is missing or fails (uv does not read the
# settings of pip, such as another index). The output goes to a log file; its end is shown if the installation fails.
install() {
    local files=() file log=.venv/install.log
    [ -d .venv ] || log=$(mktemp)
    for file in "$@"; do files+=(-r "$file"); done
    if command -v uv >/dev/null; then
        if run_logged "$log" uv pip install --python "$PYTHON" "${files[@]}"; then return; fi
        echo "uv failed ($(grep -m 1 -i error "$log" || tail -n 1 "$log")); trying pip"
    fi
    "$PYTHON" -m pip --version >/dev/null 2>&1 || "$PYTHON" -m ensurepip --default-pip >"$log" 2>&1 ||
        fail "$PYTHON has no pip, and it cannot be added. Install it (on Debian and Ubuntu: \
apt-get install python3-venv) and start this script again"
    local pip=("$PYTHON" -m pip install --disable-pip-version-check --progress-bar off)
    if run_logged "$log" "${pip[@]}" "${files[@]}"; then return; fi
    tail -n 30 "$log" >&2
    echo "error: the installation of $* failed; the whole log is in $log" >&2
    return 1
}

make_environment() {
    local base
    base=$(find_python)
    if command -v uv >/dev/null; then
        uv venv --quiet --python "${base:->=3.11}" .venv || fail "uv could not make .venv"
    elif [ -z "$base" ]; then
        fail "Python 3.11 or newer is needed"
    else
        "$base" -m venv .venv || fail "$base could not make .venv. Install its venv module \
(on Debian and Ubuntu: apt-get install python3-venv) and start this script again"
    fi
}

set_up_environment() {
    PYTHON=.venv/bin/python
    if [ -e .venv ] && ! "$PYTHON" -c '' 2>/dev/null; then
        if [ ! -f .venv/pyvenv.cfg ] && [ -n "$(find .venv -type f -print -quit)" ]; then
            fail "'.venv' is not a Python environment; move it away"
        fi
        echo "The Python of .venv does not run: .venv is made again"
        rm -rf .venv
    fi
    [ -e .venv ] || make_environment
    if [ ! -e .venv/installing ] && satisfies "$PYTHON" >/dev/null 2>&1; then return; fi
    "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        fail "the Python of .venv is older than 3.11; remove .venv and start this script again"
    [ ! -e .venv/installing ] || "$PYTHON" scripts/forget_damaged.py
    echo "Installing ${needed[*]} into .venv (several GB, a few minutes); log: .venv/install.log"
    : >.venv/installing
    install "${needed[@]}" || exit 1
    satisfies "$PYTHON" || exit 1
    rm .venv/installing
}

user_python=${PYTHON:-}
if [ -n "$user_python" ]; then
    case $PYTHON in /*) ;; */*) PYTHON=$caller/$PYTHON ;; esac
    require_packages
elif satisfies python3 >/dev/null 2>&1; then
    PYTHON=python3
else
    set_up_environment
fi
