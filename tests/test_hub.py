"""Models over real HTTP to a stand-in of the Hub, and directories that mean harm."""

import contextlib
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import torch
from ruamel.yaml import YAML

from made_up import make_output
from mcstl._support.errors import InputError
from mcstl.data.annotations import Annotations
from mcstl.data.labels import Task
from mcstl.encoding.encoders import load_encoder
from mcstl.groups import AttributesConfig, fit_scheme
from mcstl.models.model import Model
from mcstl.models.model_directory import FILES
from mcstl.models.networks import Network
from mcstl.studies import model_card as card
from standin_hub import serving
from test_model import TEXTS, made
from tiny import Finished

CHILD = """
import sys
import numpy as np
from mcstl import Model

model = Model.load(sys.argv[1])
print("pushed", model.push_to_hub("somebody/town", private=True, token="hf_test"))
again = Model.from_pretrained("somebody/town")
texts = ["The library opens at nine.", "The bus is late again."]
views = [[name] for name in model.group_names]
same = np.array_equal(model.predict_proba(texts, views), again.predict_proba(texts, views))
print("same", same, "card", again.model_card == model.model_card)
for name in ("somebody/nothing", "../town", "somebody"):
    try:
        Model.from_pretrained(name)
    except ValueError as error:
        print("refused", name, type(error).__name__, error)
try:
    model.push_to_hub("somebody/town", token="hf_wrong")
except ValueError as error:
    print("refused push", type(error).__name__, error)
"""


@pytest.fixture(scope="module")
def model(cache: Path) -> Model:
    return made("ordinal", load_encoder(cache_dir=cache))


@pytest.fixture
def folder(model: Model, tmp_path: Path) -> Path:
    model.save(tmp_path / "model")
    return tmp_path / "model"


def test_a_model_goes_to_the_hub_and_comes_back(folder: Path, tmp_path: Path) -> None:
    with serving() as hub:
        environment = {
            **os.environ,
            "HF_ENDPOINT": hub.address,
            "HF_HOME": str(tmp_path / "hf"),
            "HF_HUB_DISABLE_XET": "1",  # its server cannot stand in here; LFS is the other way
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }
        environment.pop("HF_HUB_OFFLINE", None)
        done = subprocess.run(
            [sys.executable, "-c", CHILD, str(folder)],
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
            env=environment,
            cwd=tmp_path,
        )
        assert done.returncode == 0, done.stderr
        lines = done.stdout.splitlines()
        assert lines[0].startswith(f"pushed {hub.address}/somebody/town/commit/")
        assert lines[1] == "same True card True"
        assert lines[2].startswith("refused somebody/nothing InputError model 'somebody/nothing'")
        assert "is no folder and no name as owner/model" in lines[3]
        assert "is no folder and no name as owner/model" in lines[4]
        assert lines[5].startswith("refused push InputError the model cannot be pushed")
        held = hub.repositories["somebody/town"]
        assert held.keys() == {*FILES}
        for name in FILES:
            assert held[name] == (folder / name).read_bytes()
        assert any(request.startswith("PUT /lfs/") for request in hub.requests)


def test_a_repository_gives_nothing_but_the_three_files(folder: Path, tmp_path: Path) -> None:
    """A pickle, code or anything else beside them is not even downloaded."""
    code = "import sys; from mcstl import Model; Model.from_pretrained('somebody/town')"
    with serving() as hub:
        hub.repositories["somebody/town"] = {
            **{name: (folder / name).read_bytes() for name in FILES},
            "pytorch_model.bin": _bomb(tmp_path),
            "modeling_evil.py": b"raise SystemExit(3)",
        }
        environment = {
            **os.environ,
            "HF_ENDPOINT": hub.address,
            "HF_HOME": str(tmp_path / "hf"),
            "HF_HUB_DISABLE_XET": "1",
        }
        environment.pop("HF_HUB_OFFLINE", None)
        subprocess.run([sys.executable, "-c", code], check=True, timeout=300, env=environment)
        asked = " ".join(hub.requests)
    assert "config.json" in asked
    assert "pytorch_model" not in asked
    assert "evil" not in asked
    assert not (tmp_path / "ran").exists()


def test_saved_and_read_as_pretrained(model: Model, folder: Path, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path / "copy")
    again = Model.from_pretrained(tmp_path / "copy", encoder=model.encoder)
    np.testing.assert_array_equal(model.predict_proba(TEXTS), again.predict_proba(TEXTS))
    for name in FILES:
        assert (tmp_path / "copy" / name).read_bytes() == (folder / name).read_bytes()


@pytest.mark.parametrize("task", ["binary", "ordinal", "preference"])
def test_the_card_tells_what_the_report_tells(tmp_path: Path, task: Task) -> None:
    make_output(tmp_path, task=task, with_audit=True)
    results = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    results["controls"] = [
        {"check": "same text", "value": 0.5, "unit": "share", "fires": True, "said": "It leaks."}
    ]
    told = card.of_study(results)
    head = YAML(typ="safe").load(told.split("---\n")[1])
    assert head["library_name"] == "mcstl"
    assert head["base_model"] == "sentence-transformers/all-MiniLM-L6-v2"
    score = "accuracy" if task == "preference" else "auc"
    found = results["summary"]["mc-stl"][score]
    listed = head["model-index"][0]["results"][0]["metrics"]
    values = {each["type"]: each["value"] for each in listed}
    assert values[score] == round(found["mean"], 4)
    assert f"[{found['low']:.3f}, {found['high']:.3f}]" in told
    for words in (
        "Split by annotation",
        "3 times with different seeds",
        "- It leaks.",
        "**fires**",
    ):
        assert words in told
    for group in results["groups"]:
        people = "fewer than 5" if group["annotators"] < 5 else f"{group['annotators']}"
        assert f"| {group['name']} | {group['size']:,} | {people} |" in told
    for method in results["summary"]:
        assert f"| {method} | " in told


def test_a_card_is_no_place_for_html_or_another_table(tmp_path: Path) -> None:
    make_output(tmp_path, groups=["a|b", "<script>alert(1)</script>", "[x](http://y)"], name="*n*")
    told = card.of_study(json.loads((tmp_path / "results.json").read_text(encoding="utf-8")))
    assert "<script" not in told.split("```")[2]
    assert r"| a\|b |" in told
    assert r"\[x\](http://y)" in told
    assert r"# \*n\*" in told


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        ({"epochs": 9, "learning_rate": 0.003}, "epochs 9, learning rate 0.003"),
        (
            {"network": {"dropout": 0.5}, "weight": 0.25},
            "network: dropout 0.5; weight 0.25",
        ),
    ],
)
def test_a_card_names_recipes_of_numbers_and_of_networks(
    recipe: dict[str, Any], words: str, tmp_path: Path
) -> None:
    make_output(tmp_path, groups=["a", "b"], name="n")
    results = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    results["study"]["made_with"]["recipes"] = {"best": {"0": recipe}}
    assert words in card.of_study(results)


def test_a_study_puts_its_card_into_the_model(finished: Callable[[Task], Finished]) -> None:
    folder = finished("ordinal").folder / "model"
    told = (folder / "README.md").read_text(encoding="utf-8")
    assert "## Could it be a leak?" in told
    assert Model.load(folder).model_card == told


def test_a_model_that_nobody_measured_says_so(folder: Path) -> None:
    told = (folder / "README.md").read_text(encoding="utf-8")
    assert "It has not been measured" in told
    assert "perspectives=[['Comfort']]" in told


# What means harm. -------------------------------------------------------------------------------


class _Bomb:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


def _bomb(tmp_path: Path) -> bytes:
    return pickle.dumps(_Bomb(tmp_path / "ran"))


def refusal(folder: Path) -> str:
    with pytest.raises(InputError) as caught:
        Model.load(folder)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 600
    assert str(folder) in message
    return message


def test_a_pickle_under_another_name_is_not_unpickled(folder: Path, tmp_path: Path) -> None:
    pickle.loads(_bomb(tmp_path))  # it would
    (tmp_path / "ran").unlink()
    for name in ("model.safetensors", "config.json"):
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(_bomb(tmp_path))
        refusal(folder)
        torch.save({"network.v": _Bomb(tmp_path / "ran")}, folder / name)
        refusal(folder)
        (folder / name).write_bytes(whole)
    (folder / "model.pkl").write_bytes(_bomb(tmp_path))  # beside them it is not looked at
    Model.load(folder)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", FILES)
def test_what_would_never_end_is_not_read(folder: Path, name: str) -> None:
    (folder / name).unlink()
    os.mkfifo(folder / name)
    assert "no file" in refusal(folder)
    (folder / name).unlink()
    (folder / name).symlink_to("/dev/zero")
    assert "no file" in refusal(folder)
    (folder / name).unlink()
    (folder / name).mkdir()
    assert "no file" in refusal(folder)


def test_a_link_to_somebody_elses_file_tells_nothing_of_it(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text('{"password": "swordfish"}')
    for name in ("config.json", "model.safetensors"):
        whole = (folder / name).read_bytes()
        (folder / name).unlink()
        (folder / name).symlink_to(tmp_path / "secret")
        assert "swordfish" not in refusal(folder)
        (folder / name).unlink()
        (folder / name).write_bytes(whole)


def test_a_file_too_large_to_be_ours_is_not_read(folder: Path) -> None:
    with (folder / "config.json").open("r+b") as file:
        file.truncate(2**40)  # sparse: it takes no room
    assert "larger than" in refusal(folder)


def test_huge_declared_tensors_take_no_memory(folder: Path) -> None:
    """In the file's head, and in config.json: 4 PiB either way."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    for key in ("hidden", "dimension", "n_groups"):
        for size in (2**40, 10**30, -1, 0, 2.5):
            spoilt = {**config, "network": {**config["network"], key: size}}
            (folder / "config.json").write_text(json.dumps(spoilt), encoding="utf-8")
            refusal(folder)
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    head = {"network.v": {"dtype": "F32", "shape": [2**50], "data_offsets": [0, 2**52]}}
    text = json.dumps(head).encode()
    (folder / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text)
    assert "cannot be read" in refusal(folder)
    (folder / "model.safetensors").write_bytes((2**62).to_bytes(8, "little") + text)
    assert "cannot be read" in refusal(folder)


def test_json_without_an_end_of_brackets(folder: Path) -> None:
    for text in ("[" * 200_000, '{"schema": 1, "scheme": ' + '{"a":' * 200_000):
        (folder / "config.json").write_text(text)
        assert "not the config" in refusal(folder)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64, torch.int32, torch.bool])
def test_numbers_of_another_type(folder: Path, dtype: torch.dtype) -> None:
    tensors = safetensors.torch.load_file(folder / "model.safetensors")
    tensors = {name: tensor.clone() for name, tensor in tensors.items()}
    tensors["network.v"] = tensors["network.v"].to(dtype)
    safetensors.torch.save_file(tensors, folder / "model.safetensors")
    assert "numbers of the type" in refusal(folder)


def test_names_that_are_none(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    groups = config["scheme"]["groups"]
    for spoilt in (
        {**config, "classes": "abc"},
        {**config, "classes": [config["classes"][0]] * len(config["classes"])},
        {**config, "classes": [["x"], 1, None]},
        {**config, "scheme": {**config["scheme"], "groups": [{**g, "name": "x"} for g in groups]}},
        {**config, "scheme": {**config["scheme"], "groups": [{**g, "name": [1]} for g in groups]}},
    ):
        (folder / "config.json").write_text(json.dumps(spoilt), encoding="utf-8")
        assert "not distinct names" in refusal(folder)


def test_bytes_flipped_anywhere_load_or_are_refused(folder: Path) -> None:
    """500 files with up to four bytes changed each: a model of finite numbers, or one line."""
    random = np.random.default_rng(3)
    for name in ("config.json", "model.safetensors"):
        whole = (folder / name).read_bytes()
        reach = min(len(whole), 4000)  # the head of the tensors is where structure is
        for _ in range(250):
            spoilt = bytearray(whole)
            for _ in range(random.integers(1, 5)):
                spoilt[random.integers(reach)] = random.integers(256)
            (folder / name).write_bytes(bytes(spoilt))
            with contextlib.suppress(InputError):
                assert np.isfinite(Model.load(folder).predict_proba(TEXTS)).all()
        (folder / name).write_bytes(whole)


def test_an_encoder_that_brings_code_is_not_run(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """modules.json may name any class that can be imported."""
    (tmp_path / "evil_module.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    monkeypatch.syspath_prepend(tmp_path)
    encoder = tmp_path / "encoder"
    encoder.mkdir()
    modules = [{"idx": 0, "name": "0", "path": "", "type": "evil_module.Transformer"}]
    (encoder / "modules.json").write_text(json.dumps(modules))
    theirs = load_encoder(str(encoder), cache_dir=tmp_path)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config["encoder"] = {"name": str(encoder), "fingerprint": theirs.fingerprint}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    loaded = Model.load(folder)
    with pytest.raises(InputError, match=r"code of its own \(evil_module.Transformer\)"):
        loaded.predict_proba(TEXTS)
    assert not (tmp_path / "ran").exists()


def test_a_group_of_few_people_is_not_pushed_unless_asked_for(cache: Path) -> None:
    table = pd.DataFrame(
        {
            "text": TEXTS * 4,
            "label": [0, 1] * 10,
            "annotator": [f"p{i % 10}" for i in range(20)],
            "gender": ["Rare" if i % 10 < 3 else "Often" for i in range(20)],
        }
    )
    data = Annotations.from_frame(table)
    scheme = fit_scheme(AttributesConfig(min_size=1), data)
    encoder = load_encoder(cache_dir=cache)
    model = replace(made("binary", encoder), scheme=scheme, network=Network(384, 2, 1).eval())
    assert model.groups_of_few == ("gender=Rare",)
    with pytest.raises(InputError, match=r"fewer than five people.*gender=Rare.*min_annotators: 5"):
        model.push_to_hub("somebody/town")
