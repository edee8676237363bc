#!/bin/bash
# One run on several machines; its folder is runs/<style>/<job id>:
#
#   sbatch --nodes=2 docs/launch/slurm.sh style=starry_night batch_size=32
#   DATA=/shared/photos.zip sbatch docs/launch/slurm.sh style=starry_night batch_size=32 data=photos
#
# From the repository's folder, which all machines must see, after `uv sync` there.
#SBATCH --job-name=fast_style
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=8
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=8
#SBATCH --time=01:00:00
#SBATCH --output=slurm-%j.out
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=USR1@90

set -euo pipefail

python=${PYTHON:-.venv/bin/python}
settings=(trainer.devices="$SLURM_NTASKS_PER_NODE" trainer.num_nodes="$SLURM_JOB_NUM_NODES" workers=6)

if [[ -n ${DATA:-} ]]; then
    # Once on each machine: a network file system is slow at many small reads.
    place=${SLURM_TMPDIR:-${TMPDIR:-/tmp}}/fast_style_$SLURM_JOB_ID
    once=(srun --ntasks="$SLURM_JOB_NUM_NODES" --ntasks-per-node=1)
    "${once[@]}" mkdir -p "$place"
    "${once[@]}" cp -u "$DATA" "$place/"
    settings+=(data.source="$place/$(basename "$DATA")")
fi

# A task of srun does not inherit it since SLURM 22.05.
export SRUN_CPUS_PER_TASK=${SLURM_CPUS_PER_TASK:-1}
# Standing for this shell, so that srun's status, 143 after SIGTERM, is the job's.
exec srun --kill-on-bad-exit=1 "$python" scripts/train.py "${settings[@]}" "$@"
