#!/bin/bash
# Many styles, each a run of its own on one GPU, in runs/<style>/<job id>_<task id>:
#
#   sbatch --array=0-1 docs/launch/slurm_styles.sh starry_night great_wave -- batch_size=32
#
# From the repository's folder, after `uv sync` there. What follows -- is for every run.
#SBATCH --job-name=fast_styles
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --time=01:00:00
#SBATCH --output=slurm-%A_%a.out
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=USR1@90

set -euo pipefail

styles=()
while (($#)) && [[ $1 != -- ]]; do
    styles+=("$1")
    shift
done
if ((SLURM_ARRAY_TASK_ID >= ${#styles[@]})); then
    echo "slurm_styles.sh: ${#styles[@]} styles, but there is a task $SLURM_ARRAY_TASK_ID: use --array=0-$((${#styles[@]} - 1))" >&2
    exit 1
fi

export SRUN_CPUS_PER_TASK=${SLURM_CPUS_PER_TASK:-1}
exec srun "${PYTHON:-.venv/bin/python}" scripts/train.py style="${styles[SLURM_ARRAY_TASK_ID]}" \
    trainer.devices=1 workers=6 "${@:2}"
