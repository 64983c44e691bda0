"""`bidkit report`."""

import importlib.util
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pkg.devkit import views
from pkg.devkit.errors import BadArgument, BidkitError
from pkg.devkit.settings import PROJECT

if TYPE_CHECKING:  # at run time, these imports would slow down every verb
    from pkg.trials.report.document import Document

app = typer.Typer()

PAGE, MARKDOWN = "report.html", "report.md"
NEEDS_LIBRARY = (
    "`bidkit report` draws with matplotlib, which is not installed. Install it with\n"
    "  .venv/bin/python -m pip install --require-hashes --requirement requirements/report.txt"
)


@app.command()
def report(
    results: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[RESULTS...]",
            help="Folders that experiments wrote. Default: the newest complete one of each "
            "experiment.",
            show_default=False,
        ),
    ] = None,
    *,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Folder for the files. Default: results/report.",
            show_default=False,
        ),
    ] = None,
    keep: Annotated[
        Path | None,
        typer.Option(
            "--keep",
            metavar="DIR",
            help="Also keep copies of the raw files there, small enough for a repository, and "
            "make the report of these.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Make a page with tables and plots of what experiments measured.

    Writes report.html, which needs no other file, and report.md with its plots as SVG files.
    Several results of the same experiment are compared with one another.
    """
    from pkg.trials.report import overview
    from pkg.trials.report.results import named, newest

    folder = (out or PROJECT / "results" / "report").absolute()
    _check_writable(folder)
    chosen, passed_over = (named(results), []) if results else newest(PROJECT / "results")
    if importlib.util.find_spec("matplotlib") is None:
        raise BidkitError(NEEDS_LIBRARY)
    for sentence in passed_over:
        views.complain(f"bidkit: {sentence}")
    for each in chosen:
        if told := overview.incomplete(each):
            views.complain(f"bidkit: {told.replace('`', '')}")
    from pkg.trials.report import keeping
    from pkg.trials.report.report import document

    if keep is not None:
        _check_writable(keep.absolute())
        chosen = [keeping.kept(each, keep) for each in chosen]

    _write(document(chosen), folder)
    views.write(f"Written: {folder / PAGE} and {folder / MARKDOWN}.")


def _check_writable(folder: Path) -> None:
    """Before minutes of work, not after."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not there.is_dir():
        raise BadArgument(f"{folder} cannot be a folder: {there} is none.")
    if not os.access(there, os.W_OK):
        raise BadArgument(f"{folder} cannot be written to.")


def _write(document: "Document", folder: Path) -> None:
    """Replaces an earlier report in the folder, with all its plots; other files stay."""
    from pkg.trials.report import markdown, page
    from pkg.trials.report.results import EXPERIMENTS

    texts = {f"{plot.name}.svg": plot.svg for plot in document.plots}
    texts |= {PAGE: page.render(document), MARKDOWN: markdown.render(document)}
    folder.mkdir(parents=True, exist_ok=True)
    for experiment in EXPERIMENTS:
        for old in folder.glob(f"{experiment}-*.svg"):
            if old.name not in texts:
                old.unlink()
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
