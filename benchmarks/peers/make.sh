#!/bin/sh
# Makes one virtual environment for each peer of embed_throughput.py under DIR (default build/peers).
#
#     benchmarks/peers/make.sh [DIR]
#
# Peers pin what the others refuse, so each has its own. What it can share with this project's
# environment (torch above all, 5 GB) it sees through a .pth file; what it pins is installed over it.
set -eu
dir=${1:-build/peers}
python=${PYTHON:-python}
shared=$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')

make() {
    name=$1
    shift
    "$python" -m venv "$dir/$name"
    site=$("$dir/$name/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    echo "$shared" >"$site/zz_shared.pth"
    "$dir/$name/bin/pip" install --quiet "$@"
}

make sentence-transformers 'sentence-transformers>=6'
# It imports pkg_resources, which newer setuptools no longer have.
make clip-retrieval 'clip-retrieval==2.45.0' 'setuptools<81'
# Its extras leave out aiohttp, which it imports.
make infinity-emb 'infinity-emb[torch,server,vision]' aiohttp
