#!/bin/sh
# The README's programs are the files they name, and its outputs are what these print, numbers within 2 % (the last digits
# depend on the vector width of the machine). With --write it fills the README in.
#   usage: readme.sh BUILD_DIR SOURCE_DIR [--write]
set -eu
build=$1
source=$2
readme=$source/README.md
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# What has to stand in the block after the marker "<!-- NAME -->".
content() {
  case $1 in
    tutorials/*)
      program=$(basename "$1" .cpp)
      cat "$source/$1"
      ;;
    "its output") "$build/$program" ;;
    "gradus "*) (cd "$source" && eval "\"$build/gradus\" ${1#gradus }") 2>/dev/null | sed '/./,$!d' ;; # without leading blank lines
  esac
}

# Splits the README into marker, block, marker, block ...: one file each.
awk -v work="$work" '
  /^<!-- .* -->$/ { n++; name = $0; gsub(/^<!-- | -->$/, "", name); print name > (work "/" n ".name"); next }
  n && /^```$/ && inside { inside = 0; next }
  n && /^```/ && !(n in done) { inside = 1; done[n] = 1; printf "" > (work "/" n ".shown"); next }
  inside { print > (work "/" n ".shown") }
  END { print n > (work "/count") }' "$readme"

n=1
while [ "$n" -le "$(cat "$work/count")" ]; do
  content "$(cat "$work/$n.name")" >"$work/$n.real"
  n=$((n + 1))
done

if [ "${3:-}" = --write ]; then
  awk -v work="$work" '
    /^<!-- .* -->$/ { n++; print; next }
    n && /^```$/ && inside { inside = 0; print; next }
    n && /^```/ && !(n in done) { inside = 1; done[n] = 1; print; while ((getline line < (work "/" n ".real")) > 0) print line; next }
    !inside { print }' "$readme" >"$work/new" && cp "$work/new" "$readme"
  exit 0
fi

failures=0
n=1
while [ "$n" -le "$(cat "$work/count")" ]; do
  name=$(cat "$work/$n.name")
  # Words must be equal; numbers may differ by 2 %, and figures that measure round-off or time only have to be there.
  if ! awk -v name="$name" '
      function number(w) { return w ~ /^[-+]?[0-9]+\.?[0-9]*(e[-+]?[0-9]+)?$/ }
      function near(a, b) { return (a - b) * (a - b) <= (0.02 * a) * (0.02 * a) || (a * a < 1e-12 && b * b < 1e-12) }
      function differs(shown, real,   m, n, u, v, i) {
        gsub(/[][{}:",()%]/, " & ", shown); gsub(/[][{}:",()%]/, " & ", real)
        m = split(shown, u, " "); n = split(real, v, " ")
        if (m != n) return 1
        for (i = 1; i <= n; ++i) {
          if (u[i] == v[i] || (number(u[i]) && number(v[i]) && near(u[i], v[i]))) continue
          if (name == "gradus demo" && i == n && number(v[i])) continue # seconds
          return 1
        }
        return 0
      }
      NR == FNR { shown[FNR] = $0; lines = FNR; next }
      differs(shown[FNR], $0) { print "  " FNR " shown: " shown[FNR]; print "  " FNR " is:    " $0; bad = 1 }
      END { if (FNR != lines) bad = 1; exit bad }' "$work/$n.shown" "$work/$n.real"; then
    echo "FAILED: README, $name"
    failures=$((failures + 1))
  else
    echo "ok: README, $name"
  fi
  n=$((n + 1))
done
[ "$failures" -eq 0 ]
