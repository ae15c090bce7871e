#!/usr/bin/env bash
# Runs the image `depthd` with the cameras and, where there is one, the GPU of this machine. Other containers and
# the host read the frames in /dev/shm, which is shared; user and group 990 own them.  docker/run.sh [COMMAND...]
set -euo pipefail
name=${NAME:-depthd}
here=$(cd "$(dirname "$0")/.." && pwd)
options=(--rm --name "$name" --init --ipc host --stop-timeout 5 --read-only --tmpfs /tmp
  --cap-drop ALL --security-opt no-new-privileges
  --volume "${WEIGHTS:-depthd-weights}:/weights" --volume "${DATA:-depthd-data}:/data")
[[ ! -e ${CONFIG:-$here/depthd.yaml} ]] || options+=(--volume "${CONFIG:-$here/depthd.yaml}:/etc/depthd/depthd.yaml:ro")
if [[ -e /etc/nv_tegra_release ]]; then options+=(--runtime nvidia)
elif [[ -e /proc/driver/nvidia/version ]]; then options+=(--gpus all); fi
for device in /dev/video*; do [[ ! -c $device ]] || options+=(--device "$device"); done
# USB devices come and go: the whole bus, by its device class.
[[ ! -d /dev/bus/usb ]] || options+=(--volume /dev/bus/usb:/dev/bus/usb --device-cgroup-rule 'c 189:* rw')
if [[ -t 0 && -t 1 ]]; then options+=(--interactive --tty); fi
exec docker run "${options[@]}" "${TAG:-depthd}" "$@"
