"""All measures, beside the peers, in one command. See README.md."""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import traceback
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.guard import TimeIsUp, adopt_orphans, sweep, time_limit
from benchmarks.measure import Effort, machine, our_versions, reason
from benchmarks.picture import picture
from benchmarks.report import report, targets_table
from benchmarks.results import Measure, Run, from_json, merged, to_json
from benchmarks.rivals import PACKAGES, version_in
from benchmarks.suite import PARTS, Part

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

HERE = Path(__file__).parent
RESULTS = HERE / "results"
LATEST, REPORT, PICTURE = "latest.json", "report.md", "speed.svg"


def main() -> None:
    options = _options()
    adopt_orphans()
    signal.signal(signal.SIGTERM, _ended)
    folder = options.to or (None if options.quick or options.only else RESULTS)
    if options.draw:
        _write(folder or RESULTS, from_json(json.loads((RESULTS / LATEST).read_text())))
        return
    _install()
    run = _measured(options.only or list(PARTS), Effort(asked=options.rounds, quick=options.quick))
    if folder:
        _write(folder, _whole(folder, run, options.only) if options.only else run)
    print(report(run))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few rounds; kept only with --to")
    parser.add_argument("--only", nargs="+", choices=PARTS, metavar="NAME", help=", ".join(PARTS))
    parser.add_argument("--rounds", type=int, help="of each measure, instead of its own number")
    parser.add_argument(
        "--to",
        type=Path,
        metavar="FOLDER",
        help="where results are kept: a whole run's in benchmarks/results; with --only those of "
        "other measures that are there stay",
    )
    parser.add_argument("--draw", action="store_true", help="report and picture anew, no measure")
    return parser.parse_args()


def _install() -> None:
    """Whoever cannot be had is missing in the report."""
    subprocess.run([HERE / "peer-env"], stdout=sys.stderr, check=False)


# -- measuring ------------------------------------------------------------------------------------


def _measured(names: Sequence[str], effort: Effort) -> Run:
    date = f"{datetime.now(UTC):%Y-%m-%d}"
    about = machine()  # before there is any load of ours
    measures: list[Measure] = []
    missing: dict[str, str] = {}
    for name in names:
        _say(f"{name} ...")
        found = _part(PARTS[name], effort)
        if isinstance(found, str):
            missing[name] = found
            continue
        measures += [replace(one, date=date) for one in found]
        if any(one.targets for one in found):
            _say(targets_table(found))
    return Run(
        date=date,
        machine=about,
        versions={**our_versions(), **_versions()},
        measures=tuple(measures),
        missing=missing,
        quick=effort.quick,
    )


def _part(part: Part, effort: Effort) -> list[Measure] | str:
    """What it found, or why it found nothing."""
    try:
        with time_limit(part.limit_s):
            return part.measured(effort)
    except TimeIsUp:
        return f"it took longer than {part.limit_s:.0f} s"
    except Exception as error:
        traceback.print_exc()
        return reason(error)
    finally:
        sweep()


def _versions() -> dict[str, str]:
    """Of the peers that are there."""
    found: dict[str, str] = {}
    for package in PACKAGES:
        with suppress(RuntimeError, subprocess.SubprocessError):
            found[package] = version_in(package)
    return found


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _ended(*_: Any) -> None:
    """As by Ctrl-C: what was started is ended."""
    raise KeyboardInterrupt


# -- what is kept ---------------------------------------------------------------------------------


def _whole(folder: Path, run: Run, parts: Collection[str]) -> Run:
    with suppress(FileNotFoundError):
        return merged(from_json(json.loads((folder / LATEST).read_text())), run, parts)
    return run


def _write(folder: Path, run: Run) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / LATEST).write_text(json.dumps(to_json(run), indent=1) + "\n")
    (folder / REPORT).write_text(f"{report(run)}\n![How fast]({PICTURE})\n")
    (folder / PICTURE).write_text(picture(run))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
