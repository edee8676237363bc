import warnings
from functools import partial
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback, EMAWeightAveraging
from torch import Tensor

from fast_style.callbacks import Preview, StepProgress, Throughput
from fast_style.data import ContentData
from fast_style.encoders import VGGEncoder
from fast_style.errors import ConfigError, TrainingError
from fast_style.losses import ContentLoss, PerceptualLoss, StyleLoss
from fast_style.networks import LightNet
from fast_style.procedural import ProceduralPictures
from fast_style.styles import Style
from fast_style.task import StyleTransferTask

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
    trainer = Trainer(**{**settings, **arguments})  # type: ignore[arg-type]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning advises more workers, and a logger
        trainer.fit(task, datamodule=data)
    return trainer


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

    loss = PerceptualLoss(encoder, {"style": StyleLoss()}, [style, style, style])
    task = StyleTransferTask(LightNet(3, 8, 1), loss, partial(torch.optim.SGD, lr=0.1))
    monkeypatch.setattr(task.network, "forward", record)
    monkeypatch.setattr(task, "log", lambda *_, **__: None)
    monkeypatch.setattr(task, "_trainer", Trainer(accelerator="cpu", logger=False, enable_checkpointing=False))
    task.training_step((torch.rand(4, 3, 32, 32), torch.tensor([0, 4, 5, 6])), 0)
    assert torch.equal(seen[0], torch.eye(3)[[0, 1, 2, 0]])


def test_a_loss_that_is_not_finite_is_named_with_its_step(
    task: StyleTransferTask, data: ContentData, tmp_path: Path
) -> None:
    torch.nn.init.constant_(task.network.get_parameter("output.bias"), float("nan"))
    with pytest.raises(TrainingError, match=r"the content loss is nan at step 0: lower optimizer\.lr"):
        fit(task, data, tmp_path)


def test_a_schedule_needs_to_know_the_end(task: StyleTransferTask, data: ContentData, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"trainer\.max_steps must be given"):
        fit(task, data, tmp_path, max_steps=-1, max_epochs=-1)


def test_an_optimiser_that_refuses_its_settings_is_told(
    task: StyleTransferTask, data: ContentData, tmp_path: Path
) -> None:
    task._optimizer = partial(torch.optim.Adam, lr=-1.0)
    with pytest.raises(ConfigError, match=r"optimizer or schedule: Invalid learning rate: -1\.0"):
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
