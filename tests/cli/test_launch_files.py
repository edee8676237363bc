"""What docs/scaling.md says and points to: figures, commands, and files for schedulers."""

import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import hydra
import pytest
import scaling
import torch
from omegaconf import OmegaConf

from fast_style.cli.hydra_app import register_resolvers
from fast_style.cli.overrides import CONFIGS, read_arguments
from fast_style.encoders.vgg import VGGEncoder
from fast_style.networks import BalancedNet, LightNet, ResidualNet, TransformNet

ROOT = Path(__file__).parents[2]
LAUNCH = ROOT / "docs" / "launch"
PAGE = (ROOT / "docs" / "scaling.md").read_text()


def composes(settings: list[str]) -> None:
    """Make sure that train.py understands the settings."""
    register_resolvers()
    with hydra.initialize_config_dir(str(CONFIGS), version_base="1.3"):
        hydra.compose("train", overrides=read_arguments(settings))


def started(script: str, folder: Path, *arguments: str, **variables: str) -> list[list[str]]:
    """Return what a script for SLURM starts; in the place of srun stands a program that says what it was given."""
    record = folder / "record"
    for name in ("srun", "python"):
        program = folder / name
        program.write_text(f'#!/bin/bash\nprintf "%s\\n" {name} "$@" --end-- >> {record}\n')
        program.chmod(0o755)
    environment = {"PATH": f"{folder}:{os.environ['PATH']}", "PYTHON": "python", "TMPDIR": str(folder), **variables}
    subprocess.run(["bash", LAUNCH / script, *arguments], env=environment, cwd=folder, check=True, timeout=30)
    return [text.strip("\n").split("\n") for text in record.read_text().split("--end--\n") if text]


ALLOCATION = {"SLURM_JOB_ID": "7", "SLURM_JOB_NUM_NODES": "2", "SLURM_NTASKS_PER_NODE": "8", "SLURM_CPUS_PER_TASK": "4"}


def test_the_tables_are_what_the_program_prints(encoder: VGGEncoder) -> None:
    for row in scaling.tables(encoder):
        assert f"| {' | '.join(row)} |" in PAGE, row


def test_vgg19_to_relu4_1_is_counted_as_by_hand(encoder: VGGEncoder) -> None:
    _, loss_forward, loss_backward, _, gram = scaling.count(BalancedNet(), encoder, 256)
    convolutions = [(3, 64, 256), (64, 64, 256), (64, 128, 128), (128, 128, 128), (128, 256, 64)]
    convolutions += [(256, 256, 64)] * 3 + [(256, 512, 32)]
    vgg = sum(9 * inputs * outputs * side**2 for inputs, outputs, side in convolutions)
    products = sum(channels**2 * side**2 for channels, side in ((64, 256), (128, 128), (256, 64), (512, 32)))
    # A Gram matrix's gradient is one product: those of its two factors are the same. Content is looked at without one.
    assert gram == 2 * products
    assert loss_forward == pytest.approx(2 * vgg + products, rel=1e-6)
    assert loss_backward == pytest.approx(vgg + products, rel=1e-6)


def test_the_backward_pass_of_a_network_is_twice_its_forward_less_the_gradient_of_its_input(
    encoder: VGGEncoder,
) -> None:
    forward, _, _, backward, _ = scaling.count(ResidualNet(), encoder, 256)
    assert backward == 2 * forward - 9 * 9 * 3 * 32 * 256**2


@pytest.mark.parametrize("network", [LightNet(), BalancedNet(), ResidualNet(), ResidualNet(width=128)])
def test_the_pieces_of_the_gradients_are_those_that_torch_makes(network: TransformNet) -> None:
    weights = list(network.parameters())[::-1]
    # The rule, without processes to apply it to.
    assign: Any = torch.distributed._compute_bucket_assignment_by_size  # type: ignore[attr-defined]
    indices, _ = assign(weights, [2**20, 25 * 2**20])
    assert scaling.pieces(network) == [sum(4 * weights[index].numel() for index in piece) for piece in indices]


def test_all_reduce_takes_longer_the_more_gpus_and_bytes_there_are() -> None:
    for fabric in scaling.FABRICS:
        by_gpus = [scaling.all_reduce(2**22, gpus, fabric) for gpus in (2, 8, 16, 64, 1024)]
        assert by_gpus == sorted(by_gpus)
        # Very many bytes: the links' rate alone counts.
        machines, rate = 128, scaling.FABRICS[fabric][0]
        assert scaling.all_reduce(10**13, 1024, fabric) == pytest.approx(
            max(2 * 1023 / 1024 * 1e13 / scaling.NVLINK, 2 * (machines - 1) / machines * 1e13 / rate), rel=1e-3
        )


def test_slurm_starts_one_process_a_gpu_that_knows_how_many_there_are(tmp_path: Path) -> None:
    ((*srun, python, script, devices, nodes, workers, style),) = started(
        "slurm.sh", tmp_path, "style=starry_night", **ALLOCATION
    )
    assert srun == ["srun", "--kill-on-bad-exit=1"]
    assert (python, script) == ("python", "scripts/train.py")
    assert (ROOT / script).exists()
    composes([devices, nodes, workers, style])
    assert (devices, nodes) == ("trainer.devices=8", "trainer.num_nodes=2")


def test_slurm_takes_the_data_to_each_machine_first(tmp_path: Path) -> None:
    folder, copy, train = started("slurm.sh", tmp_path, "data=photos", DATA="/shared/photos.zip", **ALLOCATION)
    assert folder[1:3] == copy[1:3] == ["--ntasks=2", "--ntasks-per-node=1"]
    place = folder[-1]
    assert copy[-2:] == ["/shared/photos.zip", f"{place}/"]
    assert f"data.source={place}/photos.zip" in train


def test_each_task_of_a_slurm_array_trains_one_style(tmp_path: Path) -> None:
    arguments = ("starry_night", "great_wave", "--", "batch_size=32", "name=a b")
    (train,) = started("slurm_styles.sh", tmp_path, *arguments, SLURM_ARRAY_TASK_ID="1", **ALLOCATION)
    assert "style=great_wave" in train
    assert train[-2:] == ["batch_size=32", "name=a b"]
    with pytest.raises(subprocess.CalledProcessError):
        started("slurm_styles.sh", tmp_path, *arguments, SLURM_ARRAY_TASK_ID="2", **ALLOCATION)


def test_a_slurm_job_ends_before_its_time_and_comes_again_into_the_same_folder() -> None:
    for script in ("slurm.sh", "slurm_styles.sh"):
        directives = re.findall(r"^#SBATCH (\S+)$", (LAUNCH / script).read_text(), re.MULTILINE)
        assert {"--requeue", "--signal=USR1@90", "--open-mode=append"} <= set(directives), script


def read_yaml(name: str) -> Any:
    return OmegaConf.to_container(OmegaConf.load(LAUNCH / name))


def manifest(name: str) -> tuple[dict[str, Any], int]:
    """Return what the pods of a manifest for Kubernetes are, and how many it asks for."""
    spec = read_yaml(name)["spec"]
    if name == "jobset.yaml":
        (job,) = (each["template"]["spec"] for each in spec["replicatedJobs"])
        assert job["parallelism"] == job["completions"]
        return job["template"]["spec"], job["completions"]
    worker = spec["pytorchReplicaSpecs"]["Worker"]
    assert spec["elasticPolicy"]["minReplicas"] == spec["elasticPolicy"]["maxReplicas"] == worker["replicas"]
    return worker["template"]["spec"], worker["replicas"]


@pytest.mark.parametrize("name", ["jobset.yaml", "pytorchjob.yaml"])
def test_kubernetes_starts_what_train_expects(name: str) -> None:
    pod, machines = manifest(name)
    (container,) = pod["containers"]
    script = container["command"].index("scripts/train.py")
    options, settings = container["command"][:script], container["command"][script + 1 :]
    composes(settings)
    gpus = container["resources"]["limits"]["nvidia.com/gpu"]
    assert f"trainer.num_nodes={machines}" in settings
    assert f"trainer.devices={gpus}" in settings
    assert f"--nproc-per-node={gpus}" in options
    mounted = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert mounted.keys() == {volume["name"] for volume in pod["volumes"]}
    # What must outlive the pod is where the run keeps it.
    assert mounted["runs"] == f"{container['workingDir']}/runs"


def test_the_first_pod_of_the_jobset_is_where_the_others_look_for_it() -> None:
    jobset = read_yaml("jobset.yaml")
    pod, machines = manifest("jobset.yaml")
    (container,) = pod["containers"]
    name, (job,) = jobset["metadata"]["name"], jobset["spec"]["replicatedJobs"]
    (port,) = container["ports"]
    options = dict(part.split("=", 1) for part in container["command"] if part.startswith("--"))
    assert options["--rdzv-endpoint"] == f"{name}-{job['name']}-0-0.{name}:{port['containerPort']}"
    assert options["--nnodes"] == str(machines)
    assert options["--rdzv-id"] == name


def test_the_ray_script_is_python_and_starts_the_script_that_is_there() -> None:
    source = (LAUNCH / "ray_train.py").read_text()
    compile(source, "ray_train.py", "exec")
    assert (
        LAUNCH / "ray_train.py"
    ).resolve().parent.parent.parent / "scripts" / "train.py" == ROOT / "scripts/train.py"


COMMANDS = re.findall(r"scripts/train\.py ([^`\n\\]*)", PAGE)


@pytest.mark.parametrize("arguments", COMMANDS)
def test_every_command_of_the_page_composes(arguments: str) -> None:
    words = [word for word in shlex.split(arguments.replace("...", "")) if "=" in word]
    composes([re.sub(r"=[MN]$", "=2", word) for word in words])


def test_every_link_of_the_page_leads_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", PAGE):
        assert target.startswith("https://") or (ROOT / "docs" / target).exists(), target
