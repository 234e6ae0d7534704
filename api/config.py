"""Settings: where things live and how much of the machine may be used.

This is the only reader of the environment. Every setting has a default that suits one person on
one machine; nothing else in the house asks for more.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import platformdirs

from embed.errors import BadInput
from index.keys import origin

MIB = 1 << 20

_MEDIA = ("text", "image", "audio", "video")
_SWITCH = {"1": True, "true": True, "yes": True, "": False, "0": False, "false": False, "no": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """home: catalog and uploads. cache: files derived from weights, safe to delete.

    threads: cores in use. offline: never ask a hub for weights. api_keys: any of them opens the
    REST door; none means no key is asked. allowed_hosts: Host names answered besides the loopback
    ones. spaces: those that clients of REST may name, besides the built-in one and those of
    collections. max_upload_bytes: of a request. jobs: clients of REST may start jobs that name
    paths on this machine. jobs_at_once: the others wait. qdrant_url: the server that
    qdrant_api_key is for. read_only: nothing in the home is changed. generator, reranker: those
    that answer where none is named. generators: those that clients of REST may name besides it and
    `extractive`. generator_url: the endpoint of `openai:MODEL`, which generator_api_key is for;
    generator_inputs, generator_context: modalities and tokens that its models take.
    """

    home: Path
    cache: Path
    threads: int
    offline: bool = False
    api_keys: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    spaces: tuple[str, ...] = ()
    max_upload_bytes: int = 64 * MIB
    jobs: bool = False
    jobs_at_once: int = 1
    read_only: bool = False
    qdrant_url: str | None = None
    qdrant_api_key: str | None = field(default=None, repr=False)
    generator: str = "extractive"
    generators: tuple[str, ...] = ()
    generator_url: str | None = None
    generator_api_key: str | None = field(default=None, repr=False)
    generator_inputs: tuple[str, ...] = ("text", "image", "video")
    generator_context: int = 8192
    reranker: str = "builtin"


def load_settings(home: Path | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Settings from the environment; `home`, when given, goes before CROSSBIND_HOME.

    Raises BadInput, naming the variable, when a value makes no sense.
    """
    env = os.environ if environ is None else environ
    if home is None:
        home = Path(env.get("CROSSBIND_HOME") or platformdirs.user_data_path("crossbind"))
    cache = Path(env.get("CROSSBIND_CACHE") or platformdirs.user_cache_path("crossbind"))
    return Settings(
        home=home.expanduser().absolute(),
        cache=cache.expanduser().absolute(),
        threads=_positive(env, "CROSSBIND_THREADS", available_cores()),
        offline=_switch(env, "CROSSBIND_OFFLINE"),
        api_keys=_ascii(env, "CROSSBIND_API_KEY"),
        allowed_hosts=_words(env, "CROSSBIND_ALLOWED_HOSTS"),
        spaces=_words(env, "CROSSBIND_SPACES"),
        max_upload_bytes=_positive(env, "CROSSBIND_MAX_UPLOAD_MIB", 64) * MIB,
        jobs=_switch(env, "CROSSBIND_JOBS"),
        jobs_at_once=_positive(env, "CROSSBIND_JOBS_AT_ONCE", 1),
        read_only=_switch(env, "CROSSBIND_READ_ONLY"),
        **_qdrant(env),
        generator=env.get("CROSSBIND_GENERATOR") or "extractive",
        generators=_words(env, "CROSSBIND_GENERATORS"),
        reranker=env.get("CROSSBIND_RERANKER") or "builtin",
        **_generator_endpoint(env),
        generator_inputs=_media(env, "CROSSBIND_GENERATOR_INPUTS", "text,image,video"),
        generator_context=_positive(env, "CROSSBIND_GENERATOR_CONTEXT", 8192),
    )


def child_environment(settings: Settings) -> dict[str, str]:
    """The environment of a process of ours that has the same settings, and is no door."""
    ours = {
        "CROSSBIND_HOME": str(settings.home),
        "CROSSBIND_CACHE": str(settings.cache),
        "CROSSBIND_THREADS": str(settings.threads),
        "CROSSBIND_OFFLINE": str(int(settings.offline)),
        "CROSSBIND_JOBS_AT_ONCE": str(settings.jobs_at_once),
    }
    others = {name: value for name, value in os.environ.items() if name != "CROSSBIND_API_KEY"}
    return others | ours


def available_cores() -> int:
    """Cores that this process may run on, which in a container are fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def own_threads(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Thread counts for OpenMP and OpenBLAS, to be set before any library reads them.

    The pools of numpy, faiss and torch fight when each takes every core; here one number rules.
    """
    env = os.environ if environ is None else environ
    threads = str(_positive(env, "CROSSBIND_THREADS", available_cores()))
    return {
        "OMP_NUM_THREADS": threads,
        "OPENBLAS_NUM_THREADS": threads,
        "OMP_WAIT_POLICY": "PASSIVE",
    }


def _qdrant(env: Mapping[str, str]) -> dict[str, str | None]:
    url, key = _keyed(env, "CROSSBIND_QDRANT", "server")
    return {"qdrant_url": None if url is None else origin(url), "qdrant_api_key": key}


def _generator_endpoint(env: Mapping[str, str]) -> dict[str, str | None]:
    url, key = _keyed(env, "CROSSBIND_GENERATOR", "endpoint")
    return {"generator_url": url, "generator_api_key": key}


def _keyed(env: Mapping[str, str], name: str, what: str) -> tuple[str | None, str | None]:
    """A URL and the API key that no other is sent."""
    url, key = env.get(f"{name}_URL") or None, env.get(f"{name}_API_KEY") or None
    if key is not None and url is None:
        raise BadInput(
            f"{name}_API_KEY is set without {name}_URL: name the {what} that the key is for, and "
            "no other is sent it",
            param=f"{name}_URL",
        )
    if key is not None and not key.isascii():
        raise BadInput(f"{name}_API_KEY holds other than ASCII letters")
    return url, key


def _media(env: Mapping[str, str], name: str, default: str) -> tuple[str, ...]:
    named = _words({name: env.get(name) or default}, name)
    for medium in named:
        if medium not in _MEDIA:
            raise BadInput(
                f"{name} names {medium!r}; the choices are: {', '.join(_MEDIA)}", param=name
            )
    return named


def _words(env: Mapping[str, str], name: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in env.get(name, "").split(",") if word.strip())


def _ascii(env: Mapping[str, str], name: str) -> tuple[str, ...]:
    if not env.get(name, "").isascii():
        raise BadInput(f"{name} holds other than ASCII letters; HTTP headers carry no others")
    return _words(env, name)


def _switch(env: Mapping[str, str], name: str) -> bool:
    value = env.get(name, "").strip().lower()
    if value not in _SWITCH:
        raise BadInput(f"{name} is {value!r}; 1 (on) or 0 (off) is wanted", param=name)
    return _SWITCH[value]


def _positive(env: Mapping[str, str], name: str, default: int) -> int:
    value = env.get(name)
    if not value:
        return default
    if not value.isascii() or not value.isdigit() or int(value) < 1:
        raise BadInput(f"{name} is {value!r}; a whole number of at least 1 is wanted", param=name)
    return int(value)
