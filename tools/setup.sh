#!/bin/sh
# Makes .venv whole: an environment, uv in it, the locked packages, this project. Called by the Makefile.
#
# .venv/.ready     the environment is whole; it holds the folder for which it was made
# .venv/.under-way set-up is at work or was interrupted: the next call starts afresh (downloads are kept)
# A half-installed package looks installed, so an interrupted environment is never mended, only made anew.
set -eu
cd "$(dirname "$0")/.."
venv=.venv
python=$venv/bin/python

say() { printf '[set-up] %s\n' "$*" >&2; }
stop() { printf '\n' >&2; printf '%s\n' "$@" >&2; trap - EXIT; exit 1; }
trap '[ $? = 0 ] || say "did not finish. Give the same command again: it starts afresh and keeps what was downloaded."' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

fits() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' >/dev/null 2>&1; }
can() { "$1" -c "import $2" >/dev/null 2>&1; }
candidates=${PYTHON:-python3.12 python3.11 python3 python}

# Sets `maker`, the command that makes the environment.
choose_maker() {
    found=
    for name in $candidates; do
        fits "$name" || continue
        found=${found:-$name}
        if can "$name" "venv, ensurepip"; then maker="$name -m venv"; return; fi
    done
    [ "$found" ] || stop "Python 3.11 or 3.12 is needed and was not found (tried: $candidates)." \
        "Install one (Debian, Ubuntu: apt install python3 python3-venv; macOS: brew install python@3.12;" \
        "a cluster: module load python/3.12), or name one: make test PYTHON=/path/to/python3.12"
    if can "$found" virtualenv; then maker="$found -m virtualenv --quiet"; return; fi
    if command -v virtualenv >/dev/null 2>&1; then maker="virtualenv --quiet --python $(command -v "$found")"; return; fi
    stop "$found cannot make virtual environments: its module venv or ensurepip is missing, and so is virtualenv." \
        "Install one of them (Debian, Ubuntu: apt install python3-venv, or python3-virtualenv)," \
        "then give the same command again."
}

# pip knows the site's mirror and certificates from its own settings; uv does not read those.
pip_setting() { "$python" -m pip config get ":env:.$1" 2>/dev/null || "$python" -m pip config get "global.$1" 2>/dev/null || true; }
share_pip_settings() {
    mirror=$(pip_setting index-url)
    certificates=$(pip_setting cert)
    if [ "$mirror" ] && [ -z "${UV_DEFAULT_INDEX:-}${UV_INDEX_URL:-}" ]; then export UV_DEFAULT_INDEX="$mirror"; fi
    if [ "$certificates" ] && [ -z "${SSL_CERT_FILE:-}" ]; then export SSL_CERT_FILE="$certificates"; fi
}

rmdir "$venv" 2>/dev/null || true
if [ -e "$venv/.under-way" ]; then
    say "the last set-up was interrupted: starting afresh"
    rm -rf "$venv"
elif [ -f "$venv/.ready" ] && { [ "$(cat "$venv/.ready")" != "$PWD" ] || ! fits "$python"; }; then
    say "the folder was moved or its Python is gone: starting afresh"
    rm -rf "$venv"
elif [ -e "$venv" ] && [ ! -f "$venv/.ready" ]; then
    stop "There is a $venv here that this set-up did not make. Move it away (mv $venv $venv.old), then give the same command again."
fi

if [ ! -e "$venv" ]; then
    choose_maker
    say "1 of 4: virtual environment in $venv ($maker)"
    mkdir "$venv"
    : >"$venv/.under-way"
    $maker "$venv"
else
    say "1 of 4: requirements changed, updating $venv"
    : >"$venv/.under-way"
fi
say "2 of 4: the installer (uv) for $("$python" --version)"
"$python" -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-uv.txt
share_pip_settings

quiet=--quiet
[ ! -t 2 ] || quiet=
say "3 of 4: the locked packages (the first time about 3 GB to download and 6 GB on disk; later from the cache)"
# Compiled now: where Python may not write bytecode (images, read-only software), every process would compile all of it again.
"$venv/bin/uv" pip install $quiet --compile-bytecode --python "$python" --require-hashes -r requirements.txt
say "4 of 4: this project"
"$venv/bin/uv" pip install $quiet --python "$python" --no-build-isolation --no-deps --editable .

printf '%s\n' "$PWD" >"$venv/.ready.new"
mv "$venv/.ready.new" "$venv/.ready"
rm "$venv/.under-way"
say "done"
