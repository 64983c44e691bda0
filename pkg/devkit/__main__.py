"""bidkit's entry point: the one place where the dev kit and the trials meet."""

from pkg.devkit.cli import app, main
from pkg.trials.experiments.command import app as experiment
from pkg.trials.faults.command import app as fault
from pkg.trials.report.command import app as report

__all__ = ["app"]

app.add_typer(experiment, name="experiment")
app.add_typer(fault, name="fault")
app.add_typer(report)

if __name__ == "__main__":
    main()
