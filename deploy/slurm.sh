#!/usr/bin/env bash
# A run on Slurm: the coordinator on the first node, and a worker for each task. Submit it from the folder whose node_modules
# has lockstep. All nodes share that folder, the job and the run directory, and have an engine in their cache.
#
#     sbatch --nodes 4 --ntasks-per-node 8 --gpus-per-task 1 slurm.sh JOB RUN_DIR
#
# 120 s before its time limit the run writes a checkpoint and ends; submit the same again, and it goes on from there.
#SBATCH --job-name lockstep
#SBATCH --signal B:TERM@120
set -euo pipefail
job=$1 run_dir=$2
lockstep=$PWD/node_modules/.bin/lockstep
first_node=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
port=$((20000 + SLURM_JOB_ID % 20000))
token=$run_dir/token-$SLURM_JOB_ID

mkdir -p "$run_dir"
(umask 077 && openssl rand -hex 32 > "$token")
resume=()
if compgen -G "$run_dir/checkpoints/step-*.safetensors" > /dev/null; then resume=(--resume); fi

"$lockstep" coordinator "$job" --workers "$SLURM_NTASKS" --listen "$first_node:$port" --token-file "$token" \
  --run-dir "$run_dir" "${resume[@]}" &
coordinator=$!
trap 'kill -TERM $coordinator' TERM

# Tensors in pages of 2 MiB (docs/engine.md).
export GLIBC_TUNABLES=${GLIBC_TUNABLES:-glibc.malloc.hugetlb=1}
srun bash -c 'exec "$1" worker "$2" --join "$3" --token-file "$4" --listen "$(hostname):0" --id "$(printf %05d "$SLURM_PROCID")"' \
  worker "$lockstep" "$job" "ws://$first_node:$port" "$token" &

# The signal interrupts the first wait.
status=0
wait "$coordinator" || status=$?
if kill -0 "$coordinator" 2> /dev/null; then
  status=0
  wait "$coordinator" || status=$?
fi
wait || true
rm -f "$token"
exit "$status"
