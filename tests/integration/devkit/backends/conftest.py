"""Which tests apply to the chosen backends."""

from tests.integration.devkit.conftest import BACKENDS

# Not skipped: a skip would count as a missing requirement.
collect_ignore = [] if "compose" in BACKENDS else ["test_containers.py"]
