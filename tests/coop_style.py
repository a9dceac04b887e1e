"""A data set and a trainer as CoOp-style code writes them, against Dassl's documented API alone.

Nothing here knows this project's own rooms: it must run on `dassl` unchanged.
"""

import os

import torch
from torch import nn
from torch.cuda.amp import GradScaler
from torch.nn import functional as F

from dassl.data.datasets import DATASET_REGISTRY, DatasetBase, Datum
from dassl.engine import TRAINER_REGISTRY, TrainerX
from dassl.metrics import compute_accuracy
from dassl.optim import build_lr_scheduler, build_optimizer
from dassl.utils import count_num_param, listdir_nohidden, load_checkpoint, load_pretrained_weights, mkdir_if_missing


def extend_cfg(cfg):
    """The settings of the trainer, as CoOp's train.py declares those of its own."""
    from yacs.config import CfgNode as CN

    cfg.TRAINER.MEANCOLOUR = CN()
    cfg.TRAINER.MEANCOLOUR.PREC = "fp32"  # fp16, fp32, amp


@DATASET_REGISTRY.register()
class Shades(DatasetBase):
    dataset_dir = "shades"

    def __init__(self, cfg):
        root = os.path.abspath(os.path.expanduser(cfg.DATASET.ROOT))
        self.dataset_dir = os.path.join(root, self.dataset_dir)
        mkdir_if_missing(os.path.join(self.dataset_dir, "split_fewshot"))
        splits = [self.read_data(part) for part in ("train", "val", "test")]
        train, val, test = splits
        num_shots = cfg.DATASET.NUM_SHOTS
        if num_shots >= 1:
            train = self.generate_fewshot_dataset(train, num_shots=num_shots)
            val = self.generate_fewshot_dataset(val, num_shots=min(num_shots, 4))
        super().__init__(train_x=train, val=val, test=test)

    def read_data(self, part):
        folder = os.path.join(self.dataset_dir, part)
        items = []
        for label, name in enumerate(listdir_nohidden(folder, sort=True)):
            for file in listdir_nohidden(os.path.join(folder, name), sort=True):
                items.append(Datum(impath=os.path.join(folder, name, file), label=label, classname=name))
        return items


class Learner(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.head = nn.Linear(3, classes)

    def forward(self, image):
        return self.head(image.mean(dim=(2, 3)))


@TRAINER_REGISTRY.register()
class MeanColour(TrainerX):
    def check_cfg(self, cfg):
        assert cfg.TRAINER.MEANCOLOUR.PREC in ["fp16", "fp32", "amp"]

    def build_model(self):
        cfg = self.cfg
        classnames = self.dm.dataset.classnames
        assert classnames == [self.dm.lab2cname[label] for label in range(self.num_classes)]
        self.model = Learner(len(classnames))
        if cfg.MODEL.INIT_WEIGHTS:
            load_pretrained_weights(self.model.head, cfg.MODEL.INIT_WEIGHTS)
        self.model.to(self.device)
        assert count_num_param(self.model) == 4 * len(classnames)
        self.optim = build_optimizer(self.model.head, cfg.OPTIM)
        self.sched = build_lr_scheduler(self.optim, cfg.OPTIM)
        self.register_model("learner", self.model.head, self.optim, self.sched)
        self.scaler = GradScaler() if cfg.TRAINER.MEANCOLOUR.PREC == "amp" else None

    def forward_backward(self, batch):
        image, label = self.parse_batch_train(batch)
        output = self.model(image)
        loss = F.cross_entropy(output, label)
        self.model_backward_and_update(loss)
        loss_summary = {"loss": loss.item(), "acc": compute_accuracy(output, label)[0].item()}
        if (self.batch_idx + 1) == self.num_batches:
            self.update_lr()
        return loss_summary

    def parse_batch_train(self, batch):
        input = batch["img"]
        label = batch["label"]
        return input.to(self.device), label.to(self.device)

    def load_model(self, directory, epoch=None):
        if not directory:
            print("Note that load_model() is skipped as no pretrained model is given")
            return
        names = self.get_model_names()
        model_file = "model-best.pth.tar"
        if epoch is not None:
            model_file = "model.pth.tar-" + str(epoch)
        for name in names:
            model_path = os.path.join(directory, name, model_file)
            checkpoint = load_checkpoint(model_path)
            state_dict = checkpoint["state_dict"]
            print(f'Loading weights to {name} from "{model_path}" (epoch = {checkpoint["epoch"]})')
            self._models[name].load_state_dict(state_dict, strict=False)


def make_images(root, size=12):
    """Plain images of three shades with noise."""
    from PIL import Image

    generator = torch.Generator().manual_seed(0)
    for part, count in (("train", 8), ("val", 4), ("test", 10)):
        for name, shade in (("bright", 200), ("dark", 50), ("middle", 120)):
            folder = os.path.join(root, "shades", part, name)
            mkdir_if_missing(folder)
            for k in range(count):
                noise = torch.randint(-20, 20, (size, size, 3), generator=generator)
                Image.fromarray((noise + shade).byte().numpy()).save(os.path.join(folder, f"{k}.png"))
