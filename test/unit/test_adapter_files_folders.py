"""Folders of networks: names for tags. Which files there are is tested with what their headers say."""

from modules.adapter_files import folders


def test_names_that_can_stand_in_a_tag():
    assert folders.tag_name("a:b <c>, d=#1") == "a_b _c_, d__1"
