"""`cartesia-ink doctor`: checks this machine, key and bot before the first call."""

from __future__ import annotations

import argparse
import json
import os
from collections import Counter
from pathlib import Path

from cartesia_ink_plugins.cli.checks.bots import check_bot, extras_of
from cartesia_ink_plugins.cli.checks.finding import Finding, Status
from cartesia_ink_plugins.cli.checks.machine import check_machine
from cartesia_ink_plugins.cli.checks.network import STEPS, Target, check_network, unchecked
from cartesia_ink_plugins.cli.checks.packages import PURPOSES, check_packages
from cartesia_ink_plugins.cli.checks.service import check_service
from cartesia_ink_plugins.cli.interrupt import run_loop
from cartesia_ink_plugins.core.credentials import Credentials
from cartesia_ink_plugins.core.errors import UsageError
from cartesia_ink_plugins.core.options import DEFAULT_BASE_URL, ManualOptions, TurnsOptions

_EPILOG = """\
Nothing is changed, no audio is sent, and no key is printed. A bot's file is read, not run.

exit status: 0 without a problem, 1 with one (or, with --strict, a warning), 2 for bad input.
"""

_KEY = "CARTESIA_API_KEY"
_SERVICE = ("turns", "manual", "round trip")


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `doctor` to the command line."""
    parser = subparsers.add_parser(
        "doctor",
        help="find what is wrong with this machine, key or bot",
        description="Find what is wrong with this machine, key or bot, before the first call.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "bots", nargs="*", metavar="BOT.py", type=Path, help="files that make a pipeline or session"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--strict", action="store_true", help="treat a warning as a failure")
    parser.add_argument("--offline", action="store_true", help="do not use the network")
    parser.add_argument(
        "--base-url", metavar="URL", help="endpoint instead of that in CARTESIA_BASE_URL"
    )
    parser.add_argument(
        "--access-token-env",
        metavar="NAME",
        help=f"environment variable with an access token, instead of {_KEY}",
    )
    parser.add_argument(
        "--need",
        action="append",
        default=[],
        choices=tuple(PURPOSES),
        help="an extra that is required; those of the bots are detected",
    )
    parser.add_argument(
        "--timeout",
        type=float,
        default=5.0,
        metavar="SECONDS",
        help="timeout of each network step (%(default)g)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the command.

    Returns:
        The exit status: 1 if there is a problem.
    """
    findings = [
        *check_packages([*args.need, *extras_of(args.bots)]),
        *check_machine(),
        *run_loop(_online(args)),
        *(finding for bot in args.bots for finding in check_bot(bot)),
    ]
    bad = {Status.PROBLEM, Status.WARNING} if args.strict else {Status.PROBLEM}
    failed = any(finding.status in bad for finding in findings)
    if args.json:
        fields = [finding.fields() for finding in findings]
        print(json.dumps({"ok": not failed, "findings": fields}, ensure_ascii=False, indent=1))
    else:
        for finding in findings:
            print(finding)
        print("\n" + _summary(findings))
    return 1 if failed else 0


def _summary(findings: list[Finding]) -> str:
    counts = Counter(finding.status for finding in findings)
    labels = [
        (Status.PROBLEM, "problem", "problems"),
        (Status.WARNING, "warning", "warnings"),
        (Status.UNCHECKED, "not checked", "not checked"),
    ]
    counted = [
        f"{counts[s]} {one if counts[s] == 1 else more}" for s, one, more in labels if counts[s]
    ]
    return ", ".join(counted) if counted else "Nothing is wrong."


async def _online(args: argparse.Namespace) -> list[Finding]:
    """Check the endpoint, the network and the key."""
    base_url = args.base_url or os.environ.get("CARTESIA_BASE_URL") or DEFAULT_BASE_URL
    credentials, secret, key = _credentials(args.access_token_env, is_offline=args.offline)
    try:
        options = [TurnsOptions(base_url=base_url), ManualOptions(base_url=base_url)]
    except UsageError as error:
        wrong = Finding("endpoint", Status.PROBLEM, str(error), "correct CARTESIA_BASE_URL")
        return [wrong, key, *unchecked("there is no endpoint", *STEPS, *_SERVICE)]
    target = Target.of(options[0].url())
    endpoint = Finding("endpoint", Status.OK, f"{target} ({base_url})")
    if args.offline:
        return [endpoint, key, *unchecked("--offline", *STEPS, *_SERVICE)]
    way = await check_network(target, args.timeout)
    if any(finding.status is Status.PROBLEM and finding.check != "clock" for finding in way):
        return [endpoint, key, *way, *unchecked("the endpoint is not reached", *_SERVICE)]
    if credentials is None:
        return [endpoint, key, *way, *unchecked("there is no key", *_SERVICE)]
    answers = await check_service(base_url, credentials, secret, args.timeout)
    return [endpoint, key, *way, *answers]


def _credentials(
    token_env: str | None, *, is_offline: bool
) -> tuple[Credentials | None, str, Finding]:
    """Return the credentials, their name, and the finding about them."""
    name = token_env or _KEY
    value = os.environ.get(name, "")
    what = "access token" if token_env else "key"
    advice = f"export {name}=...; for a local Ink server any text will do"
    if not value:
        status = Status.UNCHECKED if is_offline else Status.PROBLEM
        return None, what, Finding(what, status, f"{name} is not set", advice)
    if value != value.strip() or value[0] in "\"'" or value[-1] in "\"'":
        return (
            None,
            what,
            Finding(
                what,
                Status.PROBLEM,
                f"the value of {name} begins or ends with a space, a line end or a quote",
                "remove it: env files and secrets of Docker and Kubernetes take quotes literally",
            ),
        )
    try:
        given = Credentials(access_token=value) if token_env else Credentials(api_key=value)
    except UsageError as error:
        return None, what, Finding(what, Status.PROBLEM, str(error), "copy it again")
    return given, f"the {what} in {name}", Finding(what, Status.OK, f"{name} is set")
