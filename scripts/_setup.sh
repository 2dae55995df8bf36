# shellcheck shell=bash
# What the scripts beside this file share: finds a Python, makes .venv, installs Pica under the constraints.
# Sourced, never run. Works with bash 3.2 (macOS) and needs nothing but Python 3.11+ with pip.

set -euo pipefail
# What a caller has activated or exported must not leak into .venv.
unset CDPATH PYTHONPATH PYTHONHOME PYTHONSTARTUP PYTHONSAFEPATH PYTHONWARNINGS PYTHONOPTIMIZE VIRTUAL_ENV __PYVENV_LAUNCHER__
unset PIP_TARGET PIP_PREFIX PIP_REQUIRE_VIRTUALENV PIP_CONSTRAINT PIP_REQUIREMENT
export PIP_USER=0 PIP_NO_INPUT=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONNOUSERSITE=1

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)"
CONSTRAINTS="$ROOT/scripts/constraints/all.txt"
TORCH_CPU_INDEX="https://download.pytorch.org/whl/cpu"
LOG=""

say() { printf '%s\n' "-- $*"; }
die() { printf '%s\n' "failed: $*" >&2; exit 1; }

# Sets VENV (a folder) and PY (its interpreter). Callers may choose another folder than .venv.
use_venv() {
  VENV="$1"
  PY="$VENV/bin/python"
  case "$(uname -s)" in MINGW* | MSYS* | CYGWIN*) PY="$VENV/Scripts/python.exe" ;; esac
}
use_venv "$ROOT/.venv"

open_log() {
  [ -n "$LOG" ] && return 0
  LOG="$(mktemp "${TMPDIR:-/tmp}/pica-setup.XXXXXX" 2>/dev/null)" ||
    die "cannot write to ${TMPDIR:-/tmp}; free some space there or set TMPDIR to a folder with room"
}

# One line that says why the last command failed and what mends it, from what the command wrote to the log.
explain() {
  local doing="$1"
  has() { grep -Eiq "$1" "$LOG"; }
  if has 'No space left on device|Disk quota exceeded|not enough space'; then
    die "$doing: the disk is full; free about 4 GB under $ROOT and ${TMPDIR:-/tmp} (or set TMPDIR) and run this again"
  elif has 'CERTIFICATE_VERIFY_FAILED|SSLError'; then
    die "$doing: the package index's certificate is not trusted here; set PIP_CERT to your organisation's CA file"
  elif has '40[137] (Client Error|Unauthorized|Forbidden|Proxy)|authentication required'; then
    die "$doing: the package index refuses access; check the address and the credentials in 'pip config list'"
  elif has 'NewConnectionError|name resolution|ConnectTimeoutError|ReadTimeoutError|Connection refused|ProxyError|Network is unreachable|Connection reset|RemoteDisconnected|not a trusted or secure host|Could not fetch URL http'; then
    die "$doing: no package index is reachable; check the network, or set PIP_INDEX_URL to one that is"
  elif has 'Permission denied|Read-only file system'; then
    die "$doing: $ROOT or ${TMPDIR:-/tmp} cannot be written to; use a folder that you own"
  elif has 'ResolutionImpossible|conflicting dependencies'; then
    die "$doing: the index offers no versions that fit both pyproject.toml and $CONSTRAINTS for $("$PY" --version 2>&1);" \
      "set PYTHON to 3.11, 3.12 or 3.13 and remove .venv, or run scripts/lock (details: $LOG)"
  elif has 'No matching distribution found for'; then
    die "$doing: $(grep -Eo 'No matching distribution found for .*' "$LOG" | tail -1) for $("$PY" --version 2>&1);" \
      "set PYTHON to another Python (3.11 to 3.13 are tested) or PIP_INDEX_URL to a fuller index"
  fi
  die "$doing: $(grep -E '^(ERROR|error|.*Error):?' "$LOG" | tail -1); the whole output is in $LOG"
}

# attempt WHAT COMMAND...: runs the command silently; a failure ends the script with one line.
attempt() {
  local doing="$1"
  shift
  open_log
  "$@" >"$LOG" 2>&1 </dev/null || explain "$doing"
}

fits() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

find_python() {
  local name
  if [ -n "${PYTHON:-}" ]; then
    fits "$PYTHON" || die "PYTHON=$PYTHON is no Python of version 3.11 or newer; set PYTHON to one that is"
    command -v "$PYTHON"
    return
  fi
  for name in python3.13 python3.12 python3.11 python3.14 python3 python; do
    if fits "$name"; then command -v "$name"; return; fi
  done
  die "no Python 3.11 or newer found ($(python3 --version 2>&1 | tail -1)); install one and set PYTHON to it"
}

has_pip() { fits "$PY" && "$PY" -m pip --version >/dev/null 2>&1; }

make_venv() {
  has_pip && return 0
  local python
  python="$(find_python)"
  say "making ${VENV#"$ROOT"/} with $("$python" --version 2>&1) ($python)"
  open_log
  "$python" -m venv --clear "$VENV" >"$LOG" 2>&1 && has_pip && return 0
  # Debian splits ensurepip off into python3-venv. Without it, the pip outside can still install one inside.
  "$python" -m venv --clear --without-pip "$VENV" >>"$LOG" 2>&1 &&
    "$python" -m pip --python "$PY" install pip >>"$LOG" 2>&1 && has_pip && return 0
  if grep -Eq 'No space left|Permission denied|Read-only file system' "$LOG"; then explain "making $VENV"; fi
  die "cannot make $VENV with $python; install its venv module (Debian, Ubuntu: apt-get install python3-venv)" \
    "or set PYTHON to another Python (details: $LOG)"
}

# Verbose, since pip says only then why it could not reach an index.
pip_install() { # WHAT ARGUMENTS...
  local doing="$1"
  shift
  (cd "$ROOT" && attempt "$doing" "$PY" -m pip install -v --progress-bar off -c "$CONSTRAINTS" "$@")
}

has_gpu() { [ -e /dev/nvidia0 ] || [ -e /dev/dxg ] || nvidia-smi -L >/dev/null 2>&1; }

# Whether the ordinary index would give us a torch that brings CUDA along (several GB). Asks for its metadata only.
index_offers_cuda() { # VERSION
  [ "$(uname -s)" = Linux ] || return 1 # elsewhere the ordinary build is the CPU's (or Apple's)
  open_log
  "$PY" -m pip install --dry-run --no-deps --ignore-installed --quiet --report "$LOG" "torch==$1" >/dev/null 2>&1 || return 1
  "$PY" - "$LOG" <<'PYTHON'
import json, sys
needs = json.load(open(sys.argv[1]))["install"][0]["metadata"].get("requires_dist", [])
sys.exit(not any(need.startswith(("nvidia-", "cuda-")) for need in needs))
PYTHON
}

# torch goes first and by name, so that nothing installed later can choose its build.
install_torch() {
  local version
  version="$(sed -n 's/^torch==//p' "$CONSTRAINTS")"
  "$PY" -c "import importlib.metadata as m; raise SystemExit(m.version('torch').split('+')[0] != '$version')" \
    >/dev/null 2>&1 && return 0
  if ! has_gpu && index_offers_cuda "$version"; then
    say "installing torch $version (no NVIDIA GPU here: the CPU build)"
    # --no-deps: that index has old copies of other packages. What torch needs comes with Pica, under the constraints.
    "$PY" -m pip install --progress-bar off --no-deps --retries 1 --timeout 20 --index-url "$TORCH_CPU_INDEX" \
      "torch==$version+cpu" >"$LOG" 2>&1 </dev/null && return 0
    say "the CPU build cannot be reached ($TORCH_CPU_INDEX); taking the index's own, which is several GB with CUDA"
  else
    say "installing torch $version"
  fi
  pip_install "installing torch" "torch==$version"
}

# install_pica NAME EXTRAS: Pica in editable mode with these extras, unless nothing has changed since the last time.
install_pica() {
  local stamp="$VENV/pica-$1.stamp" want
  want="$2 $ROOT $(cat "$ROOT/pyproject.toml" "$CONSTRAINTS" | cksum)"
  make_venv
  [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$want" ] && return 0
  open_log
  say "installing what is missing into ${VENV#"$ROOT"/} (the first time takes a few minutes)"
  case ",$2," in *,embed,* | *,hf,* | *,train,*) install_torch ;; esac
  # setuptools comes under the constraints too: a build in isolation would take whatever is newest.
  pip_install "installing setuptools" setuptools
  pip_install "installing Pica" --no-build-isolation -e ".[$2]"
  printf '%s\n' "$want" >"$stamp"
  rm -f "$LOG"
  LOG=""
}
