#!/usr/bin/env bash
# Print the quality tables of docs/benchmarks.md, on specimens that no training saw, from $REFOCAL_DATA.
#
#     benchmarks/quality.sh protocol|mixed|sharp [more options of `refocal evaluate`]
#
# `protocol` compares the nets of benchmarks/train_compared.sh, and runs/gran/gran.safetensors if it is there.
set -euo pipefail
set -f # patterns are for refocal
data=${REFOCAL_DATA:-../shared/data}
refocal=${REFOCAL:-.venv/bin/refocal}
specimens="epfl=$data/eval/sem/epfl*.png temca_full=$data/eval/tem/temca_test*.png temca_half=$data/eval/tem/temca_col*.png
  brain_sem=$data/real/sem_noise_pairs/GT*.png isbi2012=$data/eval/tem/isbi*.tif vnc=$data/eval/tem/vnc*.tif
  flyem_ts2=$data/eval/instances/flyem_ts2_raw*.tif"

score() { "$refocal" evaluate $specimens --limit 4 --crop 1024 -o "runs/scores/$table" --degradation "$@"; }

table=${1:?protocol, mixed or sharp}
shift
case $table in
  protocol)
    nets=""
    for model in runs/compared/{gran_equal,edsr_16x64,rdn_small}/*.safetensors runs/gran/gran.safetensors; do
      set +f; for found in $model; do [ -f "$found" ] && nets="$nets -r $(basename "$found" .safetensors)=$found"; done; set -f
    done
    score gran_protocol -r unsharp:sigma_px=1.6,amount=1 -r oracle_wiener -r oracle_wiener_periodogram \
      -r oracle_richardson_lucy $nets -r gran-em "$@"
    ;;
  mixed)
    score 'chain:steps=[{choice: [{kind: defocus, sigma_px: [0.7, 3.0], profile: mixed},
      {kind: astigmatism, defocus_px: [-2.0, 2.0], astigmatism_px: [0.3, 1.5]}], weights: [0.75, 0.25]},
      {kind: gaussian_noise, sigma: [2, 20]}, {kind: quantise}]' -r unsharp:sigma_px=1.6,amount=1 \
      -r wiener:sigma_px=1,noise=0.04 -r wiener:sigma_px=1.5,noise=0.04 -r wiener:sigma_px=1.5,noise=0.15 \
      -r richardson_lucy:sigma_px=1.5,iterations=5 -r gran-em -r student-em "$@"
    ;;
  sharp)
    score 'chain:steps=[{kind: gaussian_noise, sigma: 3}, {kind: quantise}]' -r gran-em "$@"
    ;;
  *) echo "expected protocol, mixed or sharp, got $table" >&2; exit 2 ;;
esac
