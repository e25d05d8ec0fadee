#!/usr/bin/env bash
# MNIST, 10,000 training digits: DOPRI5 at 1e-5 against RK4, midpoint and learned solvers at 4 and 8 evaluations.
# usage: run.sh DATA_DIR [OUT_DIR] [STEPS] [SEEDS]     DATA_DIR holds mnist10k.npz; about half an hour on 2 cores
set -euo pipefail
here=$(dirname "$0")
exec "${KUTTAX:-kuttax}" compare mnist --data-dir "${1:?usage: run.sh DATA_DIR [OUT_DIR] [STEPS] [SEEDS]}" \
	--out "${2:-$here}" --resume --nfe 4 8 --train-steps "${3:-2000}" --seeds "${4:-3}"
