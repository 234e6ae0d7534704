"""compose.yaml says the same as the Dockerfile, and gives nothing away. Docker itself cannot run
here: that the two containers start together is not tested."""

from __future__ import annotations

import re
import subprocess
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml

from index.factory import open_index

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))["services"]


@pytest.fixture(scope="module")
def steps() -> list[tuple[str, str]]:
    text = (ROOT / "Dockerfile").read_text("utf-8").replace("\\\n", " ")
    return re.findall(r"^([A-Z]+) (.+)", text, re.MULTILINE)


def test_crossbind_is_the_image_of_the_dockerfile(services, steps) -> None:
    crossbind, image = services["crossbind"], dict(steps)
    assert crossbind["build"] == "."
    port = image["EXPOSE"]
    assert crossbind["ports"] == [f"127.0.0.1:{port}:{port}"]
    assert crossbind["volumes"] == [f"crossbind:{image['VOLUME']}"]
    assert any(
        "CROSSBIND_HOME=" + image["VOLUME"] in value for step, value in steps if step == "ENV"
    )
    # The image's own user, check and command hold.
    assert not {"user", "healthcheck", "command", "entrypoint"} & crossbind.keys()
    assert "/health/live" in image["HEALTHCHECK"]
    [installed] = [value for step, value in steps if "pip install" in value]
    assert "qdrant" in installed


def test_keys_come_from_the_environment_and_are_asked_for(services) -> None:
    for service in services.values():
        for name, value in service["environment"].items():
            if name.endswith("API_KEY"):
                assert re.fullmatch(r"\$\{[A-Z_]*API_KEY:\?.+\}", value)
    inside, outside = services["qdrant"]["environment"], services["crossbind"]["environment"]
    assert inside["QDRANT__SERVICE__API_KEY"] == outside["CROSSBIND_QDRANT_API_KEY"]


def test_qdrant_is_reached_by_crossbind_only_once_it_is_healthy(services) -> None:
    qdrant, crossbind = services["qdrant"], services["crossbind"]
    assert "ports" not in qdrant
    assert crossbind["depends_on"] == {"qdrant": {"condition": "service_healthy"}}
    assert re.fullmatch(r"qdrant/qdrant:v\d+\.\d+\.\d+-unprivileged", qdrant["image"])
    assert {where.partition(":")[2] for where in qdrant["volumes"]} == {
        "/qdrant/storage",
        "/qdrant/snapshots",
    }


def test_the_documented_address_is_one_and_names_the_service(services) -> None:
    pytest.importorskip("qdrant_client", reason="needs crossbind[qdrant]")
    url = services["crossbind"]["environment"]["CROSSBIND_QDRANT_URL"]
    assert url.split("/")[2].partition(":")[0] in services
    for page in ("compose.yaml", "docs/QDRANT.md"):
        assert f"qdrant:{url}" in (ROOT / page).read_text("utf-8")
    open_index(f"qdrant:{url}", 4).close()  # nothing is asked of it yet


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (503, False), (None, False)])
def test_the_health_check_of_qdrant_reads_the_status(services, status, healthy) -> None:
    class Ready(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/readyz" else 404)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Ready)
    thread = Thread(target=server.serve_forever, args=(0.01,))
    if status is None:
        server.server_close()
    else:
        thread.start()
    kind, *command = services["qdrant"]["healthcheck"]["test"]
    assert kind == "CMD"
    command[-1] = command[-1].replace("$$", "$").replace("/6333", f"/{server.server_port}")
    done = subprocess.run(command, capture_output=True, timeout=10)
    if status is not None:
        server.shutdown()
        thread.join()
        server.server_close()
    assert (done.returncode == 0) == healthy
