#!/usr/bin/env bash
# Everything that a site without internet needs, in one folder: made where there is internet, carried in, verified on
# arrival, and only then loaded. Run it in the repository. The order, and an example: deploy/README.md, "No internet".
set -euo pipefail

SUMS=SHA256SUMS
repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=${PYTHON:-python3}
read -ra engine <<< "${ENGINE:-docker}"

usage() {
  cat >&2 << 'TEXT'
usage, where there is internet:
  offline_bundle.sh images BUNDLE IMAGE...         save container images that were built here
  offline_bundle.sh wheels BUNDLE [REQUIREMENT...] in place of images: this program and all that it needs, as wheels
  offline_bundle.sh papers BUNDLE FILE...          weights, study.yaml, .fab, FEDERATION.json, compose files
  offline_bundle.sh seal BUNDLE                    write SHA256SUMS; prints the digest to read out by telephone
usage, at the site:
  offline_bundle.sh verify BUNDLE DIGEST           nothing altered, missing or added
  offline_bundle.sh load BUNDLE DIGEST             verify, then load the images
  offline_bundle.sh install BUNDLE DIGEST VENV     verify, then install the wheels into a new virtual environment
TORCH_INDEX=ADDRESS takes torch from its own CPU index (200 MB in place of 5 GB); PYTHON=PROGRAM, another Python;
ENGINE=podman, another engine than docker.
TEXT
  exit 2
}

fail() {
  echo "offline_bundle.sh: $*" >&2
  exit 1
}

images() {
  mkdir -p "$bundle/images"
  local several=()
  # docker takes several images without being told; podman would take the others for names of the first
  case ${engine[0]##*/} in podman) several=(--format docker-archive --multi-image-archive) ;; esac
  "${engine[@]}" save "${several[@]}" "$@" | gzip -n -1 > "$bundle/images/images.tar.gz"
}

wheels() {
  local source
  mkdir -p "$bundle/wheels"
  cp "$repository/constraints.txt" "$bundle/constraints.txt"
  if [ $# -eq 0 ]; then
    source=$(mktemp -d)
    # a copy, for pip builds where the source lies
    (cd "$repository" && cp -R pyproject.toml README.md LICENSE shared client server "$source")
    set -- "$source"
  fi
  "$python" -m pip wheel --disable-pip-version-check ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} \
    --constraint "$bundle/constraints.txt" --wheel-dir "$bundle/wheels" "$@"
  if [ -n "${source:-}" ]; then rm -rf "$source"; fi
}

papers() {
  mkdir -p "$bundle/papers"
  cp -- "$@" "$bundle/papers/"
}

content() { # every file of the bundle but the list itself, ended by NUL, in the same order everywhere
  (cd "$bundle" && find . ! -type d ! -path "./$SUMS" -print0 | LC_ALL=C sort -z)
}

seal() {
  [ -d "$bundle" ] || fail "$bundle is no folder: fill it first, with images, wheels or papers"
  [ -z "$(find "$bundle" ! -type d ! -type f)" ] || fail "$bundle holds links: put the files in their place"
  content | (cd "$bundle" && xargs -0 sha256sum --binary > "$SUMS")
  sha256sum "$bundle/$SUMS" | cut -d ' ' -f 1
}

verify() {
  local digest=$1
  [ -f "$bundle/$SUMS" ] || fail "$bundle has no $SUMS: it was not sealed, or not carried over whole"
  [ "$(sha256sum "$bundle/$SUMS" | cut -d ' ' -f 1)" = "$digest" ] ||
    fail "$SUMS is not the list whose digest was read out: take nothing from $bundle, and carry it over again"
  (cd "$bundle" && sha256sum --check --strict --quiet "$SUMS" >&2) ||
    fail "files of $bundle were altered or are missing (named above): take nothing from it, and carry it over again"
  local found known
  found=$(content | tr '\0' '\n')
  known=$(cut -c 67- "$bundle/$SUMS")
  [ "$found" = "$known" ] || fail "$bundle holds files that nobody sealed: take nothing from it"
  echo "verified: $(wc -l < "$bundle/$SUMS") files"
}

load() {
  verify "$1"
  gzip -dc "$bundle/images/images.tar.gz" | "${engine[@]}" load
}

install() {
  local digest=$1 venv=$2
  shift 2
  [ ! -e "$venv" ] || fail "VENV $venv is there already: give a new folder"
  verify "$digest"
  "$python" -m venv "$venv"
  [ $# -gt 0 ] || set -- teaching-rounds
  "$venv/bin/python" -m pip install --disable-pip-version-check --no-index --find-links "$bundle/wheels" \
    --constraint "$bundle/constraints.txt" "$@"
}

[ $# -ge 2 ] || usage
command=$1 bundle=$2
shift 2
case $command in
  images) [ $# -ge 1 ] || usage ;;
  papers) [ $# -ge 1 ] || usage ;;
  wheels | seal) ;;
  verify | load) [ $# -eq 1 ] || usage ;;
  install) [ $# -ge 2 ] || usage ;;
  *) usage ;;
esac
"$command" "$@"
