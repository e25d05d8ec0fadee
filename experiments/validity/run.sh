#!/usr/bin/env bash
# When is a neural ODE not one? All of it: hours on one core. usage: run.sh DATA_DIR [OUT_DIR]
# DATA_DIR holds mnist10k.npz. Each command goes on where it was stopped; run it again.
set -euo pipefail
data=$(realpath "${1:?usage: run.sh DATA_DIR [OUT_DIR]}")
cd "$(dirname "$0")/../.."
out=$(realpath -m "${2:-experiments/validity}")
run() { "${PYTHON:-python}" -m "experiments.validity.$1" "${@:2}" --out "$out"; }

run windermere
run certify windermere
run grid spheres
run critical spheres
run certify spheres
run adaptive spheres
run draw spheres
run control spheres
run grid mnist --data-dir "$data"
run certify mnist --data-dir "$data"
run draw mnist --data-dir "$data"
run consistency spheres
run consistency digits
