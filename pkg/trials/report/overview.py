"""Which runs the report is made from, and what to know before believing them."""

from collections.abc import Sequence

from pkg.trials.report import wording
from pkg.trials.report.document import Block, Heading, Points, Table, Text
from pkg.trials.report.results import Results
from pkg.trials.run_json import About


def incomplete(results: Results) -> str | None:
    """For the page and for standard error."""
    about = results.about
    if about.complete and about.ended is not None:
        return None
    why = about.why_incomplete or "its run.json does not say why"
    return (
        f"`{results.name}` is incomplete ({why.rstrip('.')}): only runs that ended are in figures."
    )


def warnings(results: Results) -> list[str]:
    about = results.about
    found = [text for text in [incomplete(results)] if text]
    if about.dirty:
        found.append(
            f"`{results.name}` was measured with uncommitted changes on commit `{about.commit}`."
        )
    if about.quick:
        found.append(
            f"`{results.name}` is a quick run: short and with few repetitions, to see that all "
            "works."
        )
    return found


def section(every: Sequence[Results]) -> list[Block]:
    return [Heading("Runs"), _runs(every), *_settings(every), *_files(every)]


def _runs(every: Sequence[Results]) -> Table:
    return Table(
        ("folder", "backend", "commit", "began (UTC)", "took", "complete", "machine"),
        [
            (
                f"`{each.name}`",
                each.about.backend,
                f"`{each.about.commit[:12]}`{' and changes' if each.about.dirty else ''}",
                f"{each.about.started:%Y-%m-%d %H:%M}",
                _took(each.about),
                ("yes" if each.about.complete else "no") + (", quick" if each.about.quick else ""),
                _machine(each.about),
            )
            for each in every
        ],
        "`run.json` of each folder.",
        words=7,
    )


def _settings(every: Sequence[Results]) -> list[Block]:
    points = []
    for each in every:
        settings = ", ".join(
            f"{name} {_plain(value)}" for name, value in each.about.settings.items()
        )
        points.append(
            f"`{each.name}`: made by `{each.about.command}`. Settings: {settings or 'none'}."
        )
        points += [f"`{each.name}`: {note}" for note in each.about.notes]
    return [Points(points)]


def _files(every: Sequence[Results]) -> list[Block]:
    return [
        Heading("Raw files", 3),
        Text(
            "Every figure names the file and columns that it is computed from. These are the files:"
        ),
        Table(
            ("file", "SHA-256", "bytes"),
            [
                (f"`{each.name}/{file.name}`", f"`{file.sha256}`", wording.whole(file.size_bytes))
                for each in every
                for file in each.raw_files()
            ],
            "the files themselves.",
            words=2,
        ),
    ]


def _took(about: About) -> str:
    if about.ended is None:
        return "did not end"
    minutes, seconds = divmod(round((about.ended - about.started).total_seconds()), 60)
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


def _machine(about: About) -> str:
    machine = about.machine
    gib = machine.memory_bytes / 2**30
    return (
        f"{machine.cores} cores, {gib:.0f} GiB, {machine.cpu}, {machine.kernel}, "
        f"Python {machine.python}"
    )


def _plain(value: object) -> str:
    """Lists and mappings without brackets: 100/500/1000, api-gateway=2."""
    if isinstance(value, list):
        return "/".join(_plain(each) for each in value)
    if isinstance(value, dict):
        return "/".join(f"{name}={_plain(each)}" for name, each in value.items())
    return str(value)
