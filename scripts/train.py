"""Learn one style or several: python scripts/train.py style=starry_night."""

from checks import check_training
from command_line import run
from launch import resumed
from omegaconf import DictConfig
from overrides import own_painting


def main(config: DictConfig) -> None:
    """Train, measure on pictures kept aside, save the network, and say how to use it."""
    check_training(config)
    # Only now: PyTorch and Lightning take seconds to import, and a mistake is told in one.
    from training import train_in_folder

    train_in_folder(config)


if __name__ == "__main__":
    run(main, config_name="train", rewrite=lambda arguments: resumed(own_painting(arguments)))
