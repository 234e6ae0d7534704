"""How a Qdrant server and its key come in: by the environment, and not by strangers."""

from __future__ import annotations

from pathlib import Path

import pytest

from api.config import load_settings
from embed.errors import BadInput
from index.keys import Keys


def test_the_key_belongs_to_one_server_and_is_not_shown(tmp_path: Path) -> None:
    environ = {
        "CROSSBIND_QDRANT_URL": "https://q.example/",
        "CROSSBIND_QDRANT_API_KEY": "s3cret",
    }
    settings = load_settings(tmp_path, environ)
    assert "s3cret" not in repr(settings)
    keys = Keys.of(settings.qdrant_url, settings.qdrant_api_key)
    assert keys == {"https://q.example:6333": "s3cret"}
    assert repr(keys) == "Keys(https://q.example:6333)"
    assert Keys.of(load_settings(tmp_path, {}).qdrant_url, None) == {}
    with pytest.raises(BadInput, match="without CROSSBIND_QDRANT_URL"):
        load_settings(tmp_path, {"CROSSBIND_QDRANT_API_KEY": "s3cret"})
    with pytest.raises(BadInput, match="no URL of a server"):
        load_settings(tmp_path, {**environ, "CROSSBIND_QDRANT_URL": "q.example"})


@pytest.mark.parametrize("index", ["qdrant:/tmp", "qdrant:http://169.254.169.254"])
def test_clients_choose_no_server_and_no_folder(client, index: str) -> None:
    answer = client.request("PUT", "/v1/collections/c", json={"space": "builtin", "index": index})
    assert answer.status_code == 403
    error = answer.json()["error"]
    assert (error["code"], error["param"]) == ("forbidden", "index")
    assert "CROSSBIND_QDRANT_URL" in error["message"]
