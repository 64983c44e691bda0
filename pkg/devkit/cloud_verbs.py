"""The verbs about an account of AWS: deploy, destroy."""

from enum import StrEnum
from typing import Annotated

import typer

from pkg.devkit import views
from pkg.devkit.arguments import choice
from pkg.devkit.progress import Progress

app = typer.Typer()


class Account(StrEnum):
    """Where these verbs act. To be written out: nobody deploys to an account by accident."""

    AWS = "aws"


class Size(StrEnum):
    DEV = "dev"
    PROD = "prod"


OnAccount = Annotated[
    Account, typer.Option(help="The account whose credentials are in the environment.")
]
SizeOption = Annotated[Size, typer.Option(help="Whose .tfvars of terraform/.")]


@app.command()
def deploy(*, on: OnAccount, size: SizeOption = Size.DEV) -> None:
    """Deploy to AWS: plan, apply, push images, roll the services, test with one bid.

    Shows the plan and asks before it changes anything. Costs money; see terraform/README.md.
    """
    _ = on
    farewell = "`bidkit destroy --on aws` destroys it."
    with (
        choice().deployment() as backend,
        Progress(views.console(), farewell=farewell) as progress,
    ):
        backend.deploy(f"{size.value}.tfvars", show=views.write, watcher=progress)


@app.command()
def destroy(*, on: OnAccount, size: SizeOption = Size.DEV) -> None:
    """Destroy what was deployed to AWS, with its data. Asks for the cluster's name first."""
    _ = on
    with choice().deployment() as backend:
        backend.destroy(f"{size.value}.tfvars", say=views.write_regardless)
