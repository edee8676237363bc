"""The pages of the zoo: a card for each network, and the index. See zoo.py."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from fast_style.zoo.network_file import NetworkFile

LIMITS = "## Limits\n"

FAULTS = {
    "grid": "mesh, levels of 255",
    "dots": "dots in 100,000 pixels",
    "border": "frame, levels of 255",
    "washed_out": "colors lost, 0 to 1",
    "clipped": "clipped, 0 to 1",
}


def card(
    file: NetworkFile,
    parameters: int,
    trained: str,
    stillness: Mapping[str, Mapping[str, float]],
    reports: Sequence[Mapping[str, Any]] = (),
    before: str = "",
) -> str:
    """Return the card of a network.

    Args:
        file: as it ships; its path from the root of the repository.
        parameters: how many it has.
        trained: the command that makes it anew.
        stillness: of each style, by `measure_stillness`.
        reports: of scripts/evaluate.py.
        before: the card that there is; what it says of limits stays.
    """
    name, metadata = file.path.stem, file.metadata
    config = metadata.config
    blocks = [
        f"# {titles(file)}",
        f"![Four photographs above their stylizations]({name}.jpg)",
        *(_painting(credit) for credit in metadata.styles.values()),
        _shell(f"fast-style stylize photo.jpg ckpt={name}{_one_of(metadata.styles)}"),
        "## Network",
        _table(_network(file, parameters)),
        "## Training",
        _table(_training(config)),
        _shell(trained),
        "## Losses",
        _table(_losses(config, metadata.losses)),
        "Measured on pictures that the network was never trained on: "
        f"{_heldout(config)}. The total is the sum of weight x loss.",
        "## Stillness",
        "How well strokes move along with what they depict, in generated films of known motion: PSNR in dB against the "
        "frame before, and the tenth before. Higher is stiller.",
        _table(_stillness(stillness)),
        *(block for report in reports for block in _judged(name, report)),
    ]
    _, marked, limits = before.partition(LIMITS)
    return "\n\n".join(blocks) + f"\n\n{LIMITS}{limits if marked else _limits(config)}"


def index(files: Sequence[NetworkFile]) -> str:
    """Return the page of all networks."""
    rows = [["name", "painting", "artist", "year", "network", "KB", "held-out content", "held-out style"]]
    for file in files:
        losses = [_number(file.metadata.losses.get(f"heldout/{term}")) for term in ("content", "style")]
        credits = file.metadata.styles.values()
        columns = [_cell(_joined(credits, key)) for key in ("work", "artist", "year")]
        size = f"{len(file.data) / 1000:.0f}"
        rows.append([f"[{file.path.stem}](zoo/{file.path.stem}.md)", *columns, _kind(file), size, *losses])
    shown = [
        f"## [{titles(file)}](zoo/{file.path.stem}.md)\n\n![{titles(file)}](zoo/{file.path.stem}.jpg)" for file in files
    ]
    example = files[0].path.stem if files else "NAME"
    intro = (
        "# The zoo\n\n"
        "Networks that ship with fast_style, trained by it on paintings in the public domain.\n\n"
        "![Four photographs, and what the networks that ship make of them](zoo.jpg)\n\n"
        "Use a network by its name. `list` shows all names, those of your own networks included:\n\n"
        f"{_shell(f'fast-style stylize photo.jpg ckpt={example}', 'fast-style list')}\n\n"
        "`fast-style list photo.jpg` shows a photograph of yours in every style. Each name in the table links to a\n"
        "card: the painting, the training, the losses and the limits.\n\n"
        "All were trained in stages, most of them five minutes on one GPU (H100) and some minutes on two CPU\n"
        "cores. [What each stage brought](look.md#what-longer-training-brings). [How good they\n"
        "are](look.md#equivalent-iterations-of-all-networks). This page, the cards and the sheets are written by\n"
        "`python docs/zoo.py`."
    )
    return "\n\n".join([intro, *([_table(rows)] if files else []), *shown]) + "\n"


def _shell(*lines: str) -> str:
    return "\n".join(("```bash", *lines, "```"))


def _joined(credits: Iterable[Mapping[str, Any]], key: str) -> str:
    texts = list(dict.fromkeys(str(credit.get(key)) for credit in credits))
    return "; ".join(texts) if len(texts) <= 3 else f"{len(texts)}: see the card"


def titles(file: NetworkFile) -> str:
    """Return the works that a network repaints in, as a heading; of many, how many they are."""
    if len(file.metadata.styles) > 3:
        return f"{file.path.stem}: {len(file.metadata.styles)} paintings in one network"
    return " and ".join(str(credit.get("work") or name) for name, credit in file.metadata.styles.items())


def _one_of(styles: Mapping[str, Any]) -> str:
    """Return the setting that chooses one of several styles, which would all be mixed without it."""
    return f" styles={next(iter(styles))}" if len(styles) > 1 else ""


def _painting(credit: Mapping[str, Any]) -> str:
    text = f"*{credit.get('work')}*, {credit.get('artist')}, {credit.get('year')}; in the public domain."
    return f"{text} {credit['note']}" if credit.get("note") else text


def _network(file: NetworkFile, parameters: int) -> Iterator[list[str]]:
    arguments = ", ".join(f"{key} {value}" for key, value in dict(file.network["arguments"]).items())
    yield ["network", f"{_kind(file)} ({arguments}), {parameters:,} parameters"]
    yield ["file", f"[{file.path.name}](../../{file.path.as_posix()}), {len(file.data):,} bytes"]
    yield ["weights", "float16; pictures differ from those of the float32 weights by one level of 255 at most"]
    yield ["SHA-256", f"`{hashlib.sha256(file.data).hexdigest()}`"]
    yield ["license", "[Apache-2.0](../../LICENSE)"]


def _training(config: Mapping[str, Any]) -> Iterator[list[str]]:
    data, trainer, encoder = (_part(config, key) for key in ("data", "trainer", "encoder"))
    kind = str(data.get("_target_")).rpartition(".")[2]
    source = f"photographs: {data['source']}" if data.get("source") else "procedural"
    yield ["pictures", f"{source} (`{kind}`), {data.get('size')}x{data.get('size')} pixels"]
    steps, batch = config.get("steps", trainer.get("max_steps")), config.get("batch_size")
    machines = [trainer.get("num_nodes"), trainer.get("devices")]
    processes = "" if {*machines} <= {1, "auto", None} else " on each of {} x {} devices".format(*machines)
    yield ["steps", f"{steps:,} of {batch} pictures{processes}, in {trainer.get('precision')}"]
    origin = _part(config, "started_from")
    yield ["started from", f"`{origin['network']}` ({', '.join(origin['styles'])})" if origin else "nothing"]
    yield ["loss network", f"{str(encoder.get('architecture')).upper()}, weights `{encoder.get('weights')}`"]
    optimizer = _part(config, "optimizer")
    yield ["optimizer", f"{str(optimizer.get('_target_')).rpartition('.')[2]}, learning rate {optimizer.get('lr')}"]
    for name, style in _part(config, "style").items():
        yield [f"picture of {name}", f"`{style.get('image')}`, seen at a short side of {style.get('size')} pixels"]


def _losses(config: Mapping[str, Any], measured: Mapping[str, float]) -> Iterator[list[str]]:
    yield ["loss", "weight", "layers", "held-out"]
    for name, loss in _part(config, "loss").items():
        layers = loss.get("layers")
        if layers is None and str(loss.get("_target_")).endswith("StyleLoss"):
            # Those that each style asks for; said once if they ask for the same.
            asked = [_layers(style.get("layers")) for style in _part(config, "style").values()]
            layers = "; ".join(dict.fromkeys(asked))
        yield [name, f"{loss.get('weight'):g}", _layers(layers), _number(measured.get(f"heldout/{name}"))]
    yield ["total", "", "", _number(measured.get("heldout/total"))]


def _stillness(stillness: Mapping[str, Mapping[str, float]]) -> Iterator[list[str]]:
    yield ["style", "camera stands still", "ten frames apart", "camera moves", "ten frames apart"]
    for style, found in stillness.items():
        keys = ("still_camera", "still_camera_10", "moving_camera", "moving_camera_10")
        yield [style, *(f"{found[key]:.1f}" for key in keys)]


def _judged(name: str, report: Mapping[str, Any]) -> Iterator[str]:
    """Yield the blocks that say how slow style transfer and the measures of faults judge a network."""
    for column in report["columns"]:
        style = column["style"]["name"]
        if column["kind"] != "network" or column["name"] not in (name, f"{name}: {style}"):
            continue
        summary, yardstick = column["summary"], report["yardstick"]
        yield "## Judged" if column["name"] == name else f"## Judged in the style {style}"
        yield (
            f"By `scripts/evaluate.py` on {len(column['pictures'])} photographs: the median, and the quartiles in "
            f"brackets. Losses are compared at a short side of {yardstick['size']} pixels with {yardstick['steps']} "
            "steps of slow style transfer."
        )
        yield _table(
            [
                ["measure", "value"],
                ["equivalent iterations", _spread(summary["equivalent_iterations"])],
                ["loss over that of slow style transfer", _spread(summary["ratio"])],
            ]
        )
        sizes = list(summary["sizes"])
        rows = [["fault", *(f"at {size} pixels" for size in sizes), "visible above"]]
        for fault, visible in report["visible_above"].items():
            found = [_spread(summary["sizes"][size]["faults"][fault]) for size in sizes]
            rows.append([FAULTS.get(fault, fault), *found, f"{visible:g}"])
        yield _table(rows)


def _limits(config: Mapping[str, Any]) -> str:
    sizes = sorted({style.get("size") for style in _part(config, "style").values()})
    return (
        "\n- Strokes have a fixed size in pixels, from a painting with a short side of "
        f"{' and '.join(map(str, sizes))} pixels.\n"
        "  They look small in a large photograph: `size=1024` reduces it.\n"
        "- Frames of a video are painted one by one, so strokes can flicker: `temporal` reduces it.\n"
    )


def _heldout(config: Mapping[str, Any]) -> str:
    heldout = _part(config, "heldout")
    images = heldout.get("images")
    names = images if isinstance(images, list) else [images]
    which = ", ".join(map(str, names)) if images else "four photographs that scikit-image ships, those above"
    return f"{which}, at a short side of {heldout.get('size')} pixels"


def _table(rows: Sequence[Sequence[str]] | Iterator[list[str]]) -> str:
    headings, *others = rows
    if len(headings) == 2 and headings[0] != "measure":
        headings, others = ["", ""], [headings, *others]
    lines = [headings, ["---"] * len(headings), *others]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _part(config: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    part = config.get(key)
    return part if isinstance(part, Mapping) else {}


def _kind(file: NetworkFile) -> str:
    return f"`{file.network['class']}`"


def _layers(layers: Any) -> str:
    if isinstance(layers, Mapping):
        same = len({*layers.values()}) == 1
        return ", ".join(layer if same and weight == 1 else f"{layer} {weight:g}" for layer, weight in layers.items())
    return ", ".join(layers) if isinstance(layers, list) else str(layers or "")


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, int | float) else ""


def _spread(quartiles: Mapping[str, float | None]) -> str:
    # What is infinite has no place in JSON: more steps than were made.
    low, median, high = (quartiles[key] for key in ("low", "median", "high"))
    return "{} ({} to {})".format(*("more" if value is None else f"{value:.3g}" for value in (median, low, high)))


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
