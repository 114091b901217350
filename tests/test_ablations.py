"""The paper's ablations, counted beside its figures."""

import pytest

from senet.ablations import ABLATIONS, count, count_ablations
from senet.cli.tables import print_ablations


def row(table, variant):
    return next(row for row in ABLATIONS if (row.table, row.variant) == (table, variant))


def test_every_table_is_there():
    assert {ablation.table for ablation in ABLATIONS} == {10, 11, 12, 13, 14, 15, 16}
    assert all(ablation.se is None or not ablation.se.bias for ablation in ABLATIONS)


def test_a_row_is_counted_and_compared():
    counted = count(row(10, "r = 8"))
    assert (counted.parameters, counted.trainable_parameters) == (30_640_040, 30_586_920)
    assert counted.differs == ("parameters",)  # 30.6 M; the paper prints 30.7 M
    assert counted.to_json()["ablation"]["se"]["ratio"] == 8


@pytest.mark.slow
def test_where_the_counts_differ_from_the_paper(capsys):
    rows = count_ablations()
    assert {(row.ablation.table, row.ablation.variant): row.differs for row in rows if row.differs} == {
        (10, "r = 8"): ("parameters",),
        (13, "stage 2"): ("multiply-adds",),
        (13, "stage 3"): ("multiply-adds",),
        (13, "stage 4"): ("multiply-adds",),
        (15, "SE 3×3"): ("multiply-adds",),
    }
    print_ablations(rows)
    assert capsys.readouterr().out.count("multiply-adds") >= 4
