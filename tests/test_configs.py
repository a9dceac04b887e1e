"""The yaml files against the facts they carry."""

import pytest

from configs import Choice, build_cfg, dataset_names
from dassl.errors import InputError
from prompts import load_prompts
from tests.registered import METHODS
from trainers.linearprobe import COARSE
from trainers.registry import METHOD_REGISTRY


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("protocol", ["few_shot", "base2new"])
def test_every_method_has_a_configuration_for_every_data_set(method, protocol):
    for dataset in dataset_names():
        if protocol == "base2new" and METHOD_REGISTRY.get(method).class_specific:
            with pytest.raises(InputError, match="has none for new classes"):
                build_cfg(Choice(method, dataset=dataset, protocol=protocol))
            continue
        cfg = build_cfg(Choice(method, dataset=dataset, protocol=protocol))
        assert method == cfg.TRAINER.NAME
        assert ("base" if protocol == "base2new" else "all") == cfg.DATASET.SUBSAMPLE_CLASSES
        assert list(cfg.TRAINER) == ["NAME", method.upper()]


PROMPT_LEARNERS = ["BiomedCoOp", "BiomedDPT", "CoCoOp", "CoOp", "DPT", "KgCoOp", "MaPLe", "ProGrad", "VPT"]
# Names in the facts of what is a setting of a method.
SETTINGS = {"l1_lambda": "L1_LAMBDA", "kl_lambda": "KL_LAMBDA", "n_prompts": "N_PROMPTS", "w": "W", "t": "T"}
SETTINGS |= {"sccm_lambda": "SCCM_LAMBDA", "kdsp_lambda": "KDSP_LAMBDA", "tau": "TAU", "lambda": "LAMBDA"}
SETTINGS |= {"prompt_depth": "PROMPT_DEPTH"}


@pytest.fixture(scope="module")
def facts(shared):
    import yaml

    return yaml.safe_load((shared / "facts" / "hyperparameters.yaml").read_text())


@pytest.mark.parametrize("protocol", ["few_shot", "base2new"])
@pytest.mark.parametrize("method", PROMPT_LEARNERS)
def test_hyper_parameters_are_the_published_ones(facts, method, protocol):
    if protocol not in facts[method]:
        pytest.skip(f"no {protocol} settings of {method} were published")
    common, own = facts["common"], {**facts[method]["common"], **facts[method][protocol]}
    for dataset in set(dataset_names()) - {"phantom"}:
        cfg = build_cfg(Choice(method, dataset=dataset, protocol=protocol))
        settings, fact = cfg.TRAINER[method.upper()], {**own, **own.get(dataset, {})}
        assert common["optimizer"] == cfg.OPTIM.NAME
        assert common["momentum"] == cfg.OPTIM.MOMENTUM
        assert common["weight_decay"] == cfg.OPTIM.WEIGHT_DECAY
        assert common["lr_scheduler"] == cfg.OPTIM.LR_SCHEDULER
        assert (common["warmup_epoch"], common["warmup_type"]) == (cfg.OPTIM.WARMUP_EPOCH, cfg.OPTIM.WARMUP_TYPE)
        assert common["warmup_cons_lr"] == cfg.OPTIM.WARMUP_CONS_LR
        assert common["interpolation"] == cfg.INPUT.INTERPOLATION
        assert list(cfg.INPUT.TRANSFORMS) == common["transforms"]
        assert common["test_batch_size"] == cfg.DATALOADER.TEST.BATCH_SIZE
        assert (fact["lr"], fact["max_epoch"]) == (cfg.OPTIM.LR, cfg.OPTIM.MAX_EPOCH)
        assert fact["batch_size"] == cfg.DATALOADER.TRAIN_X.BATCH_SIZE
        for name, key in SETTINGS.items():
            if name in fact:
                assert settings[key] == fact[name], (dataset, name)
        if method == "VPT":
            assert fact["n_ctx"] == settings.VISUAL_TOKENS
            continue
        assert common["class_token_position"] == settings.CLASS_TOKEN_POSITION
        assert common["csc"] == settings.CSC
        template = load_prompts(dataset).template
        ctx_init = template.split("{}")[0].strip() if settings.CTX_INIT == "template" else settings.CTX_INIT
        assert ctx_init == fact["ctx_init"]
        assert (settings.N_CTX or len(ctx_init.split())) == fact["n_ctx"]


def test_settings_of_feature_space_methods_are_the_published_ones(facts):
    def built(method):
        cfg = build_cfg(Choice(method, dataset="busi"))
        assert tuple(cfg.INPUT.TRANSFORMS) == ("random_resized_crop", "random_flip", "normalize")
        assert cfg.INPUT.RRCROP_SCALE == (0.5, 1.0)
        return cfg, cfg.TRAINER[method.upper()], facts[FACT.get(method, method)]["few_shot"]

    FACT = {"CLIPAdapter": "ClipAdapter", "TipAdapterF": "TipAdapter"}
    cfg, settings, fact = built("CLIPAdapter")
    assert (fact["alpha"], fact["reduction"]) == (settings.RATIO, settings.REDUCTION)
    assert (cfg.OPTIM.NAME, cfg.OPTIM.MOMENTUM, cfg.OPTIM.WEIGHT_DECAY) == ("sgd", 0, 0)
    assert (fact["lr"], fact["max_epoch"]) == (cfg.OPTIM.LR, cfg.OPTIM.MAX_EPOCH)
    assert fact["batch_size"] == cfg.DATALOADER.TRAIN_X.BATCH_SIZE
    cfg, settings, fact = built("TipAdapter")
    assert fact["augment_epoch"] == settings.AUGMENT_EPOCHS
    assert fact["search_scale"] == [settings.SEARCH_SCALE] * 2
    assert fact["search_step"] == [settings.SEARCH_STEPS] * 2
    cfg, settings, fact = built("TipAdapterF")
    assert [fact["init_alpha"]] == settings.ALPHAS
    assert (fact["finetune_lr_of_F"], fact["finetune_epochs_of_F"]) == (cfg.OPTIM.LR, cfg.OPTIM.MAX_EPOCH)
    assert fact["batch_size"] == cfg.DATALOADER.TRAIN_X.BATCH_SIZE
    cfg, settings, fact = built("LinearProbe")
    assert (fact["binary_search_steps"], fact["max_iter"]) == (settings.SEARCH_STEPS, settings.MAX_ITER)
    assert list(COARSE) == fact["search_C"]
    cfg, settings, fact = built("LPpp")
    assert (fact["max_epoch"], fact["alpha_update_every"]) == (cfg.OPTIM.MAX_EPOCH, settings.ALPHA_EVERY)


def test_templates_are_the_published_ones(shared):
    import yaml

    for name, fact in yaml.safe_load((shared / "facts" / "datasets.yaml").read_text()).items():
        assert load_prompts(name).template == fact["clinical_template"]


def test_later_layers_win():
    cfg = build_cfg(Choice("BiomedDPT", dataset="busi", opts=["TRAINER.BIOMEDDPT.KL_LAMBDA", "7.0"]))
    assert (cfg.TRAINER.BIOMEDDPT.L1_LAMBDA, cfg.TRAINER.BIOMEDDPT.KL_LAMBDA) == (18.75, 7.0)
    assert build_cfg(Choice("BiomedDPT")).TRAINER.BIOMEDDPT.TEXT_DROPOUT is False
    assert build_cfg(Choice("BiomedDPT", published=True)).TRAINER.BIOMEDDPT.TEXT_DROPOUT is True
    assert Choice("BiomedDPT_BiomedCLIP").backbone == "BiomedCLIP"
    assert Choice("BiomedDPT").backbone == "Tiny"
