import csv
import re
import subprocess
import sys
from collections import Counter

import pytest

from senet.weights import catalogue
from senet.weights.catalogue import DEFAULT_TAGS, default_tag, entries, find, matching

SOURCES = {"timm": 31, "pytorchcv": 132, "caffe": 7}


def test_every_row_of_the_tables_is_an_entry(repo):
    assert Counter(entry.source for entry in entries().values()) == SOURCES
    for source, rows in SOURCES.items():
        with (repo / "senet" / "weights" / f"{source}.csv").open(encoding="utf-8") as file:
            read = list(csv.DictReader(file))
        assert len(read) == rows
        tags = {
            f"{source}/{row['architecture']}" + (f".{row['tag']}" if "tag" in row else "") for row in read
        }
        assert tags == {entry.tag for entry in matching(f"{source}/*")}


def test_what_can_be_downloaded():
    found = entries().values()
    assert sum(entry.hf_repo is not None for entry in found) == 22
    assert sum(entry.url is not None for entry in found) == 26 + 104
    assert sum(entry.downloadable for entry in found) == 31 + 104
    assert sum(entry.published for entry in found) == 31 + 104 + 7
    unpublished = [entry for entry in found if not entry.published]
    assert len(unpublished) == 28
    assert {entry.source for entry in unpublished} == {"pytorchcv"}
    assert all(entry.hash is entry.top1_error is entry.top5_error is None for entry in unpublished)


def test_every_entry_says_all_there_is_to_know():
    for tag, entry in entries().items():
        assert tag == entry.tag
        assert tag.startswith(f"{entry.source}/{entry.architecture}")
        assert entry.licence in ("Apache-2.0", "MIT")
        assert entry.origin.startswith("https://")
        assert entry.classes in (10, 100, 1000, 11821)
        assert 1e5 < entry.parameters < 2e8
        assert entry.interpolation in ("bilinear", "bicubic")
        assert entry.resize >= entry.image_size
        assert all(0 < value < 255 for value in (*entry.mean, *entry.std))
        assert entry.url is None or entry.hash is not None
        assert entry.hash is None or re.fullmatch(r"sha256:[0-9a-f]{8,9}|sha1:[0-9a-f]{40}", entry.hash)
        if entry.published and entry.dataset != "imagenet-12k":
            assert 2 < entry.top1_error < 40
            assert (entry.top5_error is None) == (entry.classes != 1000)
            assert entry.top5_error is None or entry.top5_error < entry.top1_error
        assert (entry.test_image_size is None) == (entry.test_crop_pct is None)


def test_file_names_are_unlike_within_a_source():
    names = [(entry.source, entry.file_name) for entry in entries().values() if entry.published]
    assert len(set(names)) == len(names)
    assert find("timm/seresnet50.ra2_in1k").file_name == "seresnet50.ra2_in1k.safetensors"
    assert find("timm/legacy_seresnet50.in1k").file_name == "se_resnet50-ce0d4300.pth"
    assert find("pytorchcv/resnet18").download_name == "resnet18-0896-77a56f15.pth.zip"
    assert find("pytorchcv/resnet18").file_name == "resnet18-0896-77a56f15.pth"
    assert find("caffe/SE-ResNeXt-50").file_name == "SE-ResNeXt-50.caffemodel"


def test_published_hashes_agree_with_the_names_of_their_files():
    for entry in entries().values():
        if entry.url is not None:
            assert entry.hash.partition(":")[2][:8] in entry.url
    assert find("timm/legacy_seresnext26_32x4d.in1k").hash == "sha256:65ebdb501"  # nine digits, the only one
    assert find("pytorchcv/bn_vgg16").hash == "sha1:0f570b928b180f909fa39df3924f89c746816722"


def test_errors_are_the_published_ones():
    official = {entry.architecture: (entry.top1_error, entry.top5_error) for entry in matching("caffe/*")}
    assert official == {
        "SE-BN-Inception": (23.62, 7.04),
        "SE-ResNet-50": (22.37, 6.36),
        "SE-ResNet-101": (21.75, 5.72),
        "SE-ResNet-152": (21.34, 5.54),
        "SE-ResNeXt-50": (20.97, 5.54),
        "SE-ResNeXt-101": (19.81, 4.96),
        "SENet-154": (18.68, 4.47),
    }
    timm = find("timm/seresnet50.ra2_in1k")  # published as 80.260, 95.068; at 288: 81.288, 95.652
    assert (timm.top1_error, timm.top5_error) == (19.74, 4.932)
    assert (timm.test_top1_error, timm.test_top5_error) == (18.712, 4.348)
    assert (find("pytorchcv/seresnet50").top1_error, find("pytorchcv/seresnet50").top5_error) == (21.22, 5.75)
    assert find("pytorchcv/seresnet20_cifar100").top1_error == 28.54
    assert find("pytorchcv/seresnet20_svhn").top1_error == 3.23
    assert find("timm/seresnextaa101d_32x8d.sw_in12k").top1_error is None


@pytest.mark.parametrize(
    ("tag", "resize", "crop", "interpolation"),
    [
        ("timm/legacy_seresnet18.in1k", 256, 224, "bicubic"),
        ("timm/seresnet50.a3_in1k", 168, 160, "bicubic"),
        ("timm/seresnet33ts.ra2_in1k", 284, 256, "bicubic"),
        ("timm/seresnextaa201d_32x8d.sw_in12k_ft_in1k_384", 384, 384, "bicubic"),
        ("pytorchcv/resnet50", 256, 224, "bilinear"),
        ("pytorchcv/inceptionresnetv2", 342, 299, "bilinear"),
        ("pytorchcv/seresnet20_cifar10", 32, 32, "bilinear"),
        ("caffe/SENet-154", 256, 224, "bilinear"),
    ],
)
def test_the_input_is_the_one_of_the_authors(tag, resize, crop, interpolation):
    entry = find(tag)
    assert (entry.resize, entry.image_size, entry.interpolation) == (resize, crop, interpolation)
    step = entry.preprocess
    assert (step.resize, step.crop, step.filter) == (resize, crop, interpolation)
    assert (step.mean, step.std) == (entry.mean, entry.std)


def test_statistics_are_those_of_bytes():
    assert find("timm/seresnet50.a1_in1k").mean == pytest.approx((123.675, 116.28, 103.53))
    assert find("pytorchcv/resnet50").std == pytest.approx((58.395, 57.12, 57.375))
    assert find("caffe/SE-ResNet-50").mean == (123.0, 117.0, 104.0)
    assert find("caffe/SE-ResNet-50").std == (1.0, 1.0, 1.0)
    for dataset in ("cifar10", "cifar100", "svhn"):
        entry = find(f"pytorchcv/seresnet20_{dataset}")
        assert entry.mean == pytest.approx((125.307, 122.961, 113.8575))
        assert entry.std == pytest.approx((51.5865, 50.847, 51.255))


def test_the_larger_input_of_timm_is_known_too():
    step = find("timm/seresnet50.ra2_in1k").test_preprocess
    assert (step.resize, step.crop) == (303, 288)
    assert find("timm/legacy_seresnet50.in1k").test_preprocess is None


def test_datasets_and_classes():
    assert Counter((entry.dataset, entry.classes) for entry in entries().values()) == {
        ("imagenet-1k", 1000): 29 + 59 + 7,
        ("imagenet-12k", 11821): 2,
        ("cifar-10", 10): 27,
        ("cifar-100", 100): 27,
        ("svhn", 10): 19,
    }


@pytest.mark.parametrize(
    ("tag", "hint"),
    [
        ("seresnet50.ra2_in1k", "timm/seresnet50.ra2_in1k"),
        ("timm/seresnet50", "timm/seresnet50.a1_in1k"),
        ("timm/seresnet50.ra3_in1k", "timm/seresnet50.ra2_in1k"),
        ("caffe/se-resnet-50", "caffe/SE-ResNet-50"),
        ("mobilenet", "pytorchcv/mobilenet_w1"),
    ],
)
def test_an_unknown_tag_is_answered_with_near_ones(tag, hint):
    with pytest.raises(ValueError, match=f"Received: {tag!r}.*{re.escape(hint)}"):
        find(tag)


def test_an_unknown_tag_far_from_all_others():
    with pytest.raises(ValueError, match=r"senet list --weights.*Received: 'zzzz'\.$"):
        find("zzzz")


def test_patterns_select_tags():
    assert [entry.tag for entry in matching("timm/seresnet50.*")] == [
        f"timm/seresnet50.{name}_in1k" for name in ("a1", "a2", "a3", "ra2")
    ]
    assert matching("TIMM/*") == []
    assert len(matching()) == 170


def test_default_tags_are_published_imagenet_weights():
    for model, tag in DEFAULT_TAGS.items():
        assert default_tag(model) == tag
        assert find(tag).published
        assert (find(tag).dataset, find(tag).classes) == ("imagenet-1k", 1000)
    with pytest.raises(ValueError, match="no default ImageNet weights for 'se_resnet_20_cifar'"):
        default_tag("se_resnet_20_cifar")


def test_the_catalogue_needs_no_engine_and_no_network_library(repo):
    script = (
        "import sys, types; package = types.ModuleType('senet'); "
        f"package.__path__ = [{str(repo / 'senet')!r}]; sys.modules['senet'] = package; "
        "from senet.weights import catalogue; catalogue.entries(); "
        "print(*sorted({'keras', 'numpy', 'requests', 'huggingface_hub'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_entries_are_read_once():
    assert catalogue.entries() is catalogue.entries()


def test_timm_rows_agree_with_its_own_way_of_writing_them(repo):
    from senet.data.preprocess import Preprocess

    with (repo / "senet" / "weights" / "timm.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            assert find(f"timm/{row['architecture']}.{row['tag']}").preprocess == Preprocess.timm(
                size=int(row["input_size"]),
                crop_pct=float(row["crop_pct"]),
                interpolation=row["interpolation"],
                mean=tuple(map(float, row["mean"].split())),
                std=tuple(map(float, row["std"].split())),
            )
