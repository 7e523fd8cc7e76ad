#!/bin/sh
# Makes datasets/digits_data.cpp anew from scikit-learn's copy of the UCI digits. That file is committed, so nobody
# needs this script to build; it is here to show where the numbers come from, and that nothing was changed.
#
#   ./dev data digits && sh tutorials/tools/make_digits.sh [digits.csv.gz]
#
# The CSV has one picture a line: 64 pixels of 0..16 row by row, then the digit. Here a pixel becomes one character of
# 0123456789abcdefg, and the digit follows after a blank.
set -eu

here=$(cd -- "$(dirname -- "$0")" && pwd)
csv=${1:-${GRADUS_DATA:-${XDG_CACHE_HOME:-$HOME/.cache}/gradus}/digits/digits.csv.gz}
out=${here%/*}/datasets/digits_data.cpp
[ -f "$csv" ] || { echo "make_digits: $csv is not there; run: ./dev data digits" >&2; exit 1; }

gzip -dc "$csv" | awk -F, '
  BEGIN {
    print "// The 1,797 digits of digits.h as text: 64 pixels row by row, 0 (white) to g (16, black), then the label."
    print "// Made by tutorials/tools/make_digits.sh; do not edit."
    print "//"
    print "// Data: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning"
    print "// Repository, 1998. Licence: CC BY 4.0, https://creativecommons.org/licenses/by/4.0/; only how the numbers"
    print "// are written was changed."
    print "#include \"tutorials/datasets/digits.h\""
    print ""
    print "namespace gradus {"
    print ""
    print "// clang-format off"
    print "const std::array<const char*, 1797> digit_lines = {"
  }
  NF != 65 { print "make_digits: line " NR " has " NF " fields, expected 65" >"/dev/stderr"; bad = 1; exit 1 }
  {
    line = ""
    for (i = 1; i <= 64; i++) line = line substr("0123456789abcdefg", $i + 1, 1)
    print "\"" line " " $65 "\","
  }
  END {
    if (bad) exit 1
    if (NR != 1797) { print "make_digits: found " NR " pictures, expected 1797" >"/dev/stderr"; exit 1 }
    print "};"
    print "// clang-format on"
    print ""
    print "}  // namespace gradus"
  }' >"$out.new" || { rm -f "$out.new"; exit 1; }
mv "$out.new" "$out"
echo "make_digits: wrote $out"
