"""Forty containers run and removed amid other writes: how much comes back, and that nothing is made up."""

import pytest

from support.removed_score import score


@pytest.fixture(scope="module")
def scored(carved):
    return score(carved("busy", "--no-findings", "--no-logs"))


def test_removed_containers_come_back_with_id_name_command_and_environment(scored):
    assert scored.removed == 40
    assert scored.whole >= 0.95 * scored.removed


def test_files_come_back_where_their_blocks_were_not_reused(scored):
    assert scored.standing > 40
    assert scored.reused > 20
    assert scored.by_content >= 0.9 * scored.standing


def test_no_container_and_no_content_is_made_up(scored):
    assert scored.false == []
    assert scored.wrong == []


def test_files_have_their_path_and_container_where_a_name_still_stands(scored):
    assert scored.placed >= 0.3 * scored.standing
