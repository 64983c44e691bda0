"""The deployment on an account of AWS. Its configuration and state are those of the guide."""

import os
from typing import ClassVar

from pkg.devkit.backend import BackendName, Options, Say, Watcher
from pkg.devkit.cloud.aws import Aws
from pkg.devkit.cloud.command import Hear
from pkg.devkit.cloud.deployment import Deployment
from pkg.devkit.cloud.doctor import Deployed
from pkg.devkit.cloud.place import Place, of_account
from pkg.devkit.cloud.state_dir import System
from pkg.devkit.cloud.system_verbs import SystemVerbs, aws_of, confirmed
from pkg.devkit.cloud.terraform import PLAN, SOURCE, Terraform, missing_passwords
from pkg.devkit.errors import BadArgument, BidkitError
from pkg.devkit.signals import cancellation

CLUSTER = "bidding-system-cluster"
"""As Terraform calls it; a test compares them."""

DEPLOY = "`bidkit deploy --on aws` deploys to an account, after it has shown the plan."
_DESTROY = "`bidkit destroy --on aws` destroys what is on an account, after a question."


class AwsBackend(SystemVerbs):
    name: ClassVar[BackendName] = BackendName.AWS

    @property
    def is_known(self) -> bool:
        """Whether something was deployed from this home."""
        return self._state_dir.system_file.exists()

    def deployed(self) -> Deployed:
        """Before a first deployment, too, asks who the caller is.

        Raises BadArgument, AwsRefused, WrongAccount or NotRunning.
        """
        if not self.is_known:
            place = of_account(os.environ)
            place.check_account(self._aws_given or aws_of(place))
        return super().deployed()

    def up(self, options: Options, *, detach: bool, watcher: Watcher) -> None:  # noqa: ARG002
        raise BadArgument(DEPLOY)

    def down(self, *, volumes: bool, say: Say) -> None:  # noqa: ARG002
        raise BadArgument(_DESTROY)

    def deploy(self, var_file: str, *, show: Hear, watcher: Watcher) -> None:
        """Raises BidkitError. An interrupt leaves what was applied; another `deploy` goes on."""
        place, aws, account = self._account()
        with self._state_dir.lock(), cancellation() as token:
            applying = Terraform(SOURCE, place.environment(os.environ), var_file)
            applying.init(check=token.check)
            try:
                applying.plan(check=token.check, hear=show)
                question = f"Apply this to account {account} in {place.region}? Type yes: "
                if not confirmed(question, "yes"):
                    raise BidkitError("not confirmed; nothing was changed.")
                applying.apply(say=watcher.event, check=token.check, planned=True)
            finally:
                (SOURCE / PLAN).unlink(missing_ok=True)
            outputs = applying.outputs()
            # Saved at once: if an image is not pushed, `get` and `logs` are of use already.
            self._state_dir.save(System(place=place, outputs=outputs))
            deployment = Deployment(place, outputs, aws, applying.environment)
            deployment.release(say=watcher.event, check=token.check)
        watcher.ready(self.status())

    def destroy(self, var_file: str, *, say: Say) -> None:
        """Raises BidkitError unless it was confirmed and everything is destroyed."""
        place, _, account = self._account()
        with self._state_dir.lock(), cancellation() as token:
            destroying = Terraform(SOURCE, place.environment(os.environ), var_file)
            destroying.init(check=token.check)
            resources = destroying.resources()
            if not resources:
                say("Nothing is deployed, as far as Terraform's state knows.")
                return
            say(f"{len(resources)} resources in account {account}, {place.region}, and all bids")
            if not confirmed(f"To destroy them type the cluster's name, {CLUSTER}: ", CLUSTER):
                raise BidkitError("that is not the cluster's name; nothing was destroyed.")
            destroying.destroy(say=say, check=token.check)
            self._state_dir.forget()
            say("Everything is destroyed.")

    def _account(self) -> tuple[Place, Aws, str]:
        """Checked before anything is planned. Raises BadArgument, AwsRefused or WrongAccount."""
        place = of_account(os.environ)
        if missing := missing_passwords(os.environ):
            raise BadArgument(
                f"Terraform needs {' and '.join(missing)} in your environment; "
                "step 1 of terraform/README.md shows how. AWS was not called."
            )
        aws = self._aws_given or aws_of(place)
        return place, aws, place.check_account(aws)
