import re
from pathlib import Path

import msgspec

from pkg.devkit.nats_users import PERMISSIONS, USERS, NatsUsers, variable


def test_passwords_are_kept_in_a_private_file(tmp_path: Path) -> None:
    file = tmp_path / "home" / "nats-users.json"

    made = NatsUsers.kept_in(file)

    assert NatsUsers.kept_in(file) == made
    assert set(made.passwords) == set(USERS)
    assert len(set(made.passwords.values())) == len(USERS)
    assert file.stat().st_mode & 0o777 == 0o600


def test_new_user_gets_a_password_and_the_others_keep_theirs(tmp_path: Path) -> None:
    file = tmp_path / "nats-users.json"
    file.write_bytes(msgspec.json.encode({"bidding": "kept"}))

    users = NatsUsers.kept_in(file)

    assert users.passwords["bidding"] == "kept"
    assert set(users.passwords) == set(USERS)


def test_permissions_name_every_user_with_its_own_password() -> None:
    listed = re.findall(r"user: (\S+)\s+password: \$(\S+)", PERMISSIONS.read_text())

    assert listed == [(user, variable(user)) for user in USERS]
