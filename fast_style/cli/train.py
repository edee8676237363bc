"""Learn one style or several: python scripts/train.py style=starry_night."""

from omegaconf import DictConfig

from fast_style.cli.hydra_app import run
from fast_style.cli.overrides import own_painting
from fast_style.cli.run_folder import resumed
from fast_style.cli.train_checks import check_training


def main(config: DictConfig) -> None:
    """Train, measure on pictures kept aside, save the network, and say how to use it."""
    check_training(config)
    # Only now: PyTorch and Lightning take seconds to import, and a mistake is told in one.
    from fast_style.cli.training import train_in_folder

    train_in_folder(config)


def entry_point() -> None:
    """Run the command."""
    run(main, config_name="train", rewrite=lambda arguments: resumed(own_painting(arguments)))
