#!/bin/sh
# Makes .venv and installs the locked requirements into it; does nothing when they are there already.
# Called by make from the root of the project. PYTHON names the interpreter (default: python3).
set -eu

PYTHON=${PYTHON:-python3}

stop() {
    echo "one-neuron: $*" >&2
    exit 4
}

command -v git >/dev/null 2>&1 || stop "git is not installed; install it (for example: apt install git)"
command -v "$PYTHON" >/dev/null 2>&1 || stop "no '$PYTHON' found; install Python 3.11 to 3.13 or name one: make PYTHON=/path/to/python3.12"
"$PYTHON" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' ||
    stop "$("$PYTHON" --version 2>&1 | head -n 1) does not fit; Python 3.11 to 3.13 is needed: make PYTHON=/path/to/python3.12"
reason=$(git rev-parse --git-dir 2>&1 >/dev/null) ||
    stop "'$PWD' is no git checkout that git accepts; DVC needs one: use git clone, or run git init here ($reason)"

# One set-up at a time; the second finds the work done.
if command -v flock >/dev/null 2>&1; then
    exec 9>"$(git rev-parse --git-dir)/one-neuron-setup.lock" && flock 9
fi

# What the environment was made for. A changed lock, another interpreter or a moved folder make it anew; a changed
# pyproject.toml (the commands that it installs) takes a second.
environment="$PWD $("$PYTHON" --version 2>&1) $(git hash-object requirements.txt)"
project=$(git hash-object pyproject.toml)
stamp=.venv/one-neuron-stamp
[ "$(cat "$stamp" 2>/dev/null || true)" = "$environment $project" ] && exit 0

install_project() {
    # No index and no build isolation: the locked build backend does it.
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-index --no-deps --no-build-isolation \
        --editable . || stop "the project itself could not be installed into .venv; remove .venv and try again"
    printf '%s\n' "$environment $project" >"$stamp"
}

case "$(cat "$stamp" 2>/dev/null || true)" in
"$environment "*)
    install_project
    exit 0
    ;;
esac

"$PYTHON" -c 'import venv, ensurepip' 2>/dev/null ||
    stop "this Python has no venv module; install it (for example: apt install python3-venv)"
echo "Setting up .venv (once, a minute or two) ..."
"$PYTHON" -m venv --clear .venv || stop "could not make '$PWD/.venv'; is the disk full or the folder read-only?"

# uv installs several times faster than pip and is itself held to its hash. It reads no pip configuration,
# so where it cannot reach the user's package index, pip does the work.
awk '/^[a-z]/ {found = /^uv==/} found' requirements.txt >.venv/uv.txt
.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r .venv/uv.txt ||
    stop "pip could not install the requirements; is the package index reachable?"
export VIRTUAL_ENV="$PWD/.venv" UV_COMPILE_BYTECODE=1 UV_HTTP_RETRIES=1
.venv/bin/uv pip install --quiet --require-hashes -r requirements.txt || {
    echo "uv could not install; trying pip (slower) ..."
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt ||
        stop "pip could not install the requirements; is the package index reachable, are there 2 GB of free disk?"
}
install_project
