from __future__ import annotations

import re

from mww.esphome.contract import REGISTERED_OPS
from mww.verification import MANIFEST_RULES, RULES
from tools.checks_reference import PAGE, page


def test_the_reference_page_lists_the_rules_as_they_are() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run python -m tools.checks_reference"


def test_every_rule_can_be_looked_up_and_says_why_and_what_to_do() -> None:
    for rule in (*RULES.values(), *MANIFEST_RULES.values()):
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", rule.id)
        assert rule.hint
        assert rule.judge.__doc__


def test_every_registered_operator_has_a_kernel_rule() -> None:
    kernels = {identifier for identifier in RULES if identifier.startswith("kernel-")}
    assert kernels == {f"kernel-{op.lower().replace('_', '-')}" for op in REGISTERED_OPS}
