#!/usr/bin/env bash
# Train the nets that docs/benchmarks.md compares, each for the same minutes, on the sharp tiles in $REFOCAL_DATA/train.
#
#     benchmarks/train_compared.sh [MINUTES]        models into runs/compared
#
# GRAN begins with a short trunk and grows it (docs/decisions/0004-growing-the-trunk.md); its two stages share the minutes.
set -euo pipefail
minutes=${1:-4}
data=${REFOCAL_DATA:-../shared/data}/train
out=runs/compared
refocal=${REFOCAL:-.venv/bin/refocal}
common="batch=4 steps=300000 schedule=cosine clip=0.5 warmup=50 validate_every=1000 checkpoint_every=500"
ours="net_options.image_residual=true net_options.zero_init=true"
share() { awk -v m="$minutes" -v s="$1" 'BEGIN { print m * s }'; }

train() { "$refocal" train "tile/$1" -d "$data/sem" -d "$data/tem" -o "$out/$2" name="$2" $common "${@:3}"; }

train gran gran_short $ours net_options.blocks=8 lr=1.0e-3 ema=0.998 minutes="$(share 0.625)"
train gran gran_equal $ours start="$out/gran_short/gran_short.safetensors" lr=3.0e-4 ema=0.99 minutes="$(share 0.375)"
train edsr edsr_16x64 $ours net_options.width=64 net_options.blocks=16 net_options.residual_scale=1.0 \
  lr=1.0e-3 ema=0.998 minutes="$minutes"
train rdn rdn_small net_options.width=64 net_options.growth=32 net_options.blocks=8 net_options.layers=4 \
  lr=1.0e-3 ema=0.998 minutes="$minutes"
