#!/bin/sh
# Makes one virtual environment for lancedb and one for chroma, peers of ann.py, under DIR (default
# build/peers). Its other peers run in this project's own:
# pip install hnswlib usearch qdrant-edge-py
#
#     benchmarks/peers/make_ann.sh [DIR]
set -eu
dir=${1:-build/peers}
python=${PYTHON:-python}

make() {
    name=$1
    shift
    "$python" -m venv "$dir/$name"
    "$dir/$name/bin/pip" install --quiet "$@"
}

make lancedb lancedb numpy
make chroma chromadb numpy
