"""A small part of the fuzz suite: every case written by hand, some generated ones, and twenty runs to the end."""

import pytest
from hypothesis import given, settings

from tests.fuzz import session
from tests.fuzz.settings import sane

EXAMPLES = settings(session.QUIET, derandomize=True)
PER_KIND, EXECUTED = 60, 20


@pytest.fixture(scope="module")
def site():
    with session.temporary_site() as made:
        yield made


@pytest.mark.parametrize("kind", session.KINDS)
def test_cases_written_by_hand(kind, site):
    verdicts = [(case, session.try_case(case, site)) for case in session.module(kind).hand()]
    failed = [(verdict.why, session.to_text(case)) for case, verdict in verdicts if verdict.ending == "failed"]
    assert not failed


@pytest.mark.parametrize("kind", session.KINDS)
def test_generated_cases(kind, site):
    @settings(EXAMPLES, max_examples=PER_KIND)
    @given(session.module(kind).cases())
    def check(case):
        verdict = session.try_case(case, site)
        assert verdict.ending != "failed", (verdict.why, session.to_text(case))

    check()


def test_accepted_settings_run_to_finite_results_with_the_settings_that_were_asked_for(site):
    @settings(EXAMPLES, max_examples=EXECUTED)
    @given(sane())
    def check(case):
        verdict = session.try_case(case, site)
        assert verdict.ending == "accepted", (verdict.why, session.to_text(case))

    check()
