"""The yaml files against the facts they carry."""

import pytest

from configs import Choice, available_datasets, build_cfg
from dassl.engine import TRAINER_REGISTRY
from dassl.errors import InputError
from prompts import load_prompts
from tests.registered import METHODS


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("protocol", ["few_shot", "base2new"])
def test_every_method_has_a_configuration_for_every_data_set(method, protocol):
    for dataset in available_datasets():
        if protocol == "base2new" and TRAINER_REGISTRY.get(method).class_specific:
            with pytest.raises(InputError, match="has none for new ones"):
                build_cfg(Choice(method, dataset=dataset, protocol=protocol))
            continue
        cfg = build_cfg(Choice(method, dataset=dataset, protocol=protocol))
        assert method == cfg.TRAINER.NAME
        assert ("base" if protocol == "base2new" else "all") == cfg.DATASET.SUBSAMPLE_CLASSES
        assert list(cfg.TRAINER) == ["NAME", method.upper()]


@pytest.mark.parametrize("protocol", ["few_shot", "base2new"])
@pytest.mark.parametrize("method", ["CoOp", "BiomedDPT"])
def test_hyper_parameters_are_the_published_ones(shared, method, protocol):
    import yaml

    facts = yaml.safe_load((shared / "facts" / "hyperparameters.yaml").read_text())
    common, own = facts["common"], {**facts[method]["common"], **facts[method][protocol]}
    for dataset in set(available_datasets()) - {"phantom"}:
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
        assert common["class_token_position"] == settings.CLASS_TOKEN_POSITION
        assert common["csc"] == settings.CSC
        template = load_prompts(dataset).template
        ctx_init = settings.CTX_INIT or template.split("{}")[0].strip()
        assert ctx_init == fact["ctx_init"]
        assert (settings.N_CTX or len(ctx_init.split())) == fact["n_ctx"]
        if method == "BiomedDPT":
            assert (fact["l1_lambda"], fact["kl_lambda"]) == (settings.L1_LAMBDA, settings.KL_LAMBDA)
            assert fact["n_prompts"] == settings.N_PROMPTS


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
