#!/bin/sh
# Does restoring help segmentation, and up to which blur? A ladder of defocus with noise of 5 grey levels.
#
#     benchmarks/cells.sh ts2 | isbi [OPTION OF refocal evaluate ...]
#
# ts2 is scored on 24 sections of the half in z that no segmenter was trained on. Data are $REFOCAL_DATA or
# ../shared/data; tables go to runs/scores/cells. ISBI has pixels of 4 nm and is segmented at 8, as the net learned.
set -eu
cd "$(dirname "$0")/.."
data=${REFOCAL_DATA:-../shared/data}/eval/instances
which=${1:?ts2 or isbi}
shift
case $which in
  ts2) image="ts2=$data/flyem_ts2_raw_250.tif#130:250" labels=$data/flyem_ts2_neuron_ids_250_uint16.tif binning=1
    ladder="1 2 3 4 5" ;;
  isbi) image="isbi=$data/isbi2012_train_raw_30x512x512.tif#18:30" labels=$data/isbi2012_train_membrane_30x512x512.tif binning=2
    ladder="2 4 6 8" ;;
  *) echo "expected ts2 or isbi, got $which" >&2; exit 2 ;;
esac
for sigma in $ladder; do
  echo "defocus of $sigma px"
  .venv/bin/refocal evaluate "$image" --limit 24 --labels "$labels" --segment contour_watershed:binning=$binning \
    --degradation "chain:steps=[{kind: defocus, sigma_px: $sigma}, {kind: gaussian_noise, sigma: 5}, {kind: quantise}]" \
    -r unsharp -r wiener:sigma_px=1.5,noise=0.04 -r oracle_wiener -r gran-em -o "runs/scores/cells/$which-$sigma" "$@"
done
