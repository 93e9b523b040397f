"""The command beside DuckDB and Polars, from file to file.

Each program runs in a process of its own. All outputs are read back and have to
hold the same values before any time counts.
"""

import argparse
import datetime
import importlib.metadata
import json
import os
import pathlib
import platform
import re
import shutil
import statistics
import subprocess
import sys
import time

from cases import CASES

HERE = pathlib.Path(__file__).resolve().parent
POLARS_ENGINES = ("streaming", "in-memory")
SCRIPT = [sys.executable, "-s"]


def main():
    args = arguments()
    skipped = []
    record = {
        "origin": origin(args.tradejoin),
        "trades": args.trades,
        "ids": args.ids,
        "rounds": args.rounds,
        "skipped": skipped,
        "cases": [],
    }
    if not has("duckdb"):
        sys.exit("duckdb cannot be imported: it runs as a peer, and reads the outputs back")
    if not has("polars"):
        skipped.append("polars: cannot be imported")
    folder = args.folder / f"{args.trades}-{args.ids}"
    generate(args, folder)
    for name in args.only or CASES:
        record["cases"].append(measure(args, folder, name))
    for line in skipped:
        print(f"skipped: {line}", file=sys.stderr)
    if args.json:
        args.json.write_text(json.dumps(record, indent=2) + "\n")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tradejoin", required=True, help="the command that is measured")
    parser.add_argument("--folder", required=True, type=pathlib.Path, help="where inputs and outputs go")
    parser.add_argument("--trades", type=int, default=10_000_000, help="trades [default: %(default)s]")
    parser.add_argument("--ids", type=int, default=100_000, help="instruments [default: %(default)s]")
    parser.add_argument("--rounds", type=int, default=5, help="rounds that count [default: %(default)s]")
    parser.add_argument("--only", action="append", choices=CASES, help="only this pair of formats")
    parser.add_argument("--json", type=pathlib.Path, help="record the results in this file")
    return parser.parse_args()


def has(package):
    """Whether a package works, tried in a process that does not stay."""
    return subprocess.run([*SCRIPT, "-c", f"import {package}"], capture_output=True).returncode == 0


def origin(tradejoin):
    """Where and from what the figures come."""
    versions = {"python": platform.python_version()}
    for package in ("duckdb", "polars"):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            pass
    return {
        "cpu": cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "compiler": output(["rustc", "--version"]),
        "commit": output(["git", "describe", "--always", "--dirty", "--exclude=*"]),
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        "versions": versions,
    }


def cpu():
    try:
        text = pathlib.Path("/proc/cpuinfo").read_text()
    except OSError:
        text = ""
    found = re.search(r"^model name\s*:\s*(.*)$", text, re.MULTILINE)
    return found.group(1) if found else platform.machine()


def output(command):
    try:
        done = subprocess.run(command, capture_output=True, text=True, cwd=HERE, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()


def generate(args, folder):
    """Makes the inputs, the same in both formats, unless they are there."""
    if (folder / "done").exists():
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for ending in ("csv", "parquet"):
        trades, instruments = folder / f"trades.{ending}", folder / f"instruments.{ending}"
        command = [args.tradejoin, "generate", "--quiet", "--trades", trades, "--instruments", instruments]
        subprocess.run([*command, "--limit", str(args.trades), "--ids", str(args.ids)], check=True)
    (folder / "done").touch()


def programs(args, folder, name):
    """What is run: a name, and a command that writes to a file."""
    case = CASES[name]
    trades, instruments = folder / f"trades.{case.source}", folder / f"instruments.{case.source}"
    inputs = ["--trades", trades, "--instruments", instruments]
    found = {"tradejoin": [args.tradejoin, "run", "--quiet", "--workers", "2", *inputs, "--output"]}
    found["duckdb"] = [*SCRIPT, HERE / "duckdb_peer.py", name, folder]
    if has("polars"):
        for engine in POLARS_ENGINES:
            found[f"polars, {engine}"] = [*SCRIPT, HERE / "polars_peer.py", engine, name, folder]
    return found


def measure(args, folder, name):
    """Compares the outputs of all programs, and then times the programs in rounds."""
    case = CASES[name]
    commands = programs(args, folder, name)
    outputs = {program: folder / f"{program.replace(', ', '-')}.{case.target}" for program in commands}
    # The round that does not count warms the cache of files.
    first = {program: run([*command, outputs[program]]) for program, command in commands.items()}
    checks = {program: check(path) for program, path in outputs.items()}
    expected = checks["tradejoin"]
    for program, found in checks.items():
        if (found["rows"], found["checksum"]) != (expected["rows"], expected["checksum"]):
            sys.exit(f"{case.title}: {program} gives {found}, but tradejoin {expected}")
    if expected["rows"] != args.trades:
        sys.exit(f"{case.title}: {expected['rows']} rows of {args.trades} trades, all of which have an instrument")
    print(f"{case.title}: {len(commands)} programs agree on {expected['rows']} rows", file=sys.stderr)

    # Of Polars' two engines the one that was faster.
    engines = [program for program in commands if program.startswith("polars")]
    for slower in sorted(engines, key=lambda program: first[program]["elapsed_s"])[1:]:
        print(f"  {slower} took {first[slower]['elapsed_s']:.2f} s and is left out", file=sys.stderr)
        del commands[slower]

    rounds = {program: [] for program in commands}
    for _ in range(args.rounds):
        for program, command in commands.items():
            rounds[program].append(run([*command, outputs[program]]))
    for path in outputs.values():
        path.unlink()
    results = [summary(program, rounds, checks[program]) for program in commands]
    for result in results:
        figures = "{elapsed_s[median]:7.2f} s, CPU {cpu_s[median]:7.2f} s, peak {peak_mb[median]:6.0f} MB"
        figures += ", x tradejoin {time_to_tradejoin[median]:.2f}"
        print(f"  {result['name']:20} " + figures.format(**result), file=sys.stderr)
    return {"name": case.title, "rows": expected["rows"], "checksum": expected["checksum"], "programs": results}


def run(command):
    """Runs a command to its end: elapsed and processor time, and peak memory."""
    pathlib.Path(command[-1]).unlink(missing_ok=True)
    start = time.monotonic()
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    elapsed = time.monotonic() - start
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        sys.exit(f"failed with {child.returncode}: {' '.join(map(str, command))}")
    # Kilobytes of 1,024 bytes on Linux.
    return {
        "elapsed_s": elapsed,
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "peak_mb": usage.ru_maxrss * 1024 / 1e6,
    }


def check(path):
    """What an output holds, found by a process of its own: memory that this one
    takes would count as its children's."""
    done = subprocess.run([*SCRIPT, HERE / "check.py", path], stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


def summary(program, rounds, found):
    """The figures of one program over the rounds."""
    own, ours = rounds[program], rounds["tradejoin"]
    figures = {key: spread([one[key] for one in own]) for key in own[0]}
    ratios = [one["elapsed_s"] / base["elapsed_s"] for one, base in zip(own, ours)]
    figures["time_to_tradejoin"] = spread(ratios)
    return {"name": program, "keeps_order": found["in_order"], **figures}


def spread(figures):
    return {"median": statistics.median(figures), "min": min(figures), "max": max(figures)}


if __name__ == "__main__":
    main()
