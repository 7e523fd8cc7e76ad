#!/bin/sh
# The program as a user runs it: exit codes, one-line errors, equal bits for any number of threads, and training that
# survives being killed.   usage: run.sh PROGRAM SOURCE_DIR STEPS (of a run that is killed)
set -eu
gradus=$1
source=$2
steps=$3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
failures=0

ok() { echo "ok: $1"; }
bad() {
  echo "FAILED: $1"
  failures=$((failures + 1))
}
# expect CODE TEXT COMMAND...: the exit code, and for errors exactly one line on stderr that holds TEXT.
expect() {
  code=$1 text=$2
  shift 2
  got=0
  "$@" >out 2>err || got=$?
  if [ "$got" -ne "$code" ]; then
    bad "exit code $got, wanted $code: $*"
    cat err
  elif [ "$code" -ne 0 ] && { [ "$(wc -l <err)" -ne 1 ] || ! grep -qF -e "$text" err; }; then
    bad "wanted one line with '$text': $*"
    cat err
  elif [ "$code" -eq 0 ] && ! grep -qF -e "$text" out; then
    bad "wanted '$text' in the output: $*"
  else
    ok "$code $*"
  fi
}
same() { if cmp -s "$1" "$2"; then ok "$3"; else bad "$3: the files differ"; fi; }

# --- commands and bad input
expect 0 "cross_entropy" "$gradus" list
expect 0 '"experiments"' "$gradus" list --json
for command in list check eval bench train demo; do expect 0 "gradus $command" "$gradus" $command --help; done
expect 0 "agree" "$gradus" check cross_entropy
expect 0 "agree" "$gradus" check all
expect 2 "no loss 'nothing'" "$gradus" check nothing
expect 2 "subcommand" "$gradus"
expect 2 "bogus" "$gradus" bogus
expect 2 "--steps" "$gradus" train digits --steps 0
expect 2 "--steps" "$gradus" train digits --steps many
expect 2 "--frobnicate" "$gradus" train digits --frobnicate
expect 2 "no experiment 'nothing'" "$gradus" train nothing
expect 2 "no/such/file" "$gradus" train lm --quiet --data no/such/file
expect 2 "no/such/folder" "$gradus" train digits --quiet --save no/such/folder/f.safetensors --steps 5
expect 2 "absent" "$gradus" train digits --quiet --resume absent.safetensors
printf 'too short' >short.txt
expect 2 "longer" "$gradus" train lm --quiet --data short.txt

# --- one loss from outside
fed() { file=$1 && shift && "$@" <"$file"; } # fed FILE COMMAND...: the file as standard input
cat >case.json <<'END'
{"loss": "multilabel_ce", "inputs": {"scores": {"shape": [1, 2], "data": [0, 0]}, "labels": {"shape": [1, 2], "data": [0, 1]}}}
END
echo '{"loss": "multilabel_ce", "inputs": {}}' >incomplete.json
echo '{"loss": "multilabel_ce", ' >broken.json
{ echo '[' && cat case.json && echo ',' && cat incomplete.json && echo ']'; } >batch.json
expect 0 '{"value":1.3862943611198906,"grads":{"scores":{"shape":[1,2],"data":[0.5,-0.5]}}}' fed case.json "$gradus" eval
expect 0 '"value":1.3862943611198906' fed case.json "$gradus" eval --form definition
expect 0 '"value":1.3862943649291992' fed case.json "$gradus" eval --dtype f32
expect 0 '"code":2' fed batch.json "$gradus" eval --batch
expect 0 '"name": "cosent"' fed /dev/null "$gradus" eval --list
expect 2 "input 'scores' [N,C] is missing" fed incomplete.json "$gradus" eval
expect 2 "not JSON" fed broken.json "$gradus" eval
expect 2 "not JSON" fed /dev/null "$gradus" eval
expect 2 "list of cases" fed case.json "$gradus" eval --batch
expect 2 "--dtype" fed case.json "$gradus" eval --dtype f16
expect 0 "cosent" "$gradus" bench cosent --no-peer --seconds 0
expect 2 "no case 'nothing'" "$gradus" bench nothing --no-peer

# --- the GPU: this program has none; gradus_emulated, where it was built, runs the kernels on the CPU
expect 77 "built without CUDA" fed case.json "$gradus" eval --device cuda
expect 77 "built without CUDA" "$gradus" train digits --device cuda
expect 77 "built without CUDA" "$gradus" check focal --device cuda
expect 77 "built without CUDA" "$gradus" bench --device cuda
emulated=$(dirname "$gradus")/gradus_emulated
if [ -x "$emulated" ]; then
  # near FILE FILE: the same text, numbers within 1e-12.
  near() {
    paste -d '\n' "$1" "$2" | awk '
      function number(w) { return w ~ /^-?[0-9.]+(e[-+]?[0-9]+)?$/ }
      { gsub(/[][{}:",]/, " & ") }
      NR % 2 { n = split($0, u, " "); next }
      { if (split($0, v, " ") != n) exit 1
        for (i = 1; i <= n; ++i) {
          gap = number(u[i]) && number(v[i]) ? u[i] - v[i] : 1
          if (u[i] != v[i] && gap * gap > 1e-24) exit 1
        } }'
  }
  for file in case.json "$source/tutorials/case.json"; do
    fed "$file" "$gradus" eval >cpu.json
    fed "$file" "$emulated" eval --device cuda >gpu.json || true
    if near cpu.json gpu.json; then ok "eval on the emulated GPU: $(cat gpu.json)"; else bad "eval on the emulated GPU"; fi
  done
  expect 0 "agree" "$emulated" check focal --device cuda
  expect 0 "replays" "$emulated" bench ce --device cuda --seconds 0 --no-peer
fi

# --- the same bits with one thread and two
cat "$source"/engine/*.cpp | head -c 20000 >text.txt # any text will do; short, for the slow sanitizer build
for threads in 1 2; do
  OMP_NUM_THREADS=$threads "$gradus" train digits --quiet --steps 80 --save digits$threads.safetensors --report digits$threads >out
  OMP_NUM_THREADS=$threads "$gradus" train lm --quiet --steps 6 --data text.txt --save lm$threads.safetensors >out
done
same digits1.safetensors digits2.safetensors "digits: the same parameters with 1 and 2 threads"
same digits1/metrics.csv digits2/metrics.csv "digits: the same losses with 1 and 2 threads"
same lm1.safetensors lm2.safetensors "language model with dropout: the same parameters with 1 and 2 threads"

# --- killed at a random moment and resumed: the same bytes as a run that was left alone
lm() { "$gradus" train lm --quiet --steps "$steps" --data text.txt --save-every 3 "$@"; }
lm --save whole.safetensors --report whole >out
for round in 1 2 3; do
  rm -rf killed.safetensors killed
  # Not by lm: the process to kill would be a shell that calls the function, and the trainer would go on.
  "$gradus" train lm --quiet --steps "$steps" --data text.txt --save-every 3 --save killed.safetensors --report killed >out 2>err &
  pid=$!
  while [ ! -e killed.safetensors ] && kill -0 $pid 2>/dev/null; do sleep 0.01; done
  sleep "0.$(od -An -N2 -tu2 /dev/urandom | awk '{ printf "%03d", $1 % 400 }')"
  if kill -9 $pid 2>/dev/null; then moment="killed"; else moment="finished before it was killed"; fi
  wait $pid 2>/dev/null || true
  rows=$(wc -l <killed/metrics.csv)
  lm --resume killed.safetensors --save killed.safetensors --report killed >out
  same whole.safetensors killed.safetensors "round $round, $moment after $((rows - 1)) steps, resumed: the same checkpoint"
  same whole/metrics.csv killed/metrics.csv "round $round: the same metrics"
done

# --- Ctrl-C: the program ends after a checkpoint, from which the run continues
for name in digits lm; do # started in the background, where a shell ignores Ctrl-C: then it is an error
  [ $name = lm ] && set -- --data text.txt || set --
  "$gradus" train $name --quiet --steps 100000 --save stopped.safetensors --save-every 1 "$@" >out 2>err &
  pid=$!
  while [ ! -e stopped.safetensors ] && kill -0 $pid 2>/dev/null; do sleep 0.01; done
  kill -INT $pid
  got=0
  wait $pid || got=$?
  if [ $got -eq 2 ] && grep -qF "interrupted after step" err; then ok "$name: Ctrl-C"; else bad "$name: Ctrl-C gives $got"; fi
  rm -f stopped.safetensors
done

# --- more threads than the system gives
if (ulimit -s 1000000000) 2>/dev/null; then
  expect 0 "digits" sh -c 'ulimit -s 1000000000; OMP_NUM_THREADS=1000 exec "$0" train digits --quiet --steps 20' "$gradus"
fi

# --- damaged and foreign checkpoints: one error, and the file is left alone
head -c 5000 whole.safetensors >cut.safetensors
cp cut.safetensors cut.copy
expect 2 "cut.safetensors" lm --resume cut.safetensors --save other.safetensors
same cut.safetensors cut.copy "a truncated checkpoint is left alone"
cp "$source/README.md" foreign.safetensors
expect 2 "foreign.safetensors" lm --resume foreign.safetensors
expect 2 "experiment" "$gradus" train digits --quiet --resume whole.safetensors
cat text.txt text.txt >other.txt
expect 2 "data" "$gradus" train lm --quiet --data other.txt --steps "$steps" --resume whole.safetensors
expect 2 "steps" "$gradus" train lm --quiet --data text.txt --steps 500 --resume whole.safetensors

[ "$failures" -eq 0 ] || { echo "$failures failures"; exit 1; }
