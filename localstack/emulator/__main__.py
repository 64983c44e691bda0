"""Starts MiniStack with all completions. `replacements` lists what they replace, and ends."""

import asyncio
import json
import os
import resource
import sys

from localstack.emulator import completions, upstream
from localstack.emulator.serving import Emulator


def main() -> None:
    if sys.argv[1:] == ["replacements"]:
        found = [
            {"function": f"{each.module}.{each.name}", "expected": each.source, "is": each.found()}
            for each in upstream.replacements
        ]
        found += [
            {"module": each.module, "expected": each.source, "is": each.found()}
            for each in upstream.readings
        ]
        sys.stdout.write(json.dumps(found))
        return
    # Every WebSocket and every request to a target takes two descriptors.
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    asyncio.run(_serve())


async def _serve() -> None:
    # Reads the environment when it is imported.
    from ministack.app import app

    upstream.replace_all(upstream.replacements, read=upstream.readings)
    emulator = Emulator(app, port=int(os.environ.get("GATEWAY_PORT", "4566")))
    for install in completions.INSTALLS:
        install(emulator)
    await emulator.serve()


main()
