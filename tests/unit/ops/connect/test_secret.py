import hashlib
from typing import Any

from ops.connect.secret import StoreAction, choose_secret

URL = "https://Abc.lambda-url.eu-central-1.on.aws/v1"


def stored(
    name: str, secret_id: str = "s", agents: int = 0, *, more: bool = False
) -> dict[str, Any]:
    used_by = {"agents": [{"id": str(n)} for n in range(agents)], "agents_has_more": more}
    return {"secret_id": secret_id, "name": name, "used_by": used_by}


def test_the_name_differs_by_server_and_key_without_revealing_the_key() -> None:
    """The name differs by key and by server, and holds no plain digest."""
    name = choose_secret(URL, "key-1", []).name
    assert name.startswith("voice-completions-abc-lambda-url-eu-central-1-on-aws-")
    assert (
        len(
            {
                name,
                choose_secret(URL, "key-2", []).name,
                choose_secret("https://b/v1", "key-1", []).name,
            }
        )
        == 3
    )
    assert name == choose_secret(URL, "key-1", []).name
    assert name[-12:] not in hashlib.sha256(b"key-1").hexdigest()
    assert name[-12:] != choose_secret("https://b/v1", "key-1", []).name[-12:]


def test_a_secret_with_the_same_key_is_reused() -> None:
    """The current secret wins over an old one that was left."""
    name = choose_secret(URL, "new", []).name
    old = choose_secret(URL, "old", []).name
    found = choose_secret(URL, "new", [stored(old, "s_old"), stored(name, "s_new")])
    assert (found.id, found.store) == ("s_new", StoreAction.NOTHING)


def test_a_secret_with_another_key_is_updated_and_its_users_counted() -> None:
    """A rotation reports how many agents use the secret."""
    old = choose_secret(URL, "old", []).name
    found = choose_secret(URL, "new", [stored(old, "s_old", 3, more=True)])
    assert (found.id, found.store, found.users, found.more_users) == (
        "s_old",
        StoreAction.UPDATE,
        3,
        True,
    )
    assert found.name == choose_secret(URL, "new", []).name


def test_the_secrets_of_others_are_left_alone() -> None:
    """A secret whose name only begins like ours, or has a longer host, is not ours."""
    near = choose_secret("https://a.example/v1", "k", []).name
    strangers = [
        stored("MY_KEY"),
        stored(near[:-13]),
        stored(near + "0"),
        stored(near[:-12] + "com-" + "0" * 12),
        stored("x" + near),
    ]
    found = choose_secret("https://a.example/v1", "k", strangers)
    assert (found.id, found.store) == (None, StoreAction.CREATE)
