"""Classify images with a tuned model.

python predict.py RUN scans/ --out predictions.csv       a folder, with its sub-folders; DICOM too
python predict.py BUNDLE a.png b.dcm "scans/**/*.tif"    files and patterns; CSV on standard output
python predict.py BUNDLE list.csv --column image --out predictions.jsonl
python predict.py BUNDLE scans/ --out predictions.csv --explain maps/ --sets --top 3
python predict.py BUNDLE scans/ --out predictions.csv --classes "benign nodule" "malignant nodule"

Exit code: 0; 1 if some files could not be read; 2 for bad input; 130 for an interrupt.
"""

import sys

try:
    from biomed_dpt.predict_command import build_parser, run
    from dassl.errors import exit_code
except ModuleNotFoundError as error:
    hint = "install requirements.txt, or activate the environment of the scripts: source .venv/bin/activate"
    print(f"error: {error}; {hint}", file=sys.stderr)
    sys.exit(2)


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    args = build_parser(__doc__ or "").parse_intermixed_args(argv)
    return exit_code(lambda: run(args), "the same command starts again from the first image")


if __name__ == "__main__":
    sys.exit(main())
