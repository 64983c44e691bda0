"""Which tests are of use on the backends that were chosen."""

from tests.integration.devkit.conftest import BACKENDS

# Left out rather than skipped: they have an environment of their own, in which nothing is missing.
collect_ignore = [] if "compose" in BACKENDS else ["test_containers.py"]
