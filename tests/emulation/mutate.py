#!/usr/bin/env python3
"""Mutation test of kernels: makes one small mistake at a time, and sees which mode of the tests notices.

    python3 tests/emulation/mutate.py --build "ninja -C build/mutate gradus_tests_emulated" \\
        --mode "forward=build/mutate/gradus_tests_emulated --device=cuda" \\
        --mode "random=GRADUS_EMULATION=order=random build/mutate/gradus_tests_emulated --device=cuda" \\
        --state build/mutate.json cuda/launch.cuh cuda/scan.cuh

Files are changed in place, and put back after each mutant and when interrupted: run it in a copy of the sources. The build
command compiles what depends on the file; for a header that all include, let it build a program of few tests. State is kept in a file, by the text of line and edit, so that an interrupted
run goes on, and a run after a change of the tests repeats only what --again asks for (survived, or all).
Mutants that change nothing are named in tests/emulation/equivalent_mutants.txt, with the reason.
"""
import argparse
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).parent

# (what, pattern, replacement): each match in code, not in comments or strings, is one mutant.
EDITS = [
    ("remove the barrier", r"__syncthreads\(\)", "(void)0"),
    ("remove the barrier", r"\bteam\.sync\(\)", "(void)0"),
    ("remove the barrier", r"__syncwarp\([^()]*\)", "(void)0"),
    ("loosen the bound", r"(?<!template) < (?=[\w(-])", " <= "),
    ("flip the comparison", r"(?<!template) < (?=[\w(-])", " >= "),
    ("loosen the bound", r" > (?=[\w(-])", " >= "),
    ("flip the comparison", r" > (?=[\w(-])", " <= "),
    ("tighten the bound", r" <= ", " < "),
    ("tighten the bound", r" >= ", " > "),
    ("negate", r" == ", " != "),
    ("negate", r" != ", " == "),
    ("drop the condition", r"\bif \(([^()]|\([^()]*\))*\) (?!constexpr)", "if (true) "),
    ("drop the first condition", r"(?<=\()[^()&|;]+ && ", ""),
    ("or for and", r" && ", " || "),
    ("plain for atomic", r"\batomicAdd\(&?([^,;]+), ([^;]+)\);", r"\1 += \2;"),
    ("half the mask", r"\bwhole_warp\b(?! =)|0xffffffffu|~0u", "0x0000ffffu"),
    ("one lane less", r"\b32\b", "31"),
    ("half", r"\b16\b", "8"),
    ("one less", r"(?<!int )(?<!Index )\b(n|N|C|rows|columns|cols|count|blocks|length|size)\b(?= *[;)\]])", r"\1 - 1"),
    ("minus", r"(?<=[\w)\]]) \+ (?=[\w(])", " - "),
    ("plus", r"(?<=[\w)\]]) - (?=[\w(])", " + "),
    ("minus", r" \+= ", " -= "),
    ("divide", r"(?<=[\w)\]]) \* (?=[\w(])", " / "),
    ("multiply", r"(?<=[\w)\]]) / (?=[\w(])", " * "),
    ("index one too large", r"\[(\w+)\](?! *\{)", r"[\1 + 1]"),
    ("the second thread", r"threadIdx\.x == 0", "threadIdx.x == 1"),
    ("every thread", r"\bteam\.leads\(\)", "true"),
    ("block for thread", r"\bthreadIdx\.x\b", "blockIdx.x"),
    ("zero", r"\bINFINITY\b", "0"),
]


def code_only(line):
    """The line with comments and strings blanked out, of the same length."""
    line = re.sub(r'"(\\.|[^"\\])*"', lambda m: " " * len(m.group()), line)
    return re.sub(r"//.*", lambda m: " " * len(m.group()), line)


def mutants(path, text):
    """Yields (line number, what, old line, new line)."""
    for number, line in enumerate(text.split("\n"), 1):
        code = code_only(line)
        if code.lstrip().startswith(("#", "template <", "static_assert", "using ")) and "{" not in code:
            continue
        seen = set()
        for what, pattern, new in EDITS:
            for match in re.finditer(pattern, code):
                changed = line[: match.start()] + match.expand(new) + line[match.end():]
                if changed != line and changed not in seen:
                    seen.add(changed)
                    yield number, what, line, changed


def run(command, limit, environment=None):
    """(exit code or None after the limit, output). Ends the whole process group that it started, and nothing else."""
    words = ["sh", "-c", command]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                               start_new_session=True, env={**os.environ, **(environment or {})})
    try:
        output, _ = process.communicate(timeout=limit)
        return process.returncode, output
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        return None, output
    finally:
        if process.poll() is None:  # we were interrupted
            os.killpg(process.pid, signal.SIGKILL)


def reason(output):
    """The line that says most."""
    for pattern in (r".*(?:race in|out of bounds|uninitialised|misaligned|not device memory|deadlock|divergent barrier).*",
                    r".*(?:takes no part|host code|past the end|AddressSanitizer|runtime error).*", r".*ERROR.*", r".*error.*"):
        found = re.search(pattern, output)
        if found:
            return found.group().strip()[:200]
    return output.strip().split("\n")[-1][:200]


def equivalents(path):
    """'cuda/scan.cuh | new line, stripped | reason' -> {(file, line): reason}"""
    known = {}
    if path.exists():
        for line in path.read_text().split("\n"):
            parts = [p.strip() for p in line.split(" | ")]
            if len(parts) == 3 and not line.startswith("#"):
                known[parts[0], parts[1]] = parts[2]
    return known


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+")
    parser.add_argument("--build", required=True, help="compiles the test programs")
    parser.add_argument("--mode", action="append", required=True, metavar="NAME=COMMAND", help="a run of the tests")
    parser.add_argument("--state", default="mutants.json")
    parser.add_argument("--limit", type=float, default=0, help="seconds for a run; default: 5 times that of the original, plus 5")
    parser.add_argument("--build-limit", type=float, default=1200)
    parser.add_argument("--all-modes", action="store_true", help="run them all, also when one has caught it")
    parser.add_argument("--again", choices=["survived", "all"], help="forget these results of earlier runs")
    parser.add_argument("--lines", help="only these, as 10-80")
    parser.add_argument("--every", type=int, default=1, help="only every n-th mutant: a sample")
    parser.add_argument("--list", action="store_true", help="only list the mutants")
    parser.add_argument("--equivalent", type=pathlib.Path, default=HERE / "equivalent_mutants.txt")
    options = parser.parse_args()
    modes = dict(m.split("=", 1) for m in options.mode)
    known = equivalents(options.equivalent)
    first, last = map(int, options.lines.split("-")) if options.lines else (1, 1 << 30)

    work = []
    for name in options.files:
        path = pathlib.Path(name)
        text = path.read_text()
        found = [m for m in mutants(path, text) if first <= m[0] <= last]
        work += [(path, text, *m) for m in found[:: options.every]]
    if options.list:
        for path, _, number, what, _, new in work:
            print(f"{path}:{number}: {what}: {new.strip()}")
        return print(f"{len(work)} mutants")

    state_path = pathlib.Path(options.state)
    state = json.loads(state_path.read_text()) if state_path.exists() else {}
    if options.again:
        state = {k: v for k, v in state.items() if options.again == "survived" and v["result"] != "survived"}

    def save():
        temporary = state_path.with_suffix(".tmp")
        temporary.write_text(json.dumps(state, indent=1))
        temporary.replace(state_path)

    limits = {}

    def calibrate():  # the original must pass, and says how long a run takes
        code, output = run(options.build, options.build_limit)
        if code != 0:
            sys.exit(f"the original does not build:\n{output[-3000:]}")
        for name, command in modes.items():
            begin = time.time()
            code, output = run(command, 3600)
            if code != 0:
                sys.exit(f"the original fails in mode {name}:\n{output[-3000:]}")
            limits[name] = options.limit or 5 * (time.time() - begin) + 5

    for count, (path, text, number, what, old, new) in enumerate(work, 1):
        key = f"{path} | {what} | {old.strip()} | {new.strip()}"
        if key in state:
            state[key]["line"] = number
            continue
        entry = {"file": str(path), "line": number, "what": what, "new": new.strip(), "modes": {}}
        if (str(path), new.strip()) in known:
            entry |= {"result": "equivalent", "why": known[str(path), new.strip()]}
        else:
            if not limits:
                calibrate()
            lines = text.split("\n")
            lines[number - 1] = new
            try:
                path.write_text("\n".join(lines))
                code, output = run(options.build, options.build_limit)
                if code != 0:
                    entry |= {"result": "does not compile", "why": reason(output)}
                else:
                    entry |= {"result": "survived", "why": ""}
                    for name, command in modes.items():
                        code, output = run(command, limits[name])
                        caught = code != 0
                        entry["modes"][name] = caught
                        if caught and entry["result"] == "survived":
                            why = "time limit" if code is None else reason(output)
                            entry |= {"result": "caught", "by": name, "why": why}
                        if caught and not options.all_modes:
                            break
            finally:
                path.write_text(text)
        state[key] = entry
        save()
        by = f" by {entry['by']}" if "by" in entry else ""
        print(f"{count}/{len(work)} {path}:{number}: {what}: {entry['result']}{by}: {entry.get('why', '')}", flush=True)

    wanted = {f"{p} | {what} | {old.strip()} | {new.strip()}" for p, _, _, what, old, new in work}
    results = [v for k, v in state.items() if k in wanted]
    print()
    for result in ("caught", "survived", "equivalent", "does not compile"):
        print(f"{result}: {sum(r['result'] == result for r in results)}")
    for name in modes:
        tried = [r for r in results if name in r["modes"]]
        print(f"  by {name}: {sum(r['modes'][name] for r in tried)} of the {len(tried)} that it ran")
    for r in sorted((r for r in results if r["result"] == "survived"), key=lambda r: (r["file"], r["line"])):
        print(f"SURVIVED {r['file']}:{r['line']}: {r['what']}: {r['new']}")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # puts the file back
    main()
