"""EFS as Docker volumes: one for each folder of a file system that a task mounts.

MiniStack's tasks do not mount EFS. A volume outlives its tasks and goes with its file system.
Replaces ``efs._delete_file_system`` for the latter. Docker cannot mount a folder of a volume, so a
folder that is mounted twice, once by itself and once within its parent, is two. Can go when
MiniStack mounts EFS volumes.
"""

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from docker.errors import APIError, NotFound

from localstack.emulator import engine
from localstack.emulator.serving import Emulator
from localstack.emulator.upstream import reads, replaces

reads("ministack.services.efs", source="60143e625516", by=__name__)

log = logging.getLogger("emulator.efs")

FILE_SYSTEM = "emulator.efs"
"""Label of a volume: the file system's id."""

_REMOVED_WITHIN_S = 120.0
"""Tasks that still stop hold their volume."""


def binds(task_definition: Mapping[str, Any], container: Mapping[str, Any]) -> list[str]:
    """In Docker's notation. Makes volumes that don't exist yet, owned as the access point says."""
    configurations = {
        volume["name"]: volume["efsVolumeConfiguration"]
        for volume in task_definition.get("volumes") or ()
        if volume.get("efsVolumeConfiguration")
    }
    return [
        f"{_volume(configurations[mount['sourceVolume']])}:{mount['containerPath']}"
        f":{'ro' if mount.get('readOnly') else 'rw'}"
        for mount in container.get("mountPoints") or ()
        if mount.get("sourceVolume") in configurations
    ]


def _volume(configuration: Mapping[str, Any]) -> str:
    """Raises ValueError if the file system or access point does not exist."""
    from ministack.services import efs

    file_system = configuration["fileSystemId"]
    if efs._file_systems.get(file_system) is None:
        raise ValueError(f"file system {file_system} does not exist")
    point = (configuration.get("authorizationConfig") or {}).get("accessPointId")
    folder, owner = configuration.get("rootDirectory") or "/", None
    if point:
        access_point = efs._access_points.get(point)
        if access_point is None:
            raise ValueError(f"access point {point} does not exist")
        root = access_point.get("RootDirectory") or {}
        folder, owner = root.get("Path") or "/", root.get("CreationInfo")
    digest = hashlib.sha256(folder.encode()).hexdigest()[:12]
    name = f"ministack-{file_system}-{digest}"
    volumes = engine.engine().volumes
    try:
        volumes.get(name)
    except NotFound:
        volumes.create(name, labels={**engine.labels("efs"), FILE_SYSTEM: file_system})
        if owner:
            _give_to(name, owner)
    return name


def _give_to(name: str, owner: Mapping[str, Any]) -> None:
    program = (
        "import os, sys; folder, uid, gid, mode = sys.argv[1:];"
        "os.chown(folder, int(uid), int(gid)); os.chmod(folder, int(mode, 8))"
    )
    ids = (str(owner["OwnerUid"]), str(owner["OwnerGid"]), owner["Permissions"])
    engine.run_to_end(["python", "-c", program, "/folder", *ids], volumes=[f"{name}:/folder"])


@replaces("ministack.services.efs", "_delete_file_system", source="0530e80f476b")
def _delete_file_system(original: Callable[[str], Any], file_system: str) -> Any:  # noqa: ANN401
    from ministack.core.concurrency import spawn_background
    from ministack.services import efs

    answer = original(file_system)
    if file_system not in efs._file_systems:
        spawn_background(_remove_volumes, file_system, thread_name="emulator-efs-delete")
    return answer


def _remove_volumes(file_system: str) -> None:
    deadline = time.monotonic() + _REMOVED_WITHIN_S
    while volumes := engine.engine().volumes.list(
        filters={"label": f"{FILE_SYSTEM}={file_system}"}
    ):
        for volume in volumes:
            try:
                volume.remove()
            except NotFound:
                pass
            except APIError as error:
                if time.monotonic() > deadline:
                    log.warning("volume %s stays: %s", volume.name, error)
                    return
        time.sleep(0.5)


async def _work() -> None:
    """Volumes of an emulator that ended belong to nothing: it keeps no state."""
    await asyncio.to_thread(_remove_all)
    try:
        await asyncio.Event().wait()
    finally:
        _remove_all()


def _remove_all() -> None:
    from ministack.core.container_reaper import INSTANCE_LABEL, instance_id

    own = {"label": [f"{INSTANCE_LABEL}={instance_id()}", FILE_SYSTEM]}
    try:
        for volume in engine.engine().volumes.list(filters=own):
            volume.remove()
    except engine.NO_ANSWER as error:
        log.warning("volumes stay: %s", error)


def install(emulator: Emulator) -> None:
    emulator.run(_work)
