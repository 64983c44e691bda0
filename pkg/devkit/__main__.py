"""bidkit's entry point: the one place where the dev kit and the trials meet."""

from pkg.devkit.cli import app, main
from pkg.trials.faults.command import app as fault

__all__ = ["app"]

app.add_typer(fault, name="fault")

if __name__ == "__main__":
    main()
