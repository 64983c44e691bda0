"""Which tests apply to the chosen backends."""

from tests.integration.devkit.conftest import BACKENDS

# Not collected rather than skipped: a skip counts as a missing requirement.
collect_ignore = [] if "compose" in BACKENDS else ["test_containers.py"]
