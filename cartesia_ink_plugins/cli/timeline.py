"""`cartesia-ink timeline`: recorded calls as a page or in other formats."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from cartesia_ink_plugins.core.errors import UsageError
from cartesia_ink_plugins.observe.reader import RecordedCall, read_recording
from cartesia_ink_plugins.observe.timeline.exports import as_json, audacity, perfetto, webvtt
from cartesia_ink_plugins.observe.timeline.files import sound_of, write_private
from cartesia_ink_plugins.observe.timeline.model import CallTimeline, build_timeline
from cartesia_ink_plugins.observe.timeline.page import call_page
from cartesia_ink_plugins.observe.timeline.summary import calls_page

_EPILOG = """\
A call becomes one HTML file that loads nothing from the network. Several calls become one page with
percentiles and a list. The other formats take one call: perfetto opens in ui.perfetto.dev, audacity
is a file of labels, webvtt are captions.

exit status: 0 if the file was written, 2 if a recording cannot be read.
"""

_FORMATS: Mapping[str, tuple[str, Callable[[CallTimeline], str]]] = {
    "perfetto": (".perfetto.json", perfetto),
    "audacity": (".labels.txt", audacity),
    "webvtt": (".vtt", webvtt),
    "json": (".timeline.json", as_json),
}


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `timeline` to the command line."""
    parser = subparsers.add_parser(
        "timeline",
        help="show recorded calls (.ink) as a page",
        description="Show what happened in recorded calls, when, and why a reply was slow.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("calls", nargs="+", metavar="CALL.ink", type=Path, help="recordings")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FILE",
        help="output file, - for standard output (CALL.html, or calls.html for several)",
    )
    parser.add_argument(
        "--format", choices=("html", *_FORMATS), default="html", help="output format (%(default)s)"
    )
    parser.add_argument("--no-sound", action="store_true", help="do not embed audio")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the command.

    Returns:
        The exit status.

    Raises:
        UsageError: A recording cannot be read, or the file not be written.
    """
    calls = [read_recording(path) for path in args.calls]
    suffix = ".html" if args.format == "html" else _FORMATS[args.format][0]
    if len(calls) > 1 and args.format != "html":
        raise UsageError(f"--format {args.format} takes one call; several become one html page")
    text = _written(calls, args)
    output = args.output or Path(calls[0].path.stem if len(calls) == 1 else "calls")
    if args.output is None:
        output = output.with_name(output.name + suffix)
    if str(output) == "-":
        sys.stdout.write(text)
        return 0
    write_private(output, text)
    print(f"{output} ({output.stat().st_size / 1e6:.1f} MB)")
    return 0


def _written(calls: list[RecordedCall], args: argparse.Namespace) -> str:
    timelines = [build_timeline(call) for call in calls]
    if args.format != "html":
        return _FORMATS[args.format][1](timelines[0])
    if len(calls) > 1:
        return calls_page(timelines)
    sound = None if args.no_sound else sound_of(calls[0])
    return call_page(timelines[0], sound)
