"""Train and test one run.

python train.py --trainer BiomedDPT                      the embedded default: phantom data, Tiny backbone
python train.py --trainer BiomedDPT --dataset btmri --root DATA --backbone BiomedCLIP --shots 16 --seed 1
python train.py --trainer CoOp_BiomedCLIP --dataset busi --root DATA --protocol base2new
python train.py --trainer CoOp … --eval-only --model-dir OUTPUT/…/seed1
python train.py --trainer BiomedDPT … TRAINER.BIOMEDDPT.L1_LAMBDA 20.0 OPTIM.MAX_EPOCH 50
python train.py --list [METHOD | settings]               what there is, the settings of a method, or those of all
python train.py --import mine.py --trainer MyTrainer --dataset mine.yaml --root DATA
"""

import sys

try:
    from dassl.errors import exit_code
    from runs.arguments import parse_args
    from runs.execute import carry_out
except ModuleNotFoundError as error:
    hint = "install requirements.txt, or activate the environment of the scripts: source .venv/bin/activate"
    print(f"error: {error}; {hint}", file=sys.stderr)
    sys.exit(2)


def print_list(names: list[str]) -> None:
    """Print the lists of methods, backbones and data sets, or the settings of some methods or ("settings") of all."""
    from configs.listing import everything, method_page, settings_page

    pages = [settings_page() if name == "settings" else method_page(name) for name in names]
    print("\n\n".join(pages) or everything())


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0, 2 for bad input, or 130 for an interrupt."""
    argv = sys.argv[1:] if argv is None else argv
    if argv[:1] == ["--list"]:
        return exit_code(lambda: print_list(argv[1:]), "")
    args = parse_args(argv, __doc__ or "")

    def work() -> None:
        carry_out([args])

    return exit_code(work, "the same command resumes after the last finished epoch")


if __name__ == "__main__":
    sys.exit(main())
