# syntax=docker/dockerfile:1
# Desktop and server:  docker/build.sh
# Jetson:              docker/build.sh --jetson   (BASE=nvcr.io/nvidia/l4t-base:r36.2.0)
# BASE needs Python 3.10 or newer and apt. For a GPU take one with CUDA's runtime, for example
# nvidia/cuda:12.6.3-runtime-ubuntu24.04, and give the container a GPU (docker/run.sh does).
ARG BASE=ubuntu:24.04

# hadolint ignore=DL3006
FROM ${BASE} AS build
ARG EXTRAS=daemon,metrics,weights
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# hadolint ignore=DL3008
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        build-essential python3 python3-dev python3-venv \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN python3 -m venv /opt/depthd \
    && /opt/depthd/bin/python -m pip install --no-cache-dir ".[${EXTRAS}]"

# hadolint ignore=DL3006
FROM ${BASE}
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# hadolint ignore=DL3008
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends python3 \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --system --gid 990 depthd \
    && useradd --system --uid 990 --gid depthd --groups video --home-dir /data --no-create-home depthd \
    && install -d -o depthd -g depthd /data /weights /etc/depthd
COPY --from=build /opt/depthd /opt/depthd
COPY config/depthd.yaml /etc/depthd/depthd.yaml
ENV PATH=/opt/depthd/bin:$PATH HOME=/data NUMBA_CACHE_DIR=/data/numba DEPTHD_WEIGHTS=/weights
VOLUME ["/weights", "/data"]
USER 990:990
WORKDIR /data
HEALTHCHECK --interval=10s --timeout=10s --start-period=60s CMD ["depthd", "dump", "--frames", "1"]
ENTRYPOINT ["depthd"]
CMD ["run", "-c", "/etc/depthd/depthd.yaml", "--set", "mono.weights_dir=/weights"]
