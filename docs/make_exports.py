"""Write docs/exports.md from benchmarks/results/exports.json.

python docs/make_exports.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from senet.bench.report import markdown_table
from senet.files import read_json, write_text

PAGE = Path(__file__).with_name("exports.md")
RESULT = PAGE.parents[1] / "benchmarks" / "results" / "exports.json"

TEXT = """# Exports

Written by `python docs/make_exports.py` from `benchmarks/results/exports.json`.

## In short

```sh
pip install 'senet[export]'
senet export timm/seresnet50.ra2_in1k net.onnx                       # ONNX, float32, any batch
senet export runs/mine net.xml --precision int8 --calibration photos # OpenVINO, 8 bits
senet export mine.keras net.tflite --batch 1 --image-size 224        # LiteRT
senet predict photos --exported net.onnx                             # the same answers
camera | senet predict --exported net.xml --stdin frames             # a JSON line a frame, as it comes
```

```python
report = senet.export(model, "net.onnx", bake_preprocess=True, labels=names)
report.relative_difference, report.top1_agreement, report.latency.median_ms

from senet.deploy.runtimes import open_runtime

predictor = open_runtime("net.onnx")  # verified: a changed file is refused
predictor.predict(images)  # (N, H, W, 3) float32 to (N, classes)
senet.predict(predictor, ["cat.jpg"])  # labels and preprocessing come from the file
```

## What is written

| format | file | comes from | runs in | precisions |
| --- | --- | --- | --- | --- |
| `onnx` | `.onnx` | the layers, on any engine | ONNX Runtime | float32, float16, int8 |
| `openvino` | `.xml` and `.bin` | the ONNX form, on any engine | OpenVINO | float32, float16, int8 |
| `litert` | `.tflite` | TensorFlow, which must be the engine | LiteRT | float32, float16, int8 |
| `tf_saved_model` | a folder | TensorFlow, which must be the engine | TensorFlow | float32 |

- A network is exported as `senet.optimize_for_inference` makes it, unless `optimize=False`.
- **ONNX is written layer by layer**, with the layers' names: one rule a kind of layer, no tracing. The image goes in
  as Keras has it, (N, H, W, C); one transpose follows, and grouped convolutions are one `Conv` with `group`. A layer
  without a rule is named; a SavedModel takes any model.
- **float16** keeps the weights in half precision, half the size; the runtime widens them when it loads the file.
- **int8** is calibrated on images that you give (100 or more of those the network will see). Three things stay in float32
  because they are little work, and the answers keep better: the gates of SE blocks with the product and sum that they enter, the
  first convolution, and the classifier. In ONNX and OpenVINO weights have a scale a channel and 7 bits, which processors
  without VNNI add without saturation, and the ranges of small images are means over groups. In LiteRT its converter does the rest.
  [How often trained networks then answer the same](performance.md#eight-bits-and-right-answers).
- OpenVINO is asked for float32: left to itself it computes in bfloat16 where the processor can, with errors of some
  percent.
- **Metadata** in each file: labels, preprocessing, whether normalisation is baked in, the network's name, precision,
  version, and a SHA-256 of the content. ONNX: `metadata_props`, keys `senet` and `senet_sha256`. OpenVINO: `rt_info`.
  LiteRT: `labels.txt` and `senet.json` in a zip archive behind the model, where LiteRT keeps associated files.
  SavedModel: `assets.extra/senet.json`.
- Without `batch` any number of images is taken, without `image_size` what the Keras model takes. Fixed sizes are
  faster in OpenVINO and LiteRT.

## The check

After each export the file is opened in its own runtime and asked about images: yours (`samples`), the calibration
images, or eight generated ones; the report says which. It must not differ by more than 1e-4 of the largest answer
(float32) or 2e-2 (float16); in int8 the likeliest class must be the same for 90 % (`min_agreement`). Else nothing is
written. The report lies beside the file (`net.onnx.json`), in a SavedModel in `assets.extra/report.json`.

A network with random weights can miss these limits on images unlike those its BatchNorm has seen: rounding then grows
from layer to layer. Give `samples` like its training images.

## Streams

`senet predict --stdin paths` reads a path a line, `--stdin frames` image files (JPEG, PNG, …), each after its length
in 4 bytes, the highest first. Each is answered by a line of JSON before the next is read. One that cannot be read has
its `error` there, and stops nothing; a stream that ends within a frame ends the command with exit code 1.

## Measured

{count} images ({kind}, {size}×{size}), compared on the first half; int8 calibrated on the rest. Weights: {weights}.
Differences are the largest over the largest answer; latency is the median of a call on one image, with its quartiles.
The likeliest class of a network with random weights hangs by little, so its agreement in int8 says little. Low-priority
work shared the machine while the int8 rows and SENet-154 were measured: their latencies are indicative.
Made by `python benchmarks/exports.py --images FOLDER` on {processor}, {cores} cores; the last call, which measured some rows
again and kept the others, was `{command}`.

{table}
"""


def page() -> str:
    """The page as text."""
    result = read_json(RESULT)
    machine = result["environment"]["machine"]
    columns = (
        "Network",
        "Format",
        "Precision",
        "Relative difference",
        "Top-1 agreement",
        "Size, MB",
        "Latency, ms",
    )
    return TEXT.format(
        **result["images"],
        weights=result["weights"],
        command=command(result["environment"]["command"]),
        processor=machine["processor"],
        cores=machine["cores"],
        table="\n".join(markdown_table(columns, [row(each) for each in result["rows"]])),
    )


def command(words: list[str]) -> str:
    """The benchmark's command, without the folders of the machine it ran on."""
    shown = [Path(word).name if word.startswith("/") else word for word in words[1:]]
    return " ".join(["python", "benchmarks/exports.py", *shown])


def row(found: dict[str, Any]) -> list[str]:
    """One line of the table."""
    name = [found["network"], found["format"], found["precision"]]
    report = found.get("report")
    if report is None:
        return [*name, f"refused: {found['error']}", "", "", ""]
    low, high = report["latency"]["quartiles_ms"]
    return [
        *name,
        f"{report['relative_difference']:.1e}",
        f"{report['top1_agreement']:.1%}",
        f"{report['size_bytes'] / 1e6:,.1f}",
        f"{report['latency']['median_ms']:,.1f} ({low:,.1f} to {high:,.1f})",
    ]


if __name__ == "__main__":
    write_text(PAGE, page())
