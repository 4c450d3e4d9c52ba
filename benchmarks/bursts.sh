#!/usr/bin/env bash
# The nets for bursts of Wieslander et al. 2021 under one budget: narrow forms of them, trained for the same minutes on the
# same simulated streams, then scored beside the baselines on specimens that nobody trained on, with their artefacts.
#
#     benchmarks/bursts.sh [MINUTES] [NET ...]       models into runs/bursts
#
# Structure, objective and up-sampling are the papers'; widths, crops and schedule are made for minutes on a processor.
set -euo pipefail
cd "$(dirname "$0")/.."
minutes=${1:-12}
shift || true
nets=("$@")
[ ${#nets[@]} -gt 0 ] || nets=(deblurgan_v2 bu bdu_t bdu_uc bdu_uc_ssim)
data=${REFOCAL_DATA:-../shared/data}
refocal=${REFOCAL:-.venv/bin/refocal}
common="scales=[1,2] softest_px=1.4 contrast_jitter=0.3 lr=1.0e-3 schedule=cosine warmup=50 clip=1.0 ema=0.99 precision=bf16-mixed
  minutes=$minutes steps=100000 validate_every=1000000 checkpoint_every=200"

own() {
  case $1 in
    deblurgan_v2) echo "net_options.backbone=mobilenet_v2 net_options.window=128 patch=128 batch=1 objective_options.model=contour-em" ;;
    bu) echo "net_options.width=24 net_options.image_residual=true patch=64 batch=4" ;;
    *) echo "net_options.width=24 net_options.growth=8 net_options.layers=3 net_options.dropout=0 net_options.image_residual=true patch=64 batch=4" ;;
  esac
}

models=()
for net in "${nets[@]}"; do
  # shellcheck disable=SC2046,SC2086
  "$refocal" train "burst/$net" -d "$data/train/sem" -d "$data/train/tem" -o "runs/bursts/$net" name="${net//_/-}" $common \
    $(own "$net")
  models+=(--model "$net=runs/bursts/$net/${net//_/-}.safetensors")
done
.venv/bin/python benchmarks/bursts.py tables --model burst-em "${models[@]}"
.venv/bin/python benchmarks/bursts.py artefacts --model burst-em "${models[@]}"
