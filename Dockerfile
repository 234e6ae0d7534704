# Crossbind on CPU, as a server:
#   docker build -t crossbind .
#   docker run -e CROSSBIND_API_KEY=secret -v crossbind:/data -p 127.0.0.1:8080:8080 crossbind
# It listens beyond localhost and so refuses to start without CROSSBIND_API_KEY. Names other than
# localhost by which clients reach it belong in CROSSBIND_ALLOWED_HOSTS, spaces that they may use
# besides the built-in one in CROSSBIND_SPACES, and a limit on uploads other than 64 MiB in
# CROSSBIND_MAX_UPLOAD_MIB. CROSSBIND_OFFLINE=1 keeps it from fetching weights; with it, mount those of
# the hub: -v ~/.cache/huggingface:/home/crossbind/.cache/huggingface
# Nothing but Python packages is installed: FFmpeg is inside PyAV, PDFium inside pypdfium2.
FROM python:3.11-slim

ENV CROSSBIND_HOME=/data \
    CROSSBIND_CACHE=/opt/crossbind/cache \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PYTHONUNBUFFERED=1

RUN useradd --create-home --uid 10001 crossbind \
    && install --directory --owner=crossbind /data /opt/crossbind/cache

WORKDIR /opt/crossbind/source
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY embed embed
COPY index index
COPY generation generation
COPY rag rag
COPY api api
# The version is that of the source beside it.
# hadolint ignore=DL3013
RUN pip install --no-cache-dir '.[cpu,qdrant]'

USER 10001
WORKDIR /home/crossbind
RUN crossbind --home /tmp/prepare models --prepare builtin && rm -r /tmp/prepare

VOLUME /data
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8080/health/live', timeout=4)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["crossbind"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8080"]
