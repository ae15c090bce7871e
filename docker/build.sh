#!/usr/bin/env bash
# Builds the image `depthd`.  docker/build.sh [--jetson | --cuda] [DOCKER-BUILD-OPTION...]
set -euo pipefail
cd "$(dirname "$0")/.."
base=ubuntu:24.04
case ${1:-} in
  --jetson) base=nvcr.io/nvidia/l4t-base:r36.2.0; shift ;;
  --cuda) base=nvidia/cuda:12.6.3-runtime-ubuntu24.04; shift ;;
esac
exec docker build --build-arg "BASE=${BASE:-$base}" --tag "${TAG:-depthd}" "$@" .
