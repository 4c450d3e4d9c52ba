#!/usr/bin/env bash
# Every net for single images under one budget: trained for the same minutes on the same tiles and blur, then scored on
# sections of FlyEM ts2 that nobody trained on, by pixels and by cells.
#
#     benchmarks/zoo.sh [MINUTES] [NET ...]       models into runs/zoo, tables into runs/scores/zoo
#
# Defocus of 1 to 5.5 px and noise of 5 grey levels; scored at 4 px. Adversarial and perceptual terms are off: a few
# minutes are too short for them. The nets have the sizes of their papers.
set -euo pipefail
cd "$(dirname "$0")/.."
minutes=${1:-3}
shift || true
nets=("$@")
[ ${#nets[@]} -gt 0 ] || nets=(gran edsr rdn deepdeblur srn banet deblurgan_v2 sgpn)
data=${REFOCAL_DATA:-../shared/data}
refocal=${REFOCAL:-.venv/bin/refocal}
spoilt() { echo "{kind: defocus, sigma_px: $1}, {kind: gaussian_noise, sigma: 5}, {kind: quantise}"; }
common="degradation=chain scales=[1,2] softest_px=1.4 contrast_jitter=0.3 patch=128 batch=2 schedule=cosine warmup=20 clip=0.5 ema=0.99 \
  minutes=$minutes steps=100000 checkpoint_every=100"

own() {
  case $1 in
    gran) echo "lr=1.0e-3 objective=l1 net_options.image_residual=true net_options.zero_init=true" ;;
    edsr) echo "lr=3.0e-4 net_options.image_residual=true net_options.zero_init=true" ;;
    banet) echo "lr=3.0e-4 net_options.window=128" ;;
    deblurgan_v2 | sgpn) echo "lr=3.0e-4 objective=l1 objective_options={} net_options.window=128 betas=[0.9,0.999]" ;;
    *) echo "lr=3.0e-4" ;;
  esac
}

models=()
for net in "${nets[@]}"; do
  # shellcheck disable=SC2046,SC2086
  "$refocal" train "tile/$net" -d "$data/train/sem" -d "$data/train/tem" -o "runs/zoo/$net" name="${net//_/-}" $common \
    "degradation_options={steps: [$(spoilt "[1.0, 5.5]")]}" $(own "$net")
  models+=(-r "$net=runs/zoo/$net/${net//_/-}.safetensors")
done
eval=$data/eval/instances
"$refocal" evaluate "ts2=$eval/flyem_ts2_raw_250.tif#130:250" --limit 24 --labels "$eval/flyem_ts2_neuron_ids_250_uint16.tif" \
  --segment contour_watershed --degradation "chain:steps=[$(spoilt 4)]" -r oracle_wiener -r gran-em "${models[@]}" -o runs/scores/zoo
