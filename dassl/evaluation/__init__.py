from dassl.evaluation.evaluator import EVALUATOR_REGISTRY, Classification, EvaluatorBase, build_evaluator
from dassl.evaluation.predictions import Predictions

__all__ = ["EVALUATOR_REGISTRY", "Classification", "EvaluatorBase", "Predictions", "build_evaluator"]
