"""The study file: what is read, what is refused, and in which words."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mcstl._support.errors import InputError
from mcstl._support.files import read_yaml, write_yaml
from mcstl.data.annotations import Annotations
from mcstl.data.parts import readable
from mcstl.encoding.finetuning import EncoderConfig
from mcstl.groups import (
    AttributesConfig,
    CombineConfig,
    GroupsConfig,
    IntersectConfig,
    NoGroupsConfig,
    RationaleConfig,
    TaxonomyConfig,
)
from mcstl.methods.base import MethodConfig
from mcstl.methods.irpm import IrpmConfig
from mcstl.models.training import TrainingConfig
from mcstl.studies.study_file import (
    Study,
    groups_config,
    reads_rationales,
)

SIMULATED = "data: {dataset: simulated, annotations: 400}\n"
TABLE = "text,label,verdict,region\nA bench,Yes,1,North\nA pond,No,2,South\nA wall,Yes,3,North\n"


def study_of(folder: Path, text: str, **options: Any) -> Study:
    path = folder / "town.yaml"
    path.write_text(text, encoding="utf-8")
    return Study.read(path, **options)


def said_about(folder: Path, text: str) -> str:
    """What is said about a wrong study: always one line that starts with the file's name."""
    with pytest.raises(InputError) as caught:
        study_of(folder, text)
    said = str(caught.value)
    assert "\n" not in said
    assert "town.yaml" in said
    return said


# What is read


def test_the_shortest_study_has_three_lines_and_every_default(tmp_path: Path) -> None:
    study = study_of(tmp_path, "data:\n  dataset: simulated\nseeds: 3\n")
    assert study.name == "town"
    assert study.seeds == (0, 1, 2)
    assert [method.title for method in study.methods] == ["best", "mc-stl", "none", "majority"]
    assert (study.split.by, study.split.test, study.split.validation) == ("annotation", 0.2, 0.1)
    assert study.encoder == "all-MiniLM-L6-v2"
    assert study.training == TrainingConfig()
    assert study.groups_for(study.load()) == TaxonomyConfig(source="column")


def test_no_and_yes_stay_text_as_yaml_1_2_has_it(tmp_path: Path) -> None:
    (tmp_path / "town.csv").write_text(TABLE)
    study = study_of(tmp_path, "data: {file: town.csv}\nlabels: {No: [No], Yes: [Yes, on, off]}\n")
    assert study.labels == {"No": ["No"], "Yes": ["Yes", "on", "off"]}
    data = study.load()
    assert data.classes == ("No", "Yes")
    assert data.labels.tolist() == [1, 0, 1]
    assert data.attributes == ("verdict", "region")


def test_classes_may_be_named_by_numbers(tmp_path: Path) -> None:
    (tmp_path / "town.csv").write_text(TABLE)
    text = "data: {file: town.csv, columns: {label: verdict}}\nlabels: {0: [1], 1.5: [2, 3]}\n"
    data = study_of(tmp_path, text).load()
    assert data.classes == ("0", "1.5")
    assert data.labels.tolist() == [0, 1, 1]


def test_seeds_are_a_count_or_a_list(tmp_path: Path) -> None:
    assert study_of(tmp_path, SIMULATED).seeds == (0, 1, 2, 3, 4)
    assert study_of(tmp_path, SIMULATED + "seeds: 1\n").seeds == (0,)
    assert study_of(tmp_path, SIMULATED + "seeds: [7, 3]\n").seeds == (7, 3)


def test_methods_are_names_or_say_what_differs(tmp_path: Path) -> None:
    text = "methods: [mc-stl, gbm, {name: mc-stl, label: without-kl, training: {kl: none}}]\n"
    study = study_of(tmp_path, f"{SIMULATED}training: {{epochs: 3}}\n{text}")
    assert [method.title for method in study.methods] == ["mc-stl", "gbm", "without-kl"]
    assert study.training_of(study.methods[0]) == TrainingConfig(epochs=3)
    assert study.training_of(study.methods[2]) == TrainingConfig(epochs=3, kl="none")


def test_a_data_file_is_meant_relative_to_the_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "deep" / "data").mkdir(parents=True)
    (tmp_path / "deep" / "data" / "town.csv").write_text(TABLE)
    (tmp_path / "deep" / "town.yaml").write_text("data: {file: data/town.csv}\n")
    monkeypatch.chdir(tmp_path)
    assert len(Study.read("deep/town.yaml").load()) == 3
    absolute = tmp_path / "deep" / "data" / "town.csv"
    assert len(study_of(tmp_path, f"data: {{file: {absolute}}}\n").load()) == 3


def test_the_split_can_be_chosen_when_a_study_is_read(tmp_path: Path) -> None:
    text = f"{SIMULATED}split: {{by: annotator, test: 0.3}}\n"
    study = study_of(tmp_path, text, split="item")
    assert (study.split.by, study.split.test) == ("item", 0.3)
    assert study_of(tmp_path, SIMULATED, split="item").split.by == "item"
    with pytest.raises(InputError, match=r"split\.by.*Did you mean 'item'"):
        study_of(tmp_path, SIMULATED, split="itm")


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"values": "a|b", "rationale": "so"}, TaxonomyConfig()),
        ({"rationale": "so", "age": "30"}, RationaleConfig()),
        ({"age": "30"}, AttributesConfig()),
    ],
)
def test_without_groups_a_file_gets_those_that_it_can_have(
    columns: dict[str, str], expected: GroupsConfig
) -> None:
    import pandas as pd

    table = pd.DataFrame({"text": ["a", "b"], "label": [0, 1]} | columns)
    study = Study(data={"file": "town.csv"})
    assert study.groups_for(Annotations.from_frame(table)) == expected


def test_only_groups_by_rationale_need_an_encoder() -> None:
    rationale, taxonomy = RationaleConfig(), TaxonomyConfig()
    nested = IntersectConfig(intersect=(taxonomy, CombineConfig(combine=(rationale,))))
    assert reads_rationales(rationale)
    assert reads_rationales(CombineConfig(combine=(taxonomy, nested)))
    assert not reads_rationales(CombineConfig(combine=(taxonomy, AttributesConfig())))
    assert not reads_rationales(IntersectConfig(intersect=(taxonomy, AttributesConfig())))


def test_an_encoder_and_irpm_say_how_they_are_trained_further(tmp_path: Path) -> None:
    study = study_of(
        tmp_path,
        f"{SIMULATED}encoder: {{name: some/model, fine_tune: 1, truncate: left}}\n"
        "methods: [irpm, {name: irpm, label: long, epochs: 9, recalibrate: platt}, none]\n",
    )
    assert study.encoder == EncoderConfig(name="some/model", fine_tune=1, truncate="left")
    assert study.encoder_name == "some/model"
    assert study.methods[0] == IrpmConfig(model="roberta-base", epochs=3)
    assert [method.title for method in study.methods] == ["irpm", "long", "none"]
    assert Study(**study.model_dump(mode="json")) == study


# What is refused: unknown keys at every level, with the nearest right one


@pytest.mark.parametrize(
    ("text", "where", "nearest"),
    [
        ("dat: {dataset: simulated}", "the study", "data"),
        ("trainin: {epochs: 3}", "the study", "training"),
        ("data: {dataset: simulated, colums: {text: a}}", "data", "columns"),
        ("split: {tset: 0.1}", "split", "test"),
        ("training: {epoch: 3}", "training", "epochs"),
        ("methods: [{nam: mc-stl}]", "methods.0", "name"),
        ("methods: [{name: gbm, lable: x}]", "methods.0", "label"),
        ("methods: [{name: mc-stl, training: {hiden: 3}}]", "methods.mc-stl.training", "hidden"),
        ("methods: [{name: irpm, modle: x}]", "methods.0", "model"),
        ("methods: [{name: irpm, training: {epochs: 1}}]", "methods.0", ""),
        ("encoder: {name: x, poolin: cls}", "encoder", "pooling"),
        ("groups: {by: attributes, min_sise: 3}", "groups", "min_size"),
        ("groups: {by: taxonomy, taxonmy: x}", "groups", "taxonomy"),
        ("groups: {by: rationale, side_neutrl: true}", "groups", "side_neutral"),
        ("groups: {combine: [{by: taxonomy}], combin: 1}", "groups", "combine"),
        ("groups: {combine: [{by: taxonomy, sorce: x}]}", "groups.combine.0", "source"),
        (
            "groups: {combine: [{by: taxonomy}, {intersect: [{by: attributes, crosed: true}, "
            "{by: taxonomy}]}]}",
            "groups.combine.1.intersect.0",
            "crossed",
        ),
    ],
)
def test_an_unknown_key_is_told_with_its_place_and_the_nearest_right_one(
    text: str, where: str, nearest: str, tmp_path: Path
) -> None:
    whole = text if text.startswith("data") else f"{SIMULATED}{text}\n"
    said = said_about(tmp_path, whole)
    assert said.startswith(f"town.yaml: {where}: unknown key ")
    assert said.endswith(f"Did you mean {nearest!r}?" if nearest else ".")


def test_what_a_run_writes_into_its_study_is_not_offered(tmp_path: Path) -> None:
    said = said_about(tmp_path, f"{SIMULATED}made_wit: 1\n")
    assert "made_with" not in said


# What is refused: wrong types and values


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("split: item", "split: Input should be keys with values"),
        ("split: {test: 1.5}", "split.test: Input should be less than 1 (got 1.5)"),
        ("split: {validation: 0}", "split.validation: Input should be greater than 0"),
        ("task: ordnal", "'multilabel' (got 'ordnal'). Did you mean 'ordinal'?"),
        ("split: {by: annotatr}", "Did you mean 'annotator'?"),
        ("methods: [mcstl]", "methods.0.name: Input should be 'mc-stl', "),
        ("methods: [mcstl]", "Did you mean 'mc-stl'?"),
        ("methods: mc-stl", "methods: Input should be a list (got 'mc-stl')"),
        ("methods: []", "methods: give one or more of mc-stl, multilevel, best"),
        ("methods: [gbm, gbm]", "methods: gbm is there twice; give each its own label"),
        ("methods: [none, {name: gbm, label: none}]", "methods: none is there twice"),
        ("methods: [{name: mc-stl, training: {epochs: x}}]", "methods.mc-stl.training.epochs: "),
        ("training: {epochs: three}", "training.epochs: Input should be a valid integer"),
        ("training: {epochs: 0}", "training.epochs: Input should be greater than or equal to 1"),
        (
            "training: {lambda_1: papr}",
            "training.lambda_1: Input should be 'paper' or 'per-item' or",
        ),
        ("training: {lambda_1: -1}", "or 'per-item' or greater than or equal to 0 (got -1)"),
        ("training: {kl: papr}", "training.kl: Input should be 'paper', 'mean' or 'none'"),
        ("seeds: 0", "seeds: give a list of distinct whole numbers from 0, or how many"),
        ("seeds: [1, 1]", "seeds: give a list of distinct whole numbers"),
        ("seeds: [-1]", "seeds: give a list of distinct whole numbers"),
        ("seeds: [4294967296]", "seeds: give a list of distinct whole numbers"),
        ("seeds: true", "seeds: Input should be a list (got True)"),
        ("seeds: [a]", "seeds.0: Input should be a valid integer"),
        ("labels: [a, b]", "labels: Input should be keys with values"),
        ("labels: {a: 1}", "labels.a: Input should be a valid list (got 1)"),
        ("groups: taxonomy", "found: taxonomy."),
        ("groups: {bye: taxonomy}", "Did you mean 'by'?"),
        ("groups: {by: attributs}", "Did you mean 'attributes'?"),
        (
            "groups: {by: rationale, k: 1}",
            "groups.k: Input should be auto or greater than or equal to",
        ),
        ("groups: {combine: []}", "groups.combine: The list should have at least 1 item"),
        ("groups: {intersect: [{by: taxonomy}]}", "groups.intersect.1: Field required"),
        ("encoder:", "encoder: Input should be a valid string (got None)"),
        ("encoder: {name: x, pooling: max}", "encoder.pooling: Input should be 'cls' or 'mean'"),
        ("encoder: {fine_tune: 1}", "encoder.name: Field required"),
        ("methods: [{name: irpm, epochs: 0}]", "methods.0.epochs: Input should be greater than"),
        ("name: [a]", "name: Input should be a valid string"),
    ],
)
def test_a_wrong_type_or_value_is_told_with_its_place(
    text: str, expected: str, tmp_path: Path
) -> None:
    said = said_about(tmp_path, f"{SIMULATED}{text}\n")
    assert expected in said
    assert "tuple" not in said.lower()
    assert "dictionary" not in said


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("seeds: 3\n", "data: Field required"),
        ("data:\n", "data: Input should be keys with values, as {key: value} (got None)"),
        ("data: simulated\n", "data: Input should be keys with values"),
        ("data: {dataset: [a]}\n", "data.dataset: Input should be a valid string"),
        ("", "is no study; expected keys such as data"),
        ("- data\n", "is no study; expected keys such as data"),
        ("1: a\ndata: {dataset: simulated}\n", "is no study; expected keys such as data"),
        ("self: a\ndata: {dataset: simulated}\n", "unknown key 'self'"),
        ("data: {dataset: simulated\n", "is not YAML: "),
        ("data: {dataset: simulated}\nseeds: 1\nseeds: 2\n", 'duplicate key "seeds"'),
        ("data:\n\tdataset: simulated\n", "(line 2)"),
    ],
)
def test_what_is_no_study_is_told_in_one_line(text: str, expected: str, tmp_path: Path) -> None:
    assert expected in said_about(tmp_path, text)


def test_files_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    (tmp_path / "town.yaml").write_bytes(b"data: {dataset: caf\xe9}\n")
    with pytest.raises(InputError, match="is not YAML"):
        Study.read(tmp_path / "town.yaml")
    with pytest.raises(InputError, match="is not YAML"):
        Study.read(tmp_path)
    with pytest.raises(InputError, match=r"there is no study file .*Did you mean 'town.yaml'"):
        Study.read(tmp_path / "twon.yaml")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({}, "give either dataset or file"),
        ({"dataset": "simulated", "file": "town.csv"}, "give either dataset or file"),
        ({"file": "town.csv", "annotations": 9}, "annotations sets the size of simulated data"),
        ({"dataset": "popquorn", "annotations": 9}, "sets the size of simulated data"),
        ({"dataset": "simulated", "columns": {"text": "a"}}, "columns belongs to a file"),
        ({"dataset": "simulatd"}, "Did you mean 'simulated'?"),
        ({"file": "no-such.csv"}, "there is no file no-such.csv"),
    ],
)
def test_data_that_cannot_be_had_is_told(data: dict[str, Any], expected: str) -> None:
    with pytest.raises(InputError) as caught:
        Study(data=data).load()
    assert expected in str(caught.value)


def test_from_python_errors_are_the_same() -> None:
    with pytest.raises(InputError, match=r"^training: unknown key 'epoch'.*'epochs'"):
        Study(data={"dataset": "simulated"}, training={"epoch": 3})
    with pytest.raises(InputError, match=r"^groups: unknown key 'k'"):
        groups_config({"by": "taxonomy", "k": 3})
    study = Study(data={"dataset": "simulated"})
    with pytest.raises(InputError, match=r"^methods\.mine\.training: unknown key 'epoch'"):
        study.training_of(MethodConfig(name="none", label="mine", training={"epoch": 3}))


# What is written can be read again

CHARACTERS = st.characters(codec="utf-8", exclude_categories=["Cs"])
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**9), 10**9),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["No", "yes", "on", "~", "null", "1", "0x1F", "1_000", "1e5", "a: b", "- a"]),
    st.text(CHARACTERS, max_size=12),
)
keys = st.text(CHARACTERS, max_size=8)


@example({"??": ["- a", ":0"], "\x85": "a\n"})  # what ruamel writes bare and cannot read
@given(
    st.dictionaries(
        keys,
        st.recursive(
            scalars,
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
            max_leaves=6,
        ),
        max_size=4,
    )
)
def test_yaml_that_is_written_reads_the_same(
    tmp_path_factory: pytest.TempPathFactory, fields: dict[str, Any]
) -> None:
    path = tmp_path_factory.getbasetemp() / "fields.yaml"
    write_yaml(path, fields)
    assert read_yaml(path) == fields
    assert list(read_yaml(path)) == list(fields)


@pytest.mark.parametrize(
    ("fields", "same"),
    [
        ({"labels": {str(v): [v] for v in np.unique([0, 1])}}, {"labels": {"0": [0], "1": [1]}}),
        ({"labels": {np.int8(0): np.array([0]), 1: (True,)}}, {"labels": {0: [0], 1: [True]}}),
        ({"labels": {"a": range(2), "b": pd.Series([2.5])}}, {"labels": {"a": [0, 1], "b": [2.5]}}),
        ({"data": {"file": Path("a") / "t.csv"}}, {"data": {"file": str(Path("a") / "t.csv")}}),
        ({"seeds": np.int64(2)}, {"seeds": 2}),
        ({"seeds": np.arange(2), "methods": ("none",)}, {"seeds": 2, "methods": ["none"]}),
        ({"split": {"test": np.float64(0.5)}}, {"split": {"test": 0.5}}),
        (
            {"groups": {"by": "attributes", "attributes": pd.Index(["age"])}, "name": np.str_("x")},
            {"groups": {"by": "attributes", "attributes": ["age"]}, "name": "x"},
        ),
    ],
)
def test_what_python_users_pass_is_what_a_file_holds(
    fields: dict[str, Any], same: dict[str, Any]
) -> None:
    data = {"data": {"file": "t.csv"}}
    study = Study(**data | fields)
    assert study == Study(**data | same)
    assert Study.model_validate_json(study.model_dump_json()).labels == study.labels


def test_what_no_file_can_hold_is_refused_before_anything_runs() -> None:
    with pytest.raises(InputError, match=r"labels: a raw value is a text or a number; got <object"):
        Study(data={"file": "t.csv"}, labels={"a": [object()], "b": [1]})


@pytest.mark.parametrize("name", ["votes.csv", "votes.jsonl.gz", "votes.parquet"])
def test_a_table_is_no_study(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(InputError, match=f"is a table; write a study first: mcstl init .*{name}"):
        Study.read(tmp_path / name)


def test_a_layout_and_official_parts_stand_in_the_file(tmp_path: Path) -> None:
    (tmp_path / "votes.csv").write_text(
        "post,reply,part,p,q\n"
        + "".join(f"a {i},b,{['train', 'test'][i % 2]},0,1\n" for i in range(8))
    )
    study = tmp_path / "votes.yaml"
    study.write_text(
        "data: {file: votes.csv, columns: {text: [post, reply]}, layout: {wide: [p, q]}}\n"
        "groups: none\nsplit: {column: part}\n"
    )
    read = Study.read(study)
    data = read.load()
    assert (len(data), data.attributes, read.split.title) == (16, (), "official")
    assert readable(data.frame["text"][0]) == "a 0\n\nb"
    assert read.groups_for(data) == NoGroupsConfig()
    # Another split on the command line takes the place of the column.
    assert Study.read(study, split="item").split.title == "item"
    study.write_text(study.read_text().replace("wide", "wid"))
    with pytest.raises(InputError, match="Did you mean 'wide'"):
        Study.read(study)


def test_a_copy_of_a_study_leaves_open_what_the_study_does() -> None:
    """What is chosen for the data is not fixed by changing something else of a study."""
    study = Study(data={"dataset": "simulated"}, training={"dropout": 0.2, "hidden": 8})
    copied = Study(**{**study.model_dump(), "seeds": 1})
    again = Study.model_validate(json.loads(study.model_dump_json()))
    for each in (study, copied, again):
        training = each.training_of(each.methods[0])
        assert [training.leaves_open(key) for key in ("dropout", "hidden")] == [False, False]
        assert all(map(training.leaves_open, ("learning_rate", "batch_size", "patience")))
        assert training.model_dump() == study.training_of(study.methods[0]).model_dump()
