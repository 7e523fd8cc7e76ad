#!/bin/sh
# Builds and runs the consumer project against an installed Gradus, as a subdirectory, and through FetchContent.
# Usage: run.sh BUILD_DIR   (a finished build of Gradus, which is installed below BUILD_DIR/consumer)
set -eu
here=$(cd "$(dirname "$0")" && pwd)
gradus=$(cd "$here/../.." && pwd)
build=$(cd "$1" && pwd)
work=$build/consumer

rm -rf "$work/prefix" # a header that is no longer installed must not linger
cmake --install "$build" --prefix "$work/prefix" >"$work.install.log"

# try HOW DIRECTORY OPTION...
try() {
  how=$1 directory=$work/$2 && shift 2
  echo "== $how"
  cmake -S "$here" -B "$directory" -G Ninja -DHOW="$how" "$@" >/dev/null
  cmake --build "$directory"
  "$directory/consumer"
}

try package package -DCMAKE_PREFIX_PATH="$work/prefix"
# The next two compile the library themselves. They do so in one directory, so that it is compiled once, not optimised to
# be quick, and as a shared library, so that this is tried as well.
try subdirectory source -DGRADUS="$gradus" -DCMAKE_BUILD_TYPE=Debug -DBUILD_SHARED_LIBS=ON
try fetchcontent source -DGRADUS="$gradus" -DCMAKE_BUILD_TYPE=Debug -DBUILD_SHARED_LIBS=ON
