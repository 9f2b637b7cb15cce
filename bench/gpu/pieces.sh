#!/bin/sh
# Takes what a machine without a network needs to run bench/gpu apart, and puts it together there.
#
#     bench/gpu/pieces.sh split <pieces> <libraries>  here: pieces of 48 MiB and their checksums
#     bench/gpu/pieces.sh join <pieces> <clone>       there: checks the pieces, unpacks them
#
# What travels: Node, the packages that the batcher loads, and the CUDA provider from the folder of
# libraries ("tidemark model cuda" brings it). The sources go by themselves; CUDA, torch and onnx are
# to be there.
set -eu
PACKAGES="node onnxruntime-node onnxruntime-common tokenizers zod prom-client tdigest bintrees @opentelemetry/api"
RUNTIME=node_modules/onnxruntime-node/bin/napi-v6/linux/x64

case ${1:-} in
split)
  pieces=$2 libraries=$3
  mkdir -p "$pieces"
  rm -f "$pieces"/piece-*
  set --
  for package in $PACKAGES; do set -- "$@" "node_modules/$package"; done
  tar -c --exclude='*.map' --exclude='*darwin*' --exclude='*win32*' --exclude='*musl*' \
    --exclude='*arm*' --exclude='*android*' --exclude='*freebsd*' "$@" \
    --transform "s,^libonnx,$RUNTIME/libonnx," -C "$libraries" \
    libonnxruntime_providers_shared.so libonnxruntime_providers_cuda.so |
    gzip -6 | split -b 48M -d - "$pieces/piece-"
  cd "$pieces"
  sha256sum piece-* >SHA256SUMS
  ls -l
  ;;
join)
  pieces=$2 clone=$3
  (cd "$pieces" && sha256sum -c --quiet SHA256SUMS)
  cat "$pieces"/piece-* | gzip -dc | tar -x -C "$clone"
  ;;
*)
  sed -n '2,9p' "$0"
  exit 2
  ;;
esac
