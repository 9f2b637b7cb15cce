#!/bin/sh
# All steps for one model: make it, measure torch, measure Tidemark.
#
#     bench/gpu/measure.sh decoder-7b bfloat16 cuda [seconds] [folder]
set -eu
name=$1 dtype=$2 provider=$3 seconds=${4:-20}
here=$(dirname "$0")
folder=${5:-/tmp/tidemark-gpu}/$name
: "${PYTHON:=python3}" "${NODE:=node}"
batch=4096
# CUDA as the packages of torch bring it.
libraries=$("$PYTHON" -c 'import glob, nvidia
print(":".join(found for path in nvidia.__path__ for found in glob.glob(path + "/*/lib")))' 2>/dev/null || true)
export LD_LIBRARY_PATH="$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
"$PYTHON" "$here/make.py" "$name" --dtype "$dtype" --out "$folder" --texts "${TEXTS:-512}"
"$PYTHON" "$here/baseline.py" "$name" --dtype "$dtype" --model "$folder" --device "$provider" \
  --batch-tokens "$batch" --seconds "$seconds"
"$NODE" "$here/run.ts" "$folder" "$provider" "$seconds" "$batch"
