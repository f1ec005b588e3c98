#!/bin/sh
# Make .venv and install the locked requirements into it; do nothing if that is done. `setup.sh dev` adds the
# development tools. Called by make from the root of the project; PYTHON names the interpreter (default: python3).
set -eu

PYTHON=${PYTHON:-python3}

stop() {
    echo "one-neuron: $*" >&2
    exit 4
}

command -v git >/dev/null 2>&1 || stop "git is not installed; install it (for example: apt install git)"
command -v "$PYTHON" >/dev/null 2>&1 ||
    stop "'$PYTHON' was not found; install Python 3.11 to 3.13 or name one: make PYTHON=/path/to/python3.12"
"$PYTHON" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' ||
    stop "$("$PYTHON" --version 2>&1 | head -n 1) is not supported; use Python 3.11 to 3.13: make PYTHON=/path/to/python3.12"
reason=$(git rev-parse --git-dir 2>&1 >/dev/null) ||
    stop "'$PWD' is not a git checkout that git accepts; DVC needs one: use git clone, or run git init here ($reason)"

[ ! -L .venv ] ||
    stop "'$PWD/.venv' is a link; setting up would empty the folder it points to. Remove the link: rm .venv"

# One set-up at a time: a second one waits and finds the work done.
if command -v flock >/dev/null 2>&1; then
    exec 9>"$(git rev-parse --git-dir)/one-neuron-setup.lock"
    flock -n 9 || {
        echo "Another set-up is running in this folder; waiting until it has ended ..."
        flock 9
    }
fi

install_locked() {
    # uv reads no pip configuration: if it cannot reach the user's package index, pip installs.
    .venv/bin/uv pip install --quiet --python .venv --require-hashes -r "$1" || {
        echo "uv could not install $1; trying pip (slower) ..."
        .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r "$1" ||
            stop "pip could not install $1; is the package index reachable, are there 2 GB of free disk?"
    }
}

make_environment() {
    "$PYTHON" -c 'import venv, ensurepip' 2>/dev/null ||
        stop "$PYTHON has no venv module; install it (for example: apt install python3-venv)"
    echo "Setting up .venv (once, a minute or two) ..."
    "$PYTHON" -m venv --clear .venv || stop "'$PWD/.venv' could not be made; is the disk full or the folder read-only?"
    # uv itself comes by pip, held to its hash.
    awk '/^[a-z]/ {found = /^uv==/} found' requirements.txt >.venv/uv.txt
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r .venv/uv.txt ||
        stop "pip could not install uv; is the package index reachable?"
    install_locked requirements.txt
}

install_project() {
    # Without an index and without build isolation: the locked build backend does it.
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-index --no-deps --no-build-isolation \
        --editable . || stop "the project itself could not be installed into .venv; remove .venv and try again"
}

# The stamps say what .venv was made for. With another lock, interpreter or folder it is made again; a changed
# pyproject.toml installs the project again, which takes a second; changed development tools are installed over the old.
export UV_COMPILE_BYTECODE=1 UV_HTTP_RETRIES=1
environment="$PWD $("$PYTHON" --version 2>&1) $(git hash-object requirements.txt)"
project="$environment $(git hash-object pyproject.toml)"
stamp=.venv/one-neuron-stamp
found=$(cat "$stamp" 2>/dev/null || true)
if [ "$found" != "$project" ]; then
    case "$found" in
    "$environment "*) ;;
    *) make_environment ;;
    esac
    install_project
    # So that the first result does not wait for MLflow's migrations.
    .venv/bin/python -c 'from one_neuron.tracking.store import make_empty_store; make_empty_store()' ||
        stop "MLflow cannot create its tables; remove .venv and try again"
    printf '%s\n' "$project" >"$stamp"
fi

# DVC's page of plots, with Vega in it: without it, `dvc plots show` needs a network. The setting is in .dvc/config.local,
# because DVC shows no plots at all if the page is missing. Its path starts at .dvc.
if [ ! -f .venv/dvc-plots.html ]; then
    .venv/bin/python scripts/offline_plots.py .venv/dvc-plots.html ||
        stop "the page for 'dvc plots show' could not be written; is the disk full?"
    .venv/bin/dvc config --local plots.html_template ../.venv/dvc-plots.html ||
        stop "'.dvc/config.local' could not be changed; remove it and try again"
fi

[ "${1:-}" = dev ] || exit 0
tools=$(git hash-object requirements-dev.txt)
stamp=.venv/one-neuron-dev-stamp
[ "$(cat "$stamp" 2>/dev/null || true)" = "$tools" ] && exit 0
echo "Adding the development tools to .venv ..."
install_locked requirements-dev.txt
printf '%s\n' "$tools" >"$stamp"
