"""The prompt files: counts, lengths, duplicates and vocabulary of the sentences, and how well they separate classes."""

import json
import re
from collections import Counter

import numpy as np
import pytest

from dassl.errors import InputError
from prompts import available_prompts, load_prompts
from tests.registered import DATASETS

CLASSES = {cls.prompts: cls.classes for cls in DATASETS}


def words(text):
    return set(re.findall(r"[a-z0-9]+", text.lower()))


def test_prompt_files_hold_the_classes_of_their_data_set_in_order():
    assert sorted(CLASSES) == available_prompts()
    assert sum(len(cls.classes) for cls in DATASETS if cls.in_paper) == 56
    for name, classes in CLASSES.items():
        assert tuple(load_prompts(name).classes) == classes, name


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_each_class_has_fifty_distinct_sentences_of_8_to_40_words(name):
    seen = Counter()
    for classname, sentences in load_prompts(name).classes.items():
        assert len(sentences) == 50, classname
        for sentence in sentences:
            assert 8 <= len(sentence.split()) <= 40, sentence
            assert sentence.isascii(), sentence
            assert sentence[0].isupper(), sentence
            assert sentence.endswith("."), sentence
            seen[" ".join(sorted(words(sentence)))] += 1
    assert max(seen.values()) == 1, seen.most_common(1)


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_sentences_of_a_class_share_at_most_60_percent_of_their_words(name):
    for sentences in load_prompts(name).classes.values():
        bags = [words(sentence) for sentence in sentences]
        for i, first in enumerate(bags):
            for j in range(i):
                assert len(first & bags[j]) / len(first | bags[j]) <= 0.6, (sentences[j], sentences[i])


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_sentences_separate_the_classes_without_their_names(name):
    """A word classifier, fitted on all other sentences, classifies each sentence without its class names."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.naive_bayes import ComplementNB

    classes = load_prompts(name).classes
    names = list(set().union(*map(words, classes)))
    texts = [sentence for sentences in classes.values() for sentence in sentences]
    labels = np.repeat(np.arange(len(classes)), 50)
    features = TfidfVectorizer(sublinear_tf=True, stop_words=names).fit_transform(texts)
    hits = 0
    for k in range(len(texts)):
        others = np.arange(len(texts)) != k
        hits += ComplementNB().fit(features[others], labels[others]).predict(features[k])[0] == labels[k]
    assert hits / len(texts) >= 2 / len(classes)


def test_tinys_tokeniser_has_every_word_of_the_sentences(tiny):
    for name in available_prompts():
        prompts = load_prompts(name)
        texts = [s for sentences in prompts.classes.values() for s in sentences]
        texts += [prompts.template.replace("{}", classname) for classname in prompts.classes]
        tokens = tiny.tokenize(texts)
        unknown = tiny._tokenizer.unk_token_id
        assert unknown is not None
        assert not (tokens.ids == unknown).any(), name
        assert tokens.ids.shape[1] < tiny.context_length, name


def test_loader_errors_name_the_problem(tmp_path):
    with pytest.raises(InputError, match=r"unknown prompt file \(DATASET.PROMPTS\) 'btmr'. Did you mean 'btmri'"):
        load_prompts("btmr")
    with pytest.raises(InputError, match="does not exist"):
        load_prompts(str(tmp_path / "none.json"))
    path = tmp_path / "own.json"
    cases = {
        "{": "cannot be read as JSON",
        "[]": "must be an object with the keys",
        '{"template": "a scan", "classes": {"a": ["b"]}}': "exactly one {}",
        '{"template": "a {}", "classes": {}}': "must map each class name",
        '{"template": "a {}", "classes": {"a": [""]}}': "class 'a' must have a list of non-empty sentences",
    }
    for text, message in cases.items():
        path.write_text(text)
        with pytest.raises(InputError, match=message):
            load_prompts(str(path))
    path.write_text(json.dumps({"template": "a {}", "classes": {"cat": ["A cat is seen."]}}))
    prompts = load_prompts(str(path))
    assert prompts.sentences(["cat"], 1) == [["A cat is seen."]]
    with pytest.raises(InputError, match="class 'cat' has 1 sentences, 2 were asked for"):
        prompts.sentences(["cat"], 2)
    with pytest.raises(InputError, match="no sentences for class 'dog'"):
        prompts["dog"]
