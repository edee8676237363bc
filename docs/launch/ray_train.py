"""Runs scripts/train.py on the machines of a Ray cluster: python docs/launch/ray_train.py NAME style=starry_night ...

One Ray worker on each machine starts torchrun there, as a scheduler would; what Ray adds is to find the machines and to
start again what failed. NAME is the run's: its folder is runs/<style>/NAME. Needs ray[default,train] beside the project
on every machine, and the folder it is started in at the same place on all of them.

Environment:
    MACHINES: how many; 1.
    GPUS: of each machine; 8. 0: one process on the CPU.
"""

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import ray.train
from ray.train.collective import broadcast_from_rank_zero
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

SCRIPT = Path(__file__).resolve().parent.parent.parent / "scripts" / "train.py"


def train(config: dict[str, Any]) -> None:
    """Run the script on this machine, as one of several."""
    with socket.socket() as free:
        free.bind(("", 0))
        here = {"address": ray.util.get_node_ip_address(), "port": free.getsockname()[1]}
    main = broadcast_from_rank_zero(here)
    torchrun = [
        *(sys.executable, "-m", "torch.distributed.run"),
        f"--nnodes={config['machines']}",
        f"--node-rank={ray.train.get_context().get_world_rank()}",
        f"--nproc-per-node={config['processes']}",
        f"--master-addr={main['address']}",
        f"--master-port={main['port']}",
        f"--rdzv-id={config['name']}",
    ]
    placed = [f"trainer.num_nodes={config['machines']}", f"trainer.devices={config['processes']}"]
    # Processes of their own: Ray runs this function in a thread, and only main threads hear signals.
    subprocess.run([*torchrun, str(SCRIPT), *config["settings"], *placed], cwd=config["folder"], check=True)


def main(name: str, *settings: str) -> None:
    """Train on MACHINES machines with GPUS GPUs each."""
    machines, gpus = int(os.environ.get("MACHINES", "1")), int(os.environ.get("GPUS", "8"))
    run = {"name": name, "settings": settings, "folder": os.getcwd(), "machines": machines, "processes": max(1, gpus)}
    # Not TorchTrainer, which would make a process group of its own workers and take a part of each GPU for it.
    DataParallelTrainer(
        train,
        train_loop_config=run,
        scaling_config=ray.train.ScalingConfig(
            num_workers=machines, use_gpu=gpus > 0, resources_per_worker={"GPU": gpus} if gpus else {"CPU": 1}
        ),
        run_config=ray.train.RunConfig(name=name, failure_config=ray.train.FailureConfig(max_failures=3)),
    ).fit()


if __name__ == "__main__":
    main(*sys.argv[1:])
