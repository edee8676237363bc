"""Training steps: what they learn, what they log, and how a training that goes wrong ends."""

import copy
import re
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from math import inf
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, EMAWeightAveraging, Timer
from lightning.pytorch.plugins import MixedPrecision
from pytorch_optimizer import SOAP
from small_messages import assert_names, raises
from torch import Tensor

from fast_style.data.datamodule import ContentData
from fast_style.data.procedural import ProceduralPictures
from fast_style.encoders.vgg import VGGEncoder
from fast_style.errors import ConfigError, TrainingError
from fast_style.losses import ContentLoss, Moved, PerceptualLoss, StyleLoss, TemporalLoss
from fast_style.losses.styles import Style
from fast_style.networks import LightNet
from fast_style.training.callbacks import Preview, StepProgress, Throughput
from fast_style.training.health import Ailment, explain
from fast_style.training.task import StyleTransferTask

# Lightning uses what this version of PyTorch deprecates.
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning:lightning", "ignore::DeprecationWarning:lightning")


@pytest.fixture
def task(encoder: VGGEncoder, style: Style) -> StyleTransferTask:
    torch.manual_seed(0)
    loss = PerceptualLoss(encoder, {"content": ContentLoss(layers=["relu2_1"]), "style": StyleLoss()}, [style])
    network = LightNet(styles=1, width=8, blocks=1)
    schedule = partial(torch.optim.lr_scheduler.OneCycleLR, max_lr=0.02)
    return StyleTransferTask(network, loss, partial(torch.optim.Adam, lr=0.02), schedule)


@pytest.fixture
def data(style: Style) -> ContentData:
    return ContentData(ProceduralPictures(32), [style.image], 32, batch_size=2, workers=0)


def fit(task: StyleTransferTask, data: ContentData, folder: Path, **arguments: object) -> Trainer:
    settings: dict[str, object] = {
        "accelerator": "cpu",
        "max_steps": 4,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "use_distributed_sampler": False,
        "num_sanity_val_steps": 0,
        "limit_val_batches": 0,
        "default_root_dir": folder,
    }
    ckpt_path = arguments.pop("ckpt_path", None)
    trainer = Trainer(**{**settings, **arguments})  # type: ignore[arg-type]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning advises more workers, and a logger
        trainer.fit(task, datamodule=data, ckpt_path=ckpt_path)  # type: ignore[arg-type]
    return trainer


Batch = tuple[Tensor, Tensor]
Harm = Callable[[StyleTransferTask, Batch], object]


class At(Callback):
    """Does harm before a step: once, or before each step from it on."""

    def __init__(self, step: int, harm: Harm, again: bool = False) -> None:
        self.step = step
        self.harm = harm
        self.again = again

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int) -> None:
        assert isinstance(pl_module, StyleTransferTask)
        if trainer.global_step == self.step or (self.again and trainer.global_step > self.step):
            self.harm(pl_module, batch)


def fill(name: str, value: float, first: bool = False) -> Harm:
    """Set a weight of the network, or its first number."""

    def harm(task: StyleTransferTask, batch: Batch) -> None:
        weight = task.network.get_parameter(name).data
        (weight[(0,) * weight.dim()] if first else weight).fill_(value)

    return harm


def multiply_gradient(by: float) -> Harm:
    """Multiply the gradient of one weight, from now on."""

    def harm(task: StyleTransferTask, batch: Batch) -> None:
        weight = task.network.get_parameter("blocks.0.second.conv.weight")
        weight.register_hook(lambda gradient: gradient * by)  # type: ignore[no-untyped-call]

    return harm


def stopped(task: StyleTransferTask, data: ContentData, folder: Path, *callbacks: Callback) -> str:
    """Train until the training is stopped; return why."""
    with pytest.raises(TrainingError) as caught:
        fit(task, data, folder, max_steps=60, callbacks=list(callbacks))
    assert task.suspicious
    return str(caught.value)


def test_training_lowers_the_loss(task: StyleTransferTask, data: ContentData, tmp_path: Path) -> None:
    def measure() -> float:
        content = torch.stack([data.pictures[9, index] for index in range(4)]).float() / 255
        style = torch.ones(4, 1)
        with torch.no_grad():
            return float(task.loss.total(task.loss(content, task.network(content, style), style)))

    before = measure()
    fit(task, data, tmp_path, max_steps=20)
    assert measure() < 0.7 * before


def test_the_loss_network_is_neither_saved_nor_trained_nor_averaged(
    task: StyleTransferTask, data: ContentData, tmp_path: Path
) -> None:
    trainer = fit(task, data, tmp_path, callbacks=[EMAWeightAveraging(decay=0.5)])
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    saved = torch.load(tmp_path / "last.ckpt", weights_only=True)["state_dict"]
    assert set(saved) == {f"network.{name}" for name in task.network.state_dict()}
    assert all(parameter.grad is None for parameter in task.loss.parameters())


def test_the_rate_warms_up_and_falls_by_the_last_step(
    task: StyleTransferTask, data: ContentData, tmp_path: Path
) -> None:
    rates: list[float] = []

    class Recorder(Callback):
        def on_train_batch_start(self, trainer: Trainer, *_: object) -> None:
            rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    fit(task, data, tmp_path, max_steps=10, callbacks=[Recorder()])
    assert len(rates) == 10
    assert rates[0] < max(rates) == pytest.approx(0.02)
    assert rates[-1] < 0.02 / 1000


def test_each_picture_learns_the_style_whose_turn_it_is(
    encoder: VGGEncoder, style: Style, data: ContentData, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Tensor] = []

    def record(images: Tensor, style: Tensor) -> Tensor:
        seen.append(style)
        return images

    loss = PerceptualLoss(encoder, {"style": StyleLoss()}, [replace(style, name=name) for name in "abc"])
    task = StyleTransferTask(LightNet(3, 8, 1), loss, partial(torch.optim.SGD, lr=0.1))
    monkeypatch.setattr(task.network, "forward", record)
    monkeypatch.setattr(task, "log", lambda *_, **__: None)
    monkeypatch.setattr(task, "_trainer", Trainer(accelerator="cpu", logger=False, enable_checkpointing=False))
    task.training_step((torch.rand(4, 3, 32, 32), torch.tensor([0, 4, 5, 6])), 0)
    assert torch.equal(seen[0], torch.eye(3)[[0, 1, 2, 0]])


def spoil_target(task: StyleTransferTask, batch: Batch) -> None:
    task.loss.terms["style"].get_buffer("gram_relu2_1")[0, 3, 5] = float("nan")


def spoil_encoder(task: StyleTransferTask, batch: Batch) -> None:
    task.loss.encoder = copy.deepcopy(task.loss.encoder)  # other tests use it
    task.loss.encoder.get_parameter("convolutions.conv1_2.bias").data[7] = float("inf")


def spoil_picture(task: StyleTransferTask, batch: Batch) -> None:
    batch[0][1, 2, 3, 4] = float("nan")


def spoil_weighting(task: StyleTransferTask, batch: Batch) -> None:
    task.loss.terms["style"].weight = 1e39


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (
            spoil_target,
            "style loss nan relu2_1 5 target loss.style",
        ),
        (
            spoil_encoder,
            "content loss nan relu2_1 5 loss network encoder.weights",
        ),
        (
            spoil_picture,
            "content loss nan 5 picture data",
        ),
        (
            fill("blocks.0.first.conv.weight", float("inf"), first=True),
            "content loss nan 5 network's weight blocks.0.first.conv.weight optimizer.lr",
        ),
        (
            fill("up_half.conv.weight", 3e38),
            "content loss nan 5 output up_half.conv optimizer.lr",
        ),
        (
            spoil_weighting,
            "total loss inf 5 loss.style.weight 1e+39",
        ),
        # A sigmoid makes a finite picture of it.
        (
            fill("output.bias", float("inf"), first=True),
            "weight output.bias 5 optimizer.lr",
        ),
        (
            multiply_gradient(float("nan")),
            "gradient blocks.0.second.conv.weight 5 losses optimizer.lr",
        ),
    ],
)
def test_what_is_not_finite_is_named_with_its_step_its_cause_and_a_remedy(
    task: StyleTransferTask, data: ContentData, tmp_path: Path, harm: Harm, message: str
) -> None:
    assert_names(stopped(task, data, tmp_path, At(5, harm)), message)


def test_a_gradient_that_is_not_finite_never_reaches_the_weights(
    task: StyleTransferTask, data: ContentData, tmp_path: Path
) -> None:
    before: list[Tensor] = []

    def harm(task: StyleTransferTask, batch: Batch) -> None:
        multiply_gradient(float("inf"))(task, batch)
        before.extend(weight.detach().clone() for weight in task.network.parameters())

    stopped(task, data, tmp_path, At(5, harm))
    task.check_weights()
    assert all(map(torch.equal, before, task.network.parameters()))


def test_a_gradient_that_explodes_is_named_with_its_weight_and_a_remedy(
    task: StyleTransferTask, data: ContentData, tmp_path: Path
) -> None:
    message = stopped(task, data, tmp_path, At(6, multiply_gradient(1e6)))
    assert_names(message, "gradient blocks.0.second.conv.weight optimizer.lr trainer.gradient_clip_val=1")
    step, norm, usual, share = map(float, re.findall(r"(?<= )\d[\d.e+-]*(?=[ :,%])", message))
    assert 6 < step < 26
    assert norm > 1e4 * usual
    assert share == 100


def test_a_remedy_that_is_in_use_is_not_suggested(task: StyleTransferTask) -> None:
    explosion, overflow = Ailment("explosion", 3, 1e6, "stem"), Ailment("loss", 3, inf, "style", output_finite=False)
    for ailment, remedy in (
        (explosion, "trainer.gradient_clip_val=1"),
        (overflow, "trainer.precision=32-true"),
    ):
        advice = explain(ailment, task.network, task.loss, precise=False, clipped=False)
        assert_names(advice, f"optimizer.lr {remedy}")
        assert explain(ailment, task.network, task.loss, precise=True, clipped=True).endswith("lower optimizer.lr")


def test_an_output_of_one_color_is_told_with_its_step_and_a_remedy(
    task: StyleTransferTask, data: ContentData, tmp_path: Path
) -> None:
    message = stopped(task, data, tmp_path, At(5, fill("output.bias", 50.0)))
    assert_names(message, "output color optimizer.lr loss.content.weight")
    step = re.search(r"step (\d+)", message)
    assert step
    assert 5 < int(step[1]) < 25


def test_a_training_that_is_well_is_not_stopped_and_never_suspicious(
    task: StyleTransferTask, data: ContentData, tmp_path: Path
) -> None:
    suspicious: list[bool] = []
    trainer = fit(
        task, data, tmp_path, max_steps=60, callbacks=[At(0, lambda task, _: suspicious.append(task.suspicious), True)]
    )
    assert trainer.global_step == len(suspicious) == 60
    assert not any(suspicious)
    task.check_weights()


@pytest.mark.parametrize(
    ("harm", "start"),
    [
        (spoil_target, "style loss nan relu2_1 7"),
        (spoil_picture, "content loss nan 7 picture"),
        (multiply_gradient(float("nan")), "gradient blocks.0.second.conv.weight 7"),
        (fill("output.bias", float("inf"), first=True), "weight output.bias 7"),
    ],
)
def test_where_looking_waits_for_the_device_the_same_is_told_a_few_steps_later(
    task: StyleTransferTask,
    data: ContentData,
    tmp_path: Path,
    harm: Harm,
    start: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(StyleTransferTask, "_looks_at_once", False)
    assert_names(stopped(task, data, tmp_path, At(7, harm)), start)
    assert task.global_step == 10


def test_the_last_steps_are_looked_at_too(
    task: StyleTransferTask, data: ContentData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(StyleTransferTask, "_looks_at_once", False)
    with raises(TrainingError, "style loss nan 8 loss.style"):
        fit(task, data, tmp_path, max_steps=9, callbacks=[At(8, spoil_target)])


def test_a_training_that_is_resumed_stops_where_it_would_have_stopped(
    task: StyleTransferTask, data: ContentData, tmp_path: Path
) -> None:
    def step_and_usual(message: str) -> list[str]:
        return re.findall(r"at step \d+|usually it is \S+", message)

    class Save(Callback):
        """Half way through what the watch waits for."""

        def on_train_batch_end(self, trainer: Trainer, *_: object) -> None:
            if trainer.global_step == 10:
                trainer.save_checkpoint(tmp_path / "last.ckpt")

    resumed = copy.deepcopy(task)
    message = stopped(task, data, tmp_path, At(6, multiply_gradient(1e6)), Save())
    harm = At(10, multiply_gradient(1e6))
    with pytest.raises(TrainingError) as caught:
        fit(resumed, data, tmp_path, max_steps=60, callbacks=[harm], ckpt_path=tmp_path / "last.ckpt")
    assert step_and_usual(str(caught.value)) == step_and_usual(message)


@pytest.mark.parametrize("scheduled", [True, False])
def test_a_training_that_is_resumed_takes_the_learning_rate_that_is_asked_for(
    task: StyleTransferTask, data: ContentData, tmp_path: Path, scheduled: bool
) -> None:
    def rates(lr: float, **arguments: object) -> list[float]:
        schedule = partial(torch.optim.lr_scheduler.OneCycleLR, max_lr=lr) if scheduled else None
        each = StyleTransferTask(copy.deepcopy(task.network), task.loss, partial(torch.optim.Adam, lr=lr), schedule)
        seen = []
        note = At(0, lambda task, batch: seen.append(task.trainer.optimizers[0].param_groups[0]["lr"]), again=True)
        trainer = fit(each, data, tmp_path, max_steps=6, callbacks=[note, Save()], **arguments)
        assert trainer.global_step == 6
        return seen

    class Save(Callback):
        """At a third."""

        def on_train_batch_end(self, trainer: Trainer, *_: object) -> None:
            if trainer.global_step == 2:
                trainer.save_checkpoint(tmp_path / "last.ckpt")

    before = rates(0.02)
    assert rates(0.02, ckpt_path=tmp_path / "last.ckpt") == before[2:]
    assert rates(0.005, ckpt_path=tmp_path / "last.ckpt") == pytest.approx([rate / 4 for rate in before[2:]])


def test_weights_are_checked_by_name(task: StyleTransferTask, data: ContentData, tmp_path: Path) -> None:
    trainer = fit(task, data, tmp_path)
    task.check_weights()
    fill("up_half.norm.scale", float("-inf"), first=True)(task, (torch.empty(0), torch.empty(0)))
    with raises(TrainingError, f"weight up_half.norm.scale {trainer.global_step} optimizer.lr"):
        task.check_weights()


def test_a_schedule_needs_to_know_the_end(task: StyleTransferTask, data: ContentData, tmp_path: Path) -> None:
    with raises(ConfigError, "max_steps given"):
        fit(task, data, tmp_path, max_steps=-1, max_epochs=-1)


def test_a_schedule_without_time_to_rise_is_refused(task: StyleTransferTask, data: ContentData, tmp_path: Path) -> None:
    task._schedule = partial(torch.optim.lr_scheduler.OneCycleLR, max_lr=0.02, pct_start=0.25)
    with raises(ConfigError, "max_steps 4 schedule"):
        fit(task, data, tmp_path, max_steps=4)


class Rates(Callback):
    """Notes the learning rate of each step."""

    def __init__(self) -> None:
        self.noted: list[float] = []

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int) -> None:
        self.noted.append(trainer.optimizers[0].param_groups[0]["lr"])


class SlowClock(Timer):
    """A limit of some seconds on a clock where each step takes one."""

    def __init__(self, seconds: int = 12) -> None:
        super().__init__({"seconds": seconds})
        self.steps = 0

    def on_train_batch_end(self, trainer: Trainer, *args: object, **kwargs: object) -> None:
        self.steps += 1
        super().on_train_batch_end(trainer)

    def time_elapsed(self, stage: str = "train") -> float:
        return self._offset + self.steps


def rates_of_the_schedule(steps: int) -> list[float]:
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))])
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.02, total_steps=steps)
    rates = []
    for _ in range(steps):
        rates.append(float(schedule.get_last_lr()[0]))
        optimizer.step()
        schedule.step()
    return rates


@pytest.mark.parametrize("limit", [{}, {"max_time": {"hours": 1}}])
def test_the_schedule_takes_a_step_at_a_time_where_time_is_plenty(
    task: StyleTransferTask, data: ContentData, tmp_path: Path, limit: dict[str, object]
) -> None:
    rates = Rates()
    fit(task, data, tmp_path, max_steps=10, callbacks=[rates], **limit)
    assert rates.noted == pytest.approx(rates_of_the_schedule(10))


def test_the_schedule_ends_with_the_time_where_that_is_short(
    task: StyleTransferTask, data: ContentData, tmp_path: Path
) -> None:
    rates, clock = Rates(), SlowClock()
    trainer = fit(task, data, tmp_path, max_steps=1200, callbacks=[rates, clock])
    assert trainer.global_step == 12
    # What a step takes shows when it has ended: the second rate is still that of the second step.
    assert rates.noted == pytest.approx(
        [rates_of_the_schedule(1200)[place] for place in (0, 1, *range(100, 1100, 100))]
    )


def test_the_schedule_goes_back_to_where_more_time_has_it(
    task: StyleTransferTask, data: ContentData, tmp_path: Path
) -> None:
    saved = tmp_path / "last.ckpt"
    fit(task, data, tmp_path, max_steps=1200, callbacks=[SlowClock(12)]).save_checkpoint(saved)
    rates = Rates()
    trainer = fit(task, data, tmp_path, ckpt_path=saved, max_steps=1200, callbacks=[rates, SlowClock(24)])
    assert trainer.global_step == 24
    schedule = rates_of_the_schedule(1200)
    # It shows when a step has been taken: the first is one more of the end.
    assert rates.noted[0] == pytest.approx(schedule[1100])
    assert rates.noted[1:] == pytest.approx([schedule[place] for place in range(600, 1150, 50)])


@pytest.mark.parametrize(
    ("optimizer", "reason"),
    [(torch.optim.Adam, r"Invalid learning rate: -1\.0"), (SOAP, "learning rate must be positive")],
)
def test_an_optimizer_that_refuses_its_settings_is_told(
    task: StyleTransferTask,
    data: ContentData,
    tmp_path: Path,
    optimizer: Callable[..., torch.optim.Optimizer],
    reason: str,
) -> None:
    task._optimizer = partial(optimizer, lr=-1.0)
    with pytest.raises(ConfigError, match=f"^optimizer or schedule: {reason}"):
        fit(task, data, tmp_path)


def test_a_preview_has_a_row_a_picture_and_a_column_a_style(task: StyleTransferTask, style: Style) -> None:
    preview = Preview([style], [style.image, style.image], size=48)
    assert preview.sheet(task).shape == (3, 48 + 8 + 48, 64 + 8 + 64)


def test_progress_is_told_in_lines_where_there_is_no_terminal(
    task: StyleTransferTask, data: ContentData, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    callbacks = [StepProgress(every_n_seconds=0), Throughput(every_n_steps=1)]
    fit(task, data, tmp_path, callbacks=callbacks, enable_progress_bar=True)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines] == ["1/4", "2/4", "3/4", "4/4"]
    assert all("loss " in line and " left" in line for line in lines)
    assert "pictures/s" in lines[-1]


def test_measurements_do_not_count_in_the_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    now, rates = 100.0, []
    monkeypatch.setattr("fast_style.training.callbacks.time.monotonic", lambda: now)
    task = SimpleNamespace(log=lambda name, rate: rates.append(rate))
    throughput: Any = Throughput(every_n_steps=1)
    for step in range(1, 5):
        trainer = SimpleNamespace(global_step=step, world_size=2)
        throughput.on_train_batch_end(trainer, task, None, (torch.zeros(3, 3, 8, 8),), step)
        throughput.on_validation_start(trainer, task)
        now += 50
        throughput.on_validation_end(trainer, task)
        now += 2
    assert rates == [3 * 2 / 2] * 3


def test_a_scaler_may_try_for_a_while(task: StyleTransferTask, data: ContentData, tmp_path: Path) -> None:
    # Fifteen gradients that are not finite bring its scale from 2 ** 16 to 2: the next one is not its fault.
    harm, scaler = At(0, multiply_gradient(inf)), MixedPrecision("16-mixed", "cpu")
    with raises(TrainingError, "blocks.0.second.conv.weight finite 15"):
        fit(task, data, tmp_path, max_steps=20, plugins=[scaler], callbacks=[harm])
    task.check_weights()


def temporal_task(encoder: VGGEncoder, style: Style) -> StyleTransferTask:
    torch.manual_seed(0)
    losses = {"content": ContentLoss(layers=["relu2_1"]), "temporal": TemporalLoss(weight=5, distance=4)}
    network = LightNet(styles=1, width=8, blocks=1)
    return StyleTransferTask(network, PerceptualLoss(encoder, losses, [style]), partial(torch.optim.Adam, lr=0.02))


def test_the_temporal_loss_falls_and_the_stillness_rises(encoder: VGGEncoder, style: Style, tmp_path: Path) -> None:
    task = temporal_task(encoder, style)
    data = ContentData(ProceduralPictures(64), [style.image], 64, batch_size=2, workers=0)
    before = task._stillness()
    trainer = fit(
        task, data, tmp_path, max_steps=40, limit_val_batches=1, val_check_interval=40, check_val_every_n_epoch=None
    )
    assert trainer.callback_metrics["heldout/temporal"] < 0.5
    assert task._stillness() > before + 3
    assert trainer.callback_metrics["heldout/stillness"].item() == pytest.approx(task._stillness(), abs=0.01)


def test_pictures_move_alike_in_a_run_and_in_one_that_resumes_it(
    encoder: VGGEncoder, style: Style, tmp_path: Path
) -> None:
    moved: list[Moved] = []
    for _ in range(2):
        task = temporal_task(encoder, style)
        content = torch.rand(2, 3, 48, 48, generator=torch.Generator().manual_seed(1))
        torch.rand(len(moved))  # another state of the global random numbers
        made = task._moved(content, torch.ones(2, 1), [7, 8])
        assert made is not None
        moved.append(made)
    assert torch.equal(moved[0].content, moved[1].content)
    assert torch.equal(moved[0].origins, moved[1].origins)
