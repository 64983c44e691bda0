"""The cloud backend: an emulated AWS on this machine, with the deployment of `terraform/` in it."""

import os
import secrets
import time
from collections.abc import Callable, Mapping
from typing import ClassVar

import msgspec

from pkg.devkit.backend import STOPPING, BackendName, Options, Say, Watcher
from pkg.devkit.cloud import emulator as emulators
from pkg.devkit.cloud import endpoints, release, terraform
from pkg.devkit.cloud.aws import Aws, require_boto3
from pkg.devkit.cloud.deployment import Deployment
from pkg.devkit.cloud.emulator import Emulator
from pkg.devkit.cloud.nats_image import forget_nats_image, nats_variables
from pkg.devkit.cloud.place import Place, ignored
from pkg.devkit.cloud.state_dir import StateDir, System
from pkg.devkit.cloud.system_verbs import SystemVerbs, aws_of
from pkg.devkit.cloud.terraform import Terraform, TerraformFailed
from pkg.devkit.errors import BadArgument, BidkitError, NotReady, NotRunning
from pkg.devkit.home import Home
from pkg.devkit.ports import free_port
from pkg.devkit.signals import Cancellation, Check, cancellation, no_check
from pkg.devkit.system import SystemStatus

_PORT = 4566
_VAR_FILE = "dev.tfvars"
_LOOK_EVERY_S = 2.0
_READY_WITHIN_S = 120.0
_GO_ON = (
    "`bidkit up --on cloud` goes on from here; if that fails too, `bidkit down` clears everything "
    "away, and another `up` begins anew."
)


class CloudBackend(SystemVerbs):
    name: ClassVar[BackendName] = BackendName.CLOUD

    @classmethod
    def is_marked(cls, home: Home) -> bool:
        """Whether an `up` was begun here that no `down` has ended."""
        return StateDir(home.folder, str(cls.name)).system_file.exists()

    def up(self, options: Options, *, detach: bool, watcher: Watcher) -> None:
        _refuse_options(options)
        with cancellation() as token:
            begun = False
            try:
                with self._state_dir.lock():
                    if (now := self._ready()) and not options.bid_strategy:
                        watcher.already(now)
                        return
                    begun = True
                    self._come_up(options, watcher.event, token.check)
                    now = self.status()
                watcher.ready(now)
                if not detach:
                    self._stay(watcher, token)
            except KeyboardInterrupt:
                if begun:
                    watcher.event(STOPPING)
                    self._take_down(watcher.event)
                raise

    def down(self, *, volumes: bool, say: Say) -> None:
        """Nothing of it outlives the emulator, so `volumes` makes no difference."""
        with cancellation():
            was_there = self._take_down(say)
        say("Everything is stopped." if was_there else "Nothing was running.")
        if volumes:
            say("The emulator keeps no data.")

    def _ready(self) -> SystemStatus | None:
        system = self._state_dir.system()
        if system is None or system.outputs is None or not system.wanted:
            return None
        try:
            now = self.status()
        except BidkitError:
            return None
        return now if now.ready else None

    def _come_up(self, options: Options, say: Say, check: Check) -> None:
        require_boto3()  # before minutes are spent on images
        if sentence := ignored(os.environ):
            say(sentence)
        system = self._started(say, check)
        emulator = _emulator_of(system)
        self._aws_given = None
        aws = aws_of(system.place)
        system.place.check_account(aws)
        applying = self._terraform(system, emulator, options)
        terraform.copy(applying.folder)
        say("terraform init")
        applying.init(check=check)
        try:
            applying.apply(say=say, check=check)
        except TerraformFailed as error:
            raise TerraformFailed(f"{error}\n{_GO_ON}") from error
        outputs = applying.outputs()
        endpoints.check_loopback(emulators.remaining(emulator.name)["container"])
        deployment = Deployment(system.place, outputs, aws, applying.environment, emulator.registry)
        deployment.release(say=say, check=check)
        self._state_dir.save(msgspec.structs.replace(system, outputs=outputs))
        await_ready(self.status, check)

    def _started(self, say: Say, check: Check) -> System:
        """The emulator that runs, else a new one, which knows nothing of an earlier apply."""
        system = self._state_dir.system()
        if system and system.wanted and (emulator := _emulator_of(system)).runs():
            if emulator.answers():
                say(f"the emulator at {emulator.url} goes on")
                return system
            say("the emulator runs but does not answer; it is started anew")
        name = self._state_dir.emulator_name
        emulators.remove(name)
        terraform.forget_state(self._state_dir.terraform)
        emulator = Emulator(name, free_port(_PORT))
        system = System(
            place=Place(endpoint=emulator.url),
            emulator=name,
            port=emulator.port,
            db_password=secrets.token_hex(24),
            nats_password=secrets.token_hex(24),
        )
        self._state_dir.save(system)
        emulator.start(say=say, check=check)
        return system

    def _terraform(
        self, system: System, emulator: Emulator, options: Options | None = None
    ) -> Terraform:
        variables: dict[str, str] = {
            "emulated": "true",
            "registry": emulator.registry,
            "redis_ca": emulator.redis_ca(),
            "db_password": system.db_password or "",
            "nats_password": system.nats_password or "",
            "aws_region": system.place.region,
            **nats_variables(os.environ, emulator.name),
        }
        if options and options.bid_strategy:
            variables["bid_strategy"] = options.bid_strategy
        return Terraform(
            self._state_dir.terraform, terraform_environment(system.place, variables), _VAR_FILE
        )

    def _stay(self, watcher: Watcher, token: Cancellation) -> None:
        """Until Ctrl-C, or until another bidkit takes the system down."""
        while not token.requested.wait(_LOOK_EVERY_S):
            system = self._state_dir.system()
            if system is None or not system.wanted:
                watcher.event("another bidkit has stopped it.")
                return
        watcher.event(STOPPING)
        self._take_down(watcher.event)
        watcher.event("Everything is stopped.")

    def _take_down(self, say: Say) -> bool:
        """Whether anything was there. What Terraform made, then the emulator, whatever happens."""
        name = self._state_dir.emulator_name
        with self._state_dir.lock():
            system = self._state_dir.system()
            there = any(emulators.remaining(name).values())
            if system and there:
                self._state_dir.save(msgspec.structs.replace(system, wanted=False))
                self._destroy(system, say)
            if there:
                say("stopping the emulator")
                emulators.remove(name)
            if system and system.port:
                release.forget_images(_emulator_of(system).registry)
            forget_nats_image(name)
            terraform.forget_state(self._state_dir.terraform)
            self._state_dir.forget()
        return there

    def _destroy(self, system: System, say: Say) -> None:
        emulator = _emulator_of(system)
        if not emulator.runs() or not any(self._state_dir.terraform.glob("*.tfstate")):
            return
        try:
            destroying = self._terraform(system, emulator)
            destroying.destroy(say=say, check=no_check)
        except (TerraformFailed, BidkitError) as error:
            # Everything is in the emulator, which goes next.
            say(f"{error} It goes with the emulator.")

    def _aws(self) -> Aws:
        """Raises NotRunning if the emulator has ended: boto3 would try for a minute."""
        system, _ = self._state_dir.applied()
        if self._aws_given is None and not _emulator_of(system).runs():
            raise NotRunning("the emulator has ended; `bidkit up --on cloud` starts another one.")
        return super()._aws()


def await_ready(look: Callable[[], SystemStatus], check: Check) -> None:
    """Raises NotReady. Old tasks may be draining, and the new ones are known to be well."""
    deadline = time.monotonic() + _READY_WITHIN_S
    while not (now := look()).ready:
        check()
        if time.monotonic() > deadline:
            parts = [one.service for one in now.services if one.ready < one.desired]
            raise NotReady(f"{', '.join(parts)} not ready; `bidkit describe` says why.")
        time.sleep(_LOOK_EVERY_S)


def terraform_environment(place: Place, variables: Mapping[str, str]) -> dict[str, str]:
    return {
        **place.environment(os.environ),
        **{f"TF_VAR_{name}": text for name, text in variables.items()},
    }


def _emulator_of(system: System) -> Emulator:
    assert system.emulator is not None  # noqa: S101 - of every emulated system
    assert system.port is not None  # noqa: S101
    return Emulator(system.emulator, system.port)


def _refuse_options(options: Options) -> None:
    """Raises BadArgument."""
    ports = (options.api_port, options.broadcast_port, options.edge_port)
    if any(port is not None for port in ports):
        raise BadArgument(
            "on cloud one load balancer serves everything, at an address that is shown; "
            "leave --api-port, --broadcast-port and --edge-port out."
        )
    if options.settings:
        raise BadArgument(
            "on cloud the services' settings are made by Terraform (terraform/ecs.tf); "
            "leave --set out."
        )
