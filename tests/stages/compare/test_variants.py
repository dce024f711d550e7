"""Which variants there are, which apply to a model, and what is refused before anything is read."""

from __future__ import annotations

import pytest

from data_contracts.refs import Target
from tasks.compare.choosing import choose_variants, compare_config, require_known
from tasks.compare.variants import Known, list_candidates
from tasks.config import RunConfig, load_config
from tasks.config_compare import GROUPS
from tasks.errors import UsageError
from tests.support.data import TINY

CLASSES = (Target(name="label", labels=("a", "b")),)
WEIGHTS = "torchvision:squeezenet1_1@/w.safetensors"


def known(config: RunConfig, *inputs: str, metric: str = "macro_f1", targets: tuple[Target, ...] = CLASSES) -> Known:
    return Known(config, inputs, targets, metric)


def config_of(*settings: str) -> RunConfig:
    return load_config({}, [*TINY, *settings])


def names(found: Known) -> list[str]:
    return [variant.name for variant in choose_variants(found).variants]


def test_by_default_each_modality_and_the_classical_models_that_read_one() -> None:
    found = names(known(config_of(), "image", "text", "audio"))
    assert found == [
        *("profile", "image-only", "text-only", "audio-only"),
        *("tfidf-naive-bayes", "hog-svm", "mfcc-svm"),
    ]


def test_those_that_were_not_asked_for_are_told_with_what_adds_them_and_the_rest_with_why_not() -> None:
    left = {each.name: each for each in choose_variants(known(config_of(), "image", "text")).not_run}
    assert left["fusion-gated"].applies
    assert "--variants fusion-gated, or fusion" in left["fusion-gated"].reason
    assert (left["fusion-concat"].applies, left["fusion-concat"].reason) == (False, "the settings join so")
    assert left["audio-only"].reason == "the model has no audio: its inputs are image, text"
    assert left["lora"].reason == "no encoder is pretrained"
    assert "one label column" in left["single-task"].reason


def test_every_group_has_variants_and_no_name_comes_twice() -> None:
    config = config_of(
        'compare.custom={"wide": {"fusion.hidden": 512}}', f'compare.backbones={{"image": ["{WEIGHTS}"]}}'
    )
    found = [each.variant for each in list_candidates(known(config, "image", "text"))]
    assert {variant.group for variant in found} - {"profile"} == {*GROUPS}
    assert len({variant.name for variant in found} | {*GROUPS}) == len(found) + len(GROUPS)


def test_pretrained_encoders_bring_regimes_initializations_and_models_on_embeddings() -> None:
    config = config_of(
        f"encoders.image={WEIGHTS}", 'compare.variants=["finetuning", "initialization", "classical", "raw"]'
    )
    found = {variant.name: variant for variant in choose_variants(known(config, "image")).variants}
    assert [*found] == [
        *("profile", "lora", "last-n", "full", "random-weights", "from-scratch"),
        *("hog-svm", "embedding-svm", "embedding-logistic-regression"),
    ]
    assert found["random-weights"].settings == {
        "encoders.image": "torchvision:squeezenet1_1@random",
        "train.regime": "full",
    }
    left = {each.name: each.reason for each in choose_variants(known(config, "image")).not_run}
    assert left["cnn-image"] == "it has the same settings as from-scratch"
    assert left["frozen"] == "the settings train so"


def test_a_reference_comes_first_and_is_added_where_it_is_not_asked_for() -> None:
    config = config_of("compare.reference=fusion-late", 'compare.variants=["modalities"]')
    assert names(known(config, "image", "text")) == ["fusion-late", "profile", "image-only", "text-only"]


def test_another_problem_than_one_class_a_row_has_no_classical_models() -> None:
    numbers = (Target(name="price", problem="regression"),)
    config = config_of('compare.variants=["modalities", "classical", "raw"]')
    found = names(known(config, "image", "text", metric="mae", targets=numbers))
    assert found == ["profile", "image-only", "text-only"]


def test_a_metric_of_probabilities_leaves_out_what_gives_none() -> None:
    found = names(known(config_of(), "image", "text", metric="log_loss"))
    assert "tfidf-naive-bayes" in found
    assert "hog-svm" not in found


def test_several_label_columns_bring_the_first_alone() -> None:
    config = config_of('data.columns.labels=["a", "b"]', 'compare.variants=["tasks"]')
    assert choose_variants(known(config, "image")).variants[1].labels == ("a",)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (['compare.variants=["modalites"]'], "'modalites' is no variant; did you mean 'modalities'?"),
        (["compare.reference=fusion-gate"], "did you mean 'fusion-gated'?"),
        (['compare.custom={"wide": {"fusion.hiden": 1}}'], "did you mean 'fusion.hidden'?"),
        (['compare.custom={"wide": {"fusion.hidden": 1}}'], "compare.custom.wide: "),
        (['compare.custom={"x": {"data.max_rows": 9}}'], "'data.max_rows' is no setting that a variant can have"),
        (['compare.custom={"x": {"train.crop": 0.5}}'], "did you mean 'train.min_crop_scale'?"),
        (['compare.custom={"hog-svm": {"fusion.hidden": 64}}'], "is the name of another variant"),
        (['compare.backbones={"image": ["torchvizion:x"]}'], "compare.backbones"),
    ],
)
def test_what_does_not_exist_is_refused_with_what_does(settings: list[str], said: str) -> None:
    with pytest.raises(UsageError) as refused:
        require_known(config_of(*settings))
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("compare.variants=[]", "nothing to compare"),
        ("compare.seeds=0", "with fewer than two seeds nothing tells"),
        ("compare.seeds=1", "with fewer than two seeds nothing tells a better variant from a luckier start"),
        ('compare.custom={"fusion": {"fusion.hidden": 64}}', "no group's"),
        ('compare.custom={"wide": {}}', "has no settings"),
    ],
)
def test_a_comparison_that_could_show_nothing_is_refused_when_it_is_read(setting: str, said: str) -> None:
    with pytest.raises(UsageError) as refused:
        config_of(setting)
    assert said in str(refused.value)


def test_a_variant_that_is_named_and_does_not_apply_is_refused_a_group_is_not() -> None:
    with pytest.raises(UsageError, match="audio-only does not apply: the model has no audio"):
        names(known(config_of('compare.variants=["audio-only"]'), "image", "text"))
    with pytest.raises(UsageError, match="nothing is left to compare with profile"):
        names(known(config_of('compare.variants=["fusion"]'), "image"))


def test_a_dotted_key_is_read_as_toml_reads_it_and_paths_of_a_profile_are_its_own() -> None:
    nested = load_config({"compare": {"custom": {"wide": {"fusion": {"hidden": 512}}}}})
    assert nested.compare.custom == {"wide": {"fusion.hidden": 512}}


def test_every_variant_starts_from_nothing_with_the_epochs_of_the_comparison() -> None:
    found = compare_config(config_of("compare.epochs=2", "train.continue_from=champion"))
    assert (found.train.epochs, found.train.continue_from) == (2, "none")
