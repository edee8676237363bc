"""Export a network: fast-style export starry_night format=onnx output=starry_night.onnx."""

from pathlib import Path

from omegaconf import DictConfig

from fast_style.backends.onnx_cache import require_packages
from fast_style.cli.hydra_app import one_network, require_new, require_writable
from fast_style.errors import ConfigError, require_choice
from fast_style.system.files import atomic_write
from fast_style.zoo import find
from fast_style.zoo.network_file import read_network_file

FORMATS = ("onnx",)


def main(config: DictConfig) -> None:
    """Export the network, atomically."""
    require_choice("format", config.format, FORMATS)
    file = read_network_file(find(Path(one_network(config.ckpt))))
    output = Path(config.output or f"{file.path.stem}.{config.format}")
    if output.suffix.lower() != f".{config.format}":
        raise ConfigError(
            f"output must end in .{config.format}, such as {file.path.stem}.{config.format}, not {output}"
        )
    if output.is_dir():
        raise ConfigError(f"output must be a file, such as {output}/{file.path.stem}.{config.format}, not a folder")
    require_new(output, overwrite=config.overwrite)
    require_writable(output.parent, "output")
    require_packages("onnx", "onnxruntime", "onnx", "onnxscript")
    # Imported after the checks: PyTorch takes seconds.
    from fast_style.backends.export import export

    model = export(file, "onnx")
    with atomic_write(output) as target:
        target.write(model)
    styles = ", ".join(file.metadata.styles)
    print(f"{output}: {len(model) / 1e6:.1f} MB, {styles}")
