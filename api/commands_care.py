"""What keeps a library whole, from arguments to the output: `snapshot`, `restore`, `verify`,
`repair`, of all of it and of one collection."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from rich.text import Text

from api.care import Care
from api.commands import print_json, watch
from api.errors import OK, SOME_FAILED
from api.shapes import many, printable
from index.care.findings import Finding, Severity, Verification
from index.care.repair import Repair

if TYPE_CHECKING:
    from api.terminal import Terminal

_EXAMPLES = 5
_COLOURS = {Severity.DAMAGE: "red", Severity.LEFTOVER: "yellow"}


def run(arguments: argparse.Namespace, care: Care, people: Terminal | None) -> int:
    """Runs one of the eight and returns its exit code."""
    one = arguments.command == "collections"
    what = arguments.action if one else arguments.command
    if what == "restore":
        return _restore(arguments, care, people, one=one)
    return {"snapshot": _snapshot, "verify": _verify, "repair": _repair}[what](
        arguments, care, people
    )


def _snapshot(arguments: argparse.Namespace, care: Care, people: Terminal | None) -> int:
    name = getattr(arguments, "name", None)
    with watch(people, arguments) as progress:
        made = care.snapshot(arguments.path, collection=name, progress=progress)
    if people:
        items, size = many(made.manifest.items, "item"), made.bytes / 1e6
        people.note(f"{items}, {size:.1f} MB, in {printable(str(made.path))}")
        if made.manifest.missing:
            gone = many(len(made.manifest.missing), "upload")
            people.note(Text(f"the bytes of {gone} were gone or damaged already", style="yellow"))
    else:
        print_json(made.to_json())
    return SOME_FAILED if made.manifest.missing else OK


def _restore(
    arguments: argparse.Namespace, care: Care, people: Terminal | None, *, one: bool
) -> int:
    with watch(people, arguments) as progress:
        if one:
            made = care.restore_collection(
                arguments.path,
                collection=arguments.collection,
                name=arguments.called,
                progress=progress,
            )
        else:
            made = care.restore(arguments.path, replace=arguments.yes, progress=progress)
    if people:
        names = ", ".join(made.collections) or "no collection"
        people.note(f"{many(made.items, 'item')} are back: {printable(names)}")
        if made.kept:
            people.note(f"the damaged catalog is kept as {printable(str(made.kept))}")
    else:
        print_json(made.to_json())
    return SOME_FAILED if made.missing else OK


def _verify(arguments: argparse.Namespace, care: Care, people: Terminal | None) -> int:
    with watch(people, arguments) as progress:
        found = care.verify(getattr(arguments, "name", None), progress=progress)
    if people:
        _tell(people, found.findings, remedies=True)
        _sum_up(people, found)
    else:
        print_json(found.to_json())
    return OK if found.clean else SOME_FAILED


def _repair(arguments: argparse.Namespace, care: Care, people: Terminal | None) -> int:
    with watch(people, arguments) as progress:
        report = care.repair(getattr(arguments, "name", None), progress=progress)
    if people:
        _tell_repair(people, report)
    else:
        print_json(report.to_json())
    return OK if report.after.clean else SOME_FAILED


def _tell_repair(people: Terminal, report: Repair) -> None:
    if report.recovered:
        rows = sum(report.recovered.read.values())
        people.note(
            f"{rows:,} rows could be read of the damaged file; it is kept as "
            f"{printable(str(report.recovered.kept))}"
        )
    if report.mended:
        people.note(f"mended {many(len(report.mended), 'finding')}")
    _tell(people, report.after.findings, remedies=False)
    _sum_up(people, report.after)


def _tell(people: Terminal, findings: Sequence[Finding], *, remedies: bool) -> None:
    """By code, the damage first: a few examples of each, or all when verbose."""
    if people.quiet:
        return
    ordered = sorted(findings, key=lambda f: (f.severity is not Severity.DAMAGE, f.code))
    for code, group in groupby(ordered, key=lambda finding: finding.code):
        those = list(group)
        colour = _COLOURS[those[0].severity]
        people.out.print(Text(f"{code}: {len(those)} ({those[0].severity})", style=colour))
        told = those if people.verbose else those[:_EXAMPLES]
        for finding in told:
            remedy = f"; repair: {finding.remedy}" if remedies else ""
            people.out.print(Text(f"  {printable(finding.message)}{remedy}"), soft_wrap=True)
        if len(told) < len(those):
            people.out.print(f"  and {len(those) - len(told)} more (--verbose lists them)")


def _sum_up(people: Terminal, found: Verification) -> None:
    held = f"{many(found.items, 'item')}, {many(found.vectors, 'vector')}"
    held += f", {many(found.blobs, 'upload')}"
    if found.clean:
        people.note(Text(f"all is well: {held}, looked at in {found.seconds:.1f} s", style="green"))
    else:
        people.note(Text(f"damage was found among {held}", style="red"))
