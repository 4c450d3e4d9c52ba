#!/bin/sh
# Does restoring help segmentation, and up to which blur? A ladder of defocus with noise of 5 grey levels.
#
#     benchmarks/cells.sh ts2 | isbi [OPTION OF refocal evaluate ...]
#
# ts2 is scored on 24 sections of the half in z that no segmenter was trained on. Data are $REFOCAL_DATA or
# ../shared/data; tables go to runs/scores/cells. ISBI is binned to pixels of 8 nm (runs/isbi8.tif) and scored on its
# last 12 sections.
set -eu
cd "$(dirname "$0")/.."
data=${REFOCAL_DATA:-../shared/data}/eval/instances
which=${1:?ts2 or isbi}
shift
case $which in
  ts2) image="ts2=$data/flyem_ts2_raw_250.tif#130:250" labels=$data/flyem_ts2_neuron_ids_250_uint16.tif
    ladder="1 2 3 4 5" ;;
  isbi) image="isbi=runs/isbi8.tif#18:30" labels=runs/isbi8_cells.tif ladder="2 3 4"
    .venv/bin/python - "$data" <<'END'
import sys
import numpy as np, tifffile
raw, mask = (tifffile.imread(f"{sys.argv[1]}/isbi2012_train_{n}_30x512x512.tif") for n in ("raw", "membrane"))
binned = np.rint(raw.reshape(30, 256, 2, 256, 2).mean((2, 4))).astype(np.uint8)
for name, pages in (("isbi8", binned), ("isbi8_first", binned[:18]), ("isbi8_cells", np.ascontiguousarray(mask[:, 1::2, 1::2]))):
    tifffile.imwrite(f"runs/{name}.tif", pages, photometric="minisblack")
END
    ;;
  *) echo "expected ts2 or isbi, got $which" >&2; exit 2 ;;
esac
for sigma in $ladder; do
  echo "defocus of $sigma px"
  .venv/bin/refocal evaluate "$image" --limit 24 --labels "$labels" --segment contour_watershed \
    --degradation "chain:steps=[{kind: defocus, sigma_px: $sigma}, {kind: gaussian_noise, sigma: 5}, {kind: quantise}]" \
    -r unsharp -r wiener:sigma_px=1.5,noise=0.04 -r oracle_wiener -r gran-em -o "runs/scores/cells/$which-$sigma" "$@"
done
