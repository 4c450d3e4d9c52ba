"""Restore one tile on every runtime in turns: python benchmarks/speed.py [model] [height width] [rounds]."""

import sys

from refocal.learn.evaluate import speed

if __name__ == "__main__":
    model = sys.argv[1] if len(sys.argv) > 1 else "gran-em"
    size = (int(sys.argv[2]), int(sys.argv[3])) if len(sys.argv) > 3 else (1024, 1024)
    rounds = int(sys.argv[4]) if len(sys.argv) > 4 else 3
    print("variant | Mpx/s | times float32 eager | dB lost | GFLOP/s | share of peak | peak MiB")
    print("--|--|--|--|--|--|--")
    for row in speed.restore_rows(model, size, rounds):
        ratio, lost = (f"{row[k]:.3f}" if row[k] is not None else "-" for k in ("ratio_fp32_eager", "db_lost"))
        print(
            f"{row['variant']} | {row['mpx_per_s']:.3f} | {ratio} | {lost} | {row['gflops']:.0f} | "
            f"{row['peak_share']:.2f} of {row['peak_gflops']:.0f} | {row['peak_mib'] or 0:.0f}"
        )
