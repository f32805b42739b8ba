"""Value groups: who is in which, under what name, and that nothing but training rows decides it."""

import io
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from mcstl import datasets
from mcstl._support.errors import InputError, Notice
from mcstl.data.annotations import Annotations
from mcstl.data.splits import split
from mcstl.encoding.encoders import Encoder, load_encoder
from mcstl.groups import (
    AttributesConfig,
    CombineConfig,
    GroupsConfig,
    IntersectConfig,
    RationaleConfig,
    Scheme,
    TaxonomyConfig,
    fit_scheme,
    load_scheme,
    settled,
)
from mcstl.groups.combined import IntersectedScheme
from mcstl.groups.side_neutral import NEUTRAL, neutralise_sides

PEOPLE = pd.DataFrame(
    {
        "text": list("abcdefgh"),
        "label": [0, 1, 0, 1, 0, 1, 0, 1],
        "annotator": ["p1", "p2", "p3", "p3", "p4", "p5", "p6", None],
        "values": ["Care", "Care|Power", "", "Power", "Care", "Honour|Care", "Care", "Power|Care"],
        "gender": ["Woman", "Man", "Woman", "Woman", None, "Woman", "Woman", "Man"],
        "race": ["Asian", "White", "White", "White", "Asian", None, "Asian", "White"],
    }
)


def table(frame: pd.DataFrame = PEOPLE) -> Annotations:
    return Annotations.from_frame(frame, task="binary", labels={"no": [0], "yes": [1]})


def lists(scheme: Scheme, data: Annotations, encoder: Encoder | None = None) -> list[list[str]]:
    """The names of each annotation's groups."""
    rows = scheme.assign(data, encoder).toarray()
    return [[name for name, is_in in zip(scheme.names, row, strict=True) if is_in] for row in rows]


# --- attributes


def test_attributes_overlap_and_a_missing_one_is_no_group() -> None:
    scheme = fit_scheme(AttributesConfig(min_size=1), table())
    assert scheme.names == ("gender=Man", "gender=Woman", "race=Asian", "race=White")
    unnamed = fit_scheme(AttributesConfig(min_size=1), table(PEOPLE.drop(columns="annotator")))
    assert [group.size for group in unnamed.groups] == [2, 5, 3, 4]
    assert lists(scheme, table()) == [
        ["gender=Woman", "race=Asian"],
        ["gender=Man", "race=White"],
        ["gender=Woman", "race=White"],
        ["gender=Woman", "race=White"],
        ["race=Asian"],
        ["gender=Woman"],
        ["gender=Woman", "race=Asian"],
        ["gender=Man", "race=White"],
    ]


def test_attributes_come_in_the_order_that_is_asked_for() -> None:
    scheme = fit_scheme(AttributesConfig(attributes=("race", "gender"), min_size=1), table())
    assert scheme.names == ("race=Asian", "race=White", "gender=Man", "gender=Woman")
    scheme = fit_scheme(AttributesConfig(attributes=("race",), min_size=1), table())
    assert scheme.names == ("race=Asian", "race=White")


def test_crossed_attributes_part_the_annotations_that_have_all() -> None:
    scheme = fit_scheme(AttributesConfig(crossed=True, min_size=1), table())
    assert scheme.names == (
        "gender=Man & race=White",
        "gender=Woman & race=Asian",
        "gender=Woman & race=White",
    )
    inside = scheme.assign(table()).toarray().sum(axis=1)
    np.testing.assert_array_equal(inside, [1, 1, 1, 1, 0, 0, 1, 1])


def test_small_groups_are_left_out_and_named() -> None:
    scheme = fit_scheme(AttributesConfig(min_size=3), table())
    assert scheme.names == ("gender=Woman", "race=Asian", "race=White")
    assert scheme.left_out == (("gender=Man", "fewer than 5 people, min_size is 3"),)
    scheme = fit_scheme(AttributesConfig(min_size=3, min_annotators=3), table())
    assert scheme.names == ("gender=Woman", "race=Asian")
    assert scheme.left_out[1] == ("race=White", "fewer than 5 people, min_annotators is 3")
    with pytest.raises(InputError, match=r"no group is left: gender=Man \(fewer .* lower min_size"):
        fit_scheme(AttributesConfig(), table())


def test_few_people_are_warned_about() -> None:
    many = pd.concat([PEOPLE.assign(annotator=f"q{i}", gender="Nobody") for i in range(5)])
    frame = pd.concat([PEOPLE, many.assign(race=None)])
    scheme = fit_scheme(AttributesConfig(attributes=("gender",), min_size=1), table(frame))
    assert [re.sub(":.*", "", group.warning) for group in scheme.groups] == [
        "fewer than 5 people",
        "",
        "fewer than 5 people",
    ]
    unnamed = fit_scheme(AttributesConfig(min_size=1), table(PEOPLE.drop(columns="annotator")))
    assert {(group.annotators, group.warning) for group in unnamed.groups} == {(None, "")}


@settings(max_examples=25)
@given(st.lists(st.sampled_from(["Woman", "Man", "Another"]), min_size=12, max_size=12))
def test_a_group_has_a_size_only_if_it_is_of_five_people_or_more(genders: list[str]) -> None:
    frame = pd.DataFrame(
        {"text": list("abcdefghijkl") * 2, "label": [0, 1] * 12, "gender": genders * 2}
    )
    frame["annotator"] = [f"p{i % 12}" for i in range(24)]
    scheme = fit_scheme(AttributesConfig(min_size=1), table(frame))
    alone = AttributesConfig(min_size=1)
    both = IntersectConfig(intersect=(alone, CombineConfig(combine=(alone,))))
    for each in (scheme, load_scheme(*saved(scheme)), fit_scheme(both, table(frame))):
        for group in each.groups:
            people = genders.count(group.name.split(" & ")[0].removeprefix("gender="))
            known = (2 * people, people) if people >= 5 else (0, 0)
            assert (group.size, group.annotators) == known
            assert bool(group.warning) == group.is_of_few == (people < 5)


def test_a_group_of_few_people_that_an_older_version_saved_loses_its_size() -> None:
    state, arrays = saved(fit_scheme(AttributesConfig(min_size=1), table()))
    state["groups"][0] |= {"size": 2, "annotators": 1}
    group = load_scheme(state, arrays).groups[0]
    assert (group.size, group.annotators) == (0, 0)


def saved(scheme: Scheme) -> tuple[dict[str, Any], dict[str, Any]]:
    state, arrays = scheme.state()
    return json.loads(json.dumps(state)), arrays


def test_new_annotations_with_unknown_answers_are_in_no_group() -> None:
    scheme = fit_scheme(AttributesConfig(min_size=1), table())
    new = PEOPLE.assign(gender="Another", label=1 - PEOPLE["label"])
    assert lists(scheme, table(new))[:2] == [["race=Asian"], ["race=White"]]


@pytest.mark.parametrize(
    ("config", "frame", "message"),
    [
        (AttributesConfig(attributes=("gendre",)), PEOPLE, "gendre.*Did you mean 'gender'"),
        (AttributesConfig(), PEOPLE[["text", "label"]], "describe the annotators"),
        (
            AttributesConfig(min_annotators=2),
            PEOPLE.drop(columns="annotator"),
            "column 'annotator' is not",
        ),
        (
            TaxonomyConfig(min_annotators=2),
            PEOPLE.drop(columns="annotator"),
            "column 'annotator' is not",
        ),
        (TaxonomyConfig(), PEOPLE.drop(columns="values"), "column 'values' is.*columns: {values"),
        (TaxonomyConfig(), PEOPLE.assign(values=""), "no training annotation .* in any group"),
        (RationaleConfig(), PEOPLE.assign(rationale="?"), "need an encoder"),
        (
            CombineConfig(combine=(TaxonomyConfig(min_size=1), TaxonomyConfig(min_size=1))),
            PEOPLE,
            "same name: Care, Honour, Power",
        ),
    ],
)
def test_what_cannot_be_grouped_is_an_error(
    config: GroupsConfig, frame: pd.DataFrame, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        fit_scheme(config, table(frame))


def test_new_annotations_need_the_columns_too() -> None:
    with pytest.raises(InputError, match="attribute 'race' is not in"):
        fit_scheme(AttributesConfig(min_size=1), table()).assign(table(PEOPLE.drop(columns="race")))
    with pytest.raises(InputError, match="column 'values' is not in"):
        fit_scheme(TaxonomyConfig(min_size=1), table()).assign(table(PEOPLE.drop(columns="values")))


# --- taxonomy, combine, intersect


def test_values_are_mixed_memberships() -> None:
    scheme = fit_scheme(TaxonomyConfig(taxonomy="made up", min_size=3), table())
    assert scheme.names == ("Care", "Power")
    assert scheme.left_out == (("Honour", "fewer than 5 people, min_size is 3"),)
    assert [group.size for group in scheme.groups] == [6, 0]  # Power: of fewer than five people
    assert "made up" in scheme.groups[0].description
    both = [["Care"], ["Care", "Power"], [], ["Power"], ["Care"], ["Care"], ["Care"]]
    assert lists(scheme, table()) == [*both, ["Care", "Power"]]


def test_combine_puts_groups_side_by_side_and_only_one_has_to_have_any() -> None:
    config = CombineConfig(combine=(TaxonomyConfig(min_size=6), AttributesConfig(min_size=5)))
    scheme = fit_scheme(config, table())
    assert scheme.names == ("Care", "gender=Woman")
    assert lists(scheme, table())[:3] == [["Care", "gender=Woman"], ["Care"], ["gender=Woman"]]
    none = CombineConfig(combine=(TaxonomyConfig(), AttributesConfig(min_size=5)))
    assert fit_scheme(none, table()).names == ("gender=Woman",)
    assert [name for name, _ in fit_scheme(none, table()).left_out][:2] == ["Care", "Honour"]


def test_intersect_makes_a_group_of_each_pair_that_occurs() -> None:
    config = IntersectConfig(
        intersect=(TaxonomyConfig(min_size=1), AttributesConfig(attributes=("race",), min_size=1))
    )
    scheme = fit_scheme(config, table())
    # Honour is only in the row without a race, so it is in no pair.
    assert scheme.names == (
        "Care & race=Asian",
        "Care & race=White",
        "Power & race=White",
    )
    unnamed = fit_scheme(config, table(PEOPLE.drop(columns="annotator")))
    assert [group.size for group in unnamed.groups] == [3, 2, 3]
    assert lists(scheme, table())[0] == ["Care & race=Asian"]
    assert lists(scheme, table())[1] == ["Care & race=White", "Power & race=White"]


def test_the_larger_minimum_holds_for_pairs() -> None:
    race = AttributesConfig(attributes=("race",), min_size=3)
    scheme = fit_scheme(IntersectConfig(intersect=(TaxonomyConfig(min_size=1), race)), table())
    assert scheme.names == ("Care & race=Asian", "Power & race=White")
    assert scheme.left_out == (("Care & race=White", "fewer than 5 people, min_size is 3"),)


CONFIGS: list[GroupsConfig] = [
    AttributesConfig(min_size=1),
    AttributesConfig(min_size=2, crossed=True),
    TaxonomyConfig(min_size=1),
    CombineConfig(combine=(TaxonomyConfig(min_size=1), AttributesConfig(min_size=2))),
    IntersectConfig(intersect=(AttributesConfig(min_size=1), TaxonomyConfig(min_size=1))),
    IntersectConfig(
        intersect=(
            CombineConfig(combine=(TaxonomyConfig(min_size=1), AttributesConfig(min_size=1))),
            AttributesConfig(attributes=("race",), min_size=1),
        )
    ),
]


@settings(max_examples=40)
@given(order=st.permutations(range(len(PEOPLE))), config=st.sampled_from(CONFIGS))
def test_the_order_of_the_rows_changes_nothing(order: list[int], config: GroupsConfig) -> None:
    data, turned = table(), table().take(order)
    scheme, again = fit_scheme(config, data), fit_scheme(config, turned)
    assert again.groups == scheme.groups
    np.testing.assert_array_equal(
        again.assign(turned).toarray(), scheme.assign(data).toarray()[order]
    )


@settings(max_examples=40)
@given(rows=st.lists(st.integers(0, 7), min_size=1), config=st.sampled_from(CONFIGS))
def test_membership_is_of_each_row_alone_and_sizes_are_its_sums(
    rows: list[int], config: GroupsConfig
) -> None:
    scheme = fit_scheme(config, table())
    membership = scheme.assign(table())
    assert membership.dtype == np.float32
    assert set(np.unique(membership.data)) <= {1.0}
    sizes = [0 if g.is_of_few else g.size for g in scheme.groups]
    counted = np.where([g.is_of_few for g in scheme.groups], 0, membership.sum(axis=0))
    np.testing.assert_array_equal(counted, [sizes])
    np.testing.assert_array_equal(
        scheme.assign(table().take(rows)).toarray(), membership.toarray()[rows]
    )


def saved_and_loaded(scheme: Scheme) -> Scheme:
    """Through JSON and an archive without pickle, as a model directory does."""
    state, arrays = scheme.state()
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **arrays)
    file.seek(0)
    with np.load(file, allow_pickle=False) as archive:
        return load_scheme(json.loads(json.dumps(state)), dict(archive))


@pytest.mark.parametrize("config", CONFIGS)
def test_a_saved_scheme_is_the_same_scheme(config: GroupsConfig) -> None:
    scheme = fit_scheme(config, table())
    loaded = saved_and_loaded(scheme)
    assert type(loaded) is type(scheme)
    assert (loaded.groups, loaded.left_out) == (scheme.groups, scheme.left_out)
    assert lists(loaded, table()) == lists(scheme, table())


@pytest.mark.parametrize("state", [{}, {"kind": "magic", "groups": [], "left_out": []}])
def test_what_is_no_saved_scheme_is_refused(state: dict[str, object]) -> None:
    with pytest.raises(InputError, match="saved groups cannot be read"):
        load_scheme(state, {})


def test_a_scheme_with_a_group_added_after_training_is_refused() -> None:
    """As mcstl 0.1 wrote it."""
    groups = [{"name": "A", "size": 20, "annotators": None, "description": "", "warning": ""}]
    state = {"kind": "grown", "groups": groups, "left_out": [], "first": None}
    with pytest.raises(InputError, match=r"^the model had a group added after training.* fit it"):
        load_scheme(state, {})


def test_groups_load_neither_their_review_nor_the_client_of_language_models() -> None:
    code = "import mcstl.groups, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules = set(done.stdout.split())
    assert not modules & {"mcstl.groups.review", "mcstl.labelling.llm", "jinja2", "torch"}


# --- configs


class Section(BaseModel):
    groups: GroupsConfig


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ({"by": "attributes", "min_sise": 3}, r"groups.attributes.min_sise\n  Extra inputs"),
        ({"by": "atributes"}, "'atributes' are not known.*Did you mean 'attributes'"),
        ({"bye": "rationale"}, "groups need .*`by: attributes`.*found: bye. Did you mean 'by'"),
        ({}, "groups need .*found: nothing"),
        ("attributes", "groups need .*found: attributes"),
        ({"by": "rationale", "k": 1}, r"groups.rationale.k\n .*greater than or equal to 2"),
        ({"by": "rationale", "k": "many"}, "auto or greater than or equal to 2"),
        ({"by": "rationale", "soft": True}, "soft needs algorithm: gaussian-mixture"),
        ({"by": "rationale", "k": "auto", "algorithm": "hdbscan"}, "leave k out"),
        ({"by": "attributes", "min_size": 0}, "greater than or equal to 1"),
        ({"combine": [{"by": "rationale"}, {"by": "magic"}]}, "'magic' are not known"),
        ({"combine": []}, "at least 1"),
        ({"intersect": [{"by": "rationale"}]}, "Field required"),
    ],
)
def test_a_wrong_config_has_one_error_about_what_was_meant(groups: object, message: str) -> None:
    with pytest.raises(ValidationError, match=message) as caught:
        Section.model_validate({"groups": groups})
    assert caught.value.error_count() == 1


def test_the_configs_of_the_contract_are_read() -> None:
    plain = Section.model_validate(
        {"groups": {"intersect": [{"by": "rationale"}, {"combine": [{"by": "taxonomy"}]}]}}
    )
    assert plain.groups == IntersectConfig(
        intersect=(RationaleConfig(k=5), CombineConfig(combine=(TaxonomyConfig(min_size=100),)))
    )


# --- rationales

COOKS = [
    "The soup was salted just right.",
    "They boiled the noodles with fresh herbs.",
    "A good cook tastes the soup before serving it.",
    "The bread was baked with butter and herbs.",
    "Roasted carrots taste better with butter.",
]
SAILORS = [
    "The boat left the harbour at dawn.",
    "Strong wind filled the sails of the boat.",
    "The captain steered around the rocks in the harbour.",
    "An anchor keeps the ship in place.",
]
CHESS = [
    "The queen was lost after four moves.",
    "She sacrificed a bishop to attack the king.",
    "The rook controls the open file in this game of chess.",
]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    return load_encoder(cache_dir=tmp_path_factory.mktemp("cache"))


def explained(*rationales: str) -> Annotations:
    frame = pd.DataFrame(
        {"text": [f"t{i}" for i in range(len(rationales))], "label": 0, "rationale": rationales}
    )
    return Annotations.from_frame(frame, task="binary", labels={"no": [0], "yes": [1]})


def test_clusters_are_topics_the_largest_first(encoder: Encoder) -> None:
    data = explained(*CHESS, *COOKS, "", *SAILORS)
    scheme = fit_scheme(RationaleConfig(k=3), data, encoder)
    assert [group.size for group in scheme.groups] == [5, 4, 3]
    assert [name.split(":")[0] for name in scheme.names] == ["1", "2", "3"]
    groups = [
        row.index(1) if 1 in row else None
        for row in scheme.assign(data, encoder).toarray().astype(int).tolist()
    ]
    assert groups == [2] * 3 + [0] * 5 + [None] + [1] * 4
    cooks, sailors, _ = scheme.groups
    assert "soup" in cooks.name or "butter" in cooks.name
    assert "harbour" in sailors.name
    assert "harbour" in sailors.description
    # Sentences are people's own words; a group shows words and pairs of them at most.
    assert not any(text in cooks.description for text in COOKS)


def test_new_rationales_go_to_the_nearest_centroid_and_move_nothing(encoder: Encoder) -> None:
    scheme = fit_scheme(RationaleConfig(k=3), explained(*CHESS, *COOKS, *SAILORS), encoder)
    before = scheme.state()[1]["centroids"].copy()
    new = explained("The ship sailed into the harbour.", "  ", "Pepper and butter improve soup.")
    membership = scheme.assign(new, encoder).toarray()
    np.testing.assert_array_equal(membership, [[0, 1, 0], [0, 0, 0], [1, 0, 0]])
    np.testing.assert_array_equal(scheme.assign(new.take([2]), encoder).toarray(), membership[[2]])
    np.testing.assert_array_equal(scheme.state()[1]["centroids"], before)


@settings(max_examples=10)
@given(order=st.permutations(range(12)))
def test_the_order_of_rationales_changes_nothing(encoder: Encoder, order: list[int]) -> None:
    data = explained(*CHESS, *COOKS, *SAILORS)
    scheme = fit_scheme(RationaleConfig(k=3), data, encoder)
    again = fit_scheme(RationaleConfig(k=3), data.take(order), encoder)
    assert again.groups == scheme.groups
    np.testing.assert_array_equal(again.state()[1]["centroids"], scheme.state()[1]["centroids"])


def test_clusters_of_another_fit_take_the_names_of_the_nearest(encoder: Encoder) -> None:
    data = explained(*CHESS, *COOKS, *SAILORS)
    first = fit_scheme(RationaleConfig(k=3), data, encoder)
    second = fit_scheme(RationaleConfig(k=3), explained(*CHESS, *COOKS[:2], *SAILORS), encoder)
    assert second.names != first.names
    alike = second.named_like(first)
    assert alike.names == first.names
    assert lists(alike, data, encoder) == lists(first, data, encoder)
    assert [group.size for group in alike.groups] == [2, 4, 3]


def test_names_are_given_to_clusters_with_the_same_words_alone(encoder: Encoder) -> None:
    data = explained(*CHESS, *COOKS, *SAILORS)
    plain = fit_scheme(RationaleConfig(k=3), data, encoder)
    names = {plain.names[0]: "Cooks", plain.names[2]: "Sailing  well"}
    config = RationaleConfig(k=3, names=names)
    named = fit_scheme(config, data, encoder)
    assert named.names == ("Cooks", plain.names[1], "Sailing well")
    assert [g.description for g in named.groups] == [g.description for g in plain.groups]
    assert saved_and_loaded(named).names == named.names
    others = explained(*CHESS, *SAILORS[:2])
    with pytest.warns(Notice, match="no group is called as"):
        fit_scheme(config, others, encoder)
    # Another seed's clusters get the names by their centroids.
    rows = explained(*CHESS, *COOKS[:2], *SAILORS)
    later = fit_scheme(settled(config, named), rows, encoder).named_like(named)
    assert later.names == named.names
    pairs = IntersectConfig(intersect=(config, RationaleConfig(k=2)))
    first = fit_scheme(pairs, data, encoder)
    again = fit_scheme(settled(pairs, first), rows, encoder).named_like(first)
    assert isinstance(first, IntersectedScheme)
    assert isinstance(again, IntersectedScheme)
    assert set(again.names) <= {f"{a} & {b}" for a in named.names for b in first.members[1].names}
    assert lists(again, rows, encoder) == [
        [f"{a} & {b}" for a, b in zip(*pair, strict=True)]
        for pair in zip(*(lists(m, rows, encoder) for m in again.members), strict=True)
    ]


@pytest.mark.parametrize(
    ("names", "error"),
    [
        ({"1: a": " "}, "expected 1 to 60"),
        ({"1: a": "x" * 61}, "of 61 characters"),
        ({"1: a": "Care", "2: b": "care"}, "two groups have the same name"),
        ("nowhere.csv", "nowhere.csv"),
        (["Care"], "valid dictionary"),
    ],
)
def test_names_that_cannot_be_used(names: object, error: str) -> None:
    with pytest.raises(ValueError, match=error):
        RationaleConfig.model_validate({"names": names})


def test_a_centroid_is_the_mean_of_all_that_was_said(encoder: Encoder) -> None:
    data = explained(*COOKS, *[SAILORS[0]] * 30, *SAILORS[1:])
    scheme = fit_scheme(RationaleConfig(k=2), data, encoder)
    vectors = encoder.encode(data.frame["rationale"].tolist())
    groups = scheme.assign(data, encoder).toarray().astype(bool).T
    means = [vectors[rows].mean(axis=0) for rows in groups]
    np.testing.assert_allclose(scheme.state()[1]["centroids"], means, rtol=0, atol=1e-6)


def test_a_saved_rationale_scheme_wants_its_own_encoder(encoder: Encoder, tmp_path: Path) -> None:
    data = explained(*CHESS, *COOKS, *SAILORS)
    config = IntersectConfig(intersect=(RationaleConfig(k=2), RationaleConfig(k=3)))
    scheme = fit_scheme(RationaleConfig(k=3), data, encoder)
    loaded = saved_and_loaded(scheme)
    assert lists(loaded, data, encoder) == lists(scheme, data, encoder)
    with pytest.raises(InputError, match="need an encoder"):
        loaded.assign(data)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InputError, match="were fitted with the encoder all-MiniLM-L6-v2"):
        loaded.assign(data, load_encoder(str(tmp_path)))
    both = fit_scheme(config, data, encoder)
    assert lists(saved_and_loaded(both), data, encoder) == lists(both, data, encoder)


@pytest.mark.parametrize(
    "config",
    [
        RationaleConfig(k=3, algorithm="agglomerative"),
        RationaleConfig(k=3, algorithm="gaussian-mixture"),
        RationaleConfig(k=3, algorithm="gaussian-mixture", soft=True),
        RationaleConfig(k="auto"),
    ],
    ids=lambda config: f"{config.algorithm}-{config.k}-{config.soft}",
)
def test_other_ways_to_clusters_are_schemes_too(encoder: Encoder, config: RationaleConfig) -> None:
    data = explained(*CHESS, *COOKS, "", *SAILORS)
    scheme = fit_scheme(config, data, encoder)
    S = scheme.assign(data, encoder)
    assert S.dtype == np.float32
    assert S.getnnz(axis=1)[8] == 0
    np.testing.assert_array_equal(S.getnnz(axis=0), [group.size for group in scheme.groups])
    loaded = saved_and_loaded(scheme)
    np.testing.assert_array_equal(loaded.assign(data, encoder).toarray(), S.toarray())
    one = scheme.assign(data.take([0]), encoder).toarray()
    np.testing.assert_allclose(one, S.toarray()[:1], atol=1e-6)


@pytest.mark.parametrize(
    ("rationales", "message"),
    [
        (["", " "], "only 0 distinct rationales; choose a smaller k"),
        (COOKS[:2], "k is 3.*only 2 distinct"),
        (["Tea", "tea", "TEA"], "choose a smaller k"),  # the same to this encoder
    ],
)
def test_too_few_rationales_are_an_error(
    encoder: Encoder, rationales: list[str], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        fit_scheme(RationaleConfig(k=3), explained(*rationales), encoder)


def test_rationales_of_stop_words_have_a_name(encoder: Encoder) -> None:
    scheme = fit_scheme(RationaleConfig(k=2), explained("it is", "we are", "42"), encoder)
    assert scheme.names == ("1", "2")


# --- either side of a pair


@pytest.mark.parametrize(
    "rationale",
    [
        "A1 is clearer than A2.",
        "a1 is clearer than a2.",
        "A-1 is clearer than A-2.",
        "A 1 is clearer than A 2.",
        "A! is clearer than A@.",
        "Argument A1 is clearer than argument A2.",
        "The argument (A1) is clearer than the argument (A2).",
        "argument 1 is clearer than argument 2.",
        "Argument one is clearer than argument two.",
        "Arguement #1 is clearer than arguemnt #2.",
        "the first argument is clearer than the second.",
        "The 1st one is clearer than the 2nd one.",
        "The former is clearer than the latter.",
        "Response A is clearer than response B.",
        "A is clearer than B.",
        "1 is clearer than 2.",
        "First is clearer than the second one.",
        "The argument on the left is clearer than the argument on the right.",
    ],
)
def test_either_side_becomes_the_same_words(rationale: str) -> None:
    assert neutralise_sides(rationale) == "this argument is clearer than this argument."


@pytest.mark.parametrize(
    ("rationale", "expected"),
    [
        ("A1's point is weak", "@ point is weak"),
        ("A2s point is weak", "@ point is weak"),
        ("A1is weak", "@ is weak"),
        ("A1 andA2 agree", "@ and @ agree"),
        ("arguments 1 and 2 agree", "@ and @ agree"),
        ("I like A1. A2 rambles, though.", "I like @. @ rambles, though."),
        ("It is a good argument. A2 is not.", "It is a good argument. @ is not."),
        ("while 2 just repeats", "while @ just repeats"),
        ("The second rambles", "@ rambles"),
    ],
)
def test_sides_among_other_words(rationale: str, expected: str) -> None:
    assert neutralise_sides(rationale) == expected.replace("@", NEUTRAL)


@pytest.mark.parametrize(
    "rationale",
    [
        "It gives 2 reasons and more than 1 source.",
        "It is written in the first person, at first sight by a 12 year old.",
        "No one has two answers, and neither one is a good argument.",
        "One of the two points is the argument one would expect.",
        "It was published in A10 format in 2012, on page A21.",
        "Help yourself first, then others; second thoughts are allowed.",
        "A more detailed answer, and a better one.",
        "Both are equal.",
    ],
)
def test_other_numbers_stay(rationale: str) -> None:
    assert neutralise_sides(rationale) == rationale


@given(
    st.lists(
        st.sampled_from(["A1", "argument two", "the first one", "gives", "facts", "and", "than"])
    )
)
def test_naming_the_other_side_changes_nothing(words: list[str]) -> None:
    other = {"A1": "A2", "argument two": "argument one", "the first one": "the second one"}
    assert neutralise_sides(" ".join(words)) == neutralise_sides(
        " ".join(other.get(w, w) for w in words)
    )


def test_sides_are_neutral_in_preference_unless_asked_otherwise(encoder: Encoder) -> None:
    texts = ["A1 has facts", "A2 has facts", "A1 is rude", "A2 is rude"]
    frame = pd.DataFrame(
        {"text_a": list("abcd"), "text_b": list("efgh"), "label": [1, 0, 0, 1], "rationale": texts}
    )
    pairs = Annotations.from_frame(frame, labels={"b": [0], "a": [1]}, task="preference")

    def rows(config: RationaleConfig, data: Annotations) -> list[list[str]]:
        return lists(fit_scheme(config, data, encoder), data, encoder)

    first, second, third, fourth = rows(RationaleConfig(k=2), pairs)
    assert (first, third) == (second, fourth)
    assert first != third
    with pytest.raises(InputError, match="only 2 distinct"):
        rows(RationaleConfig(k=4), pairs)
    assert len({*map(tuple, rows(RationaleConfig(k=4, side_neutral=False), pairs))}) == 4
    assert len({*map(tuple, rows(RationaleConfig(k=4), explained(*texts)))}) == 4
    with pytest.raises(InputError, match="only 2 distinct"):
        rows(RationaleConfig(k=4, side_neutral=True), explained(*texts))


# --- real data


def test_the_twenty_values_of_valueeval23(data_dir: Path) -> None:
    data = datasets.load("valueeval23", data_dir=data_dir)
    train = data.take(split(data).train)
    scheme = fit_scheme(TaxonomyConfig(), train)
    assert len(scheme.groups) == 20
    assert scheme.left_out == ()
    assert scheme.assign(data).getnnz(axis=1).mean() > 2  # they overlap


def test_the_annotators_of_popquorn(data_dir: Path) -> None:
    data = datasets.load("popquorn", data_dir=data_dir)
    scheme = fit_scheme(AttributesConfig(attributes=("gender", "race")), data)
    assert {"gender=Man", "gender=Woman", "race=Asian"} <= set(scheme.names)
    inside = scheme.assign(data).getnnz(axis=1)
    assert inside.max() == 2


def test_neutral_rationales_hardly_tell_the_label(data_dir: Path) -> None:
    data = datasets.load("ukpconvarg1", data_dir=data_dir)
    rationales = data.frame["rationale"].tolist()[:10_000]
    half = 5_000
    auc = []
    for texts in (rationales, [neutralise_sides(text) for text in rationales]):
        words = CountVectorizer(ngram_range=(1, 2), min_df=5).fit_transform(texts)
        model = LogisticRegression(C=0.1, max_iter=1000).fit(words[:half], data.labels[:half])
        told = model.decision_function(words[half:])
        auc.append(roc_auc_score(data.labels[half : len(rationales)], told))
    assert auc[0] > 0.75
    assert abs(auc[1] - 0.5) < 0.05


def test_no_cluster_of_neutral_rationales_tells_the_label(data_dir: Path, encoder: Encoder) -> None:
    data = datasets.load("ukpconvarg1", data_dir=data_dir)
    data = data.take(np.arange(0, len(data), len(data) // 400))
    scheme = fit_scheme(RationaleConfig(k=3), data, encoder)
    membership = scheme.assign(data, encoder)
    rates = (membership.T @ data.labels) / membership.getnnz(axis=0)
    assert np.abs(rates - data.labels.mean()).max() < 0.1
