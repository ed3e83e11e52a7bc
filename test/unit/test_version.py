from modules import version


def test_program_version_reads_as_1_10_1_to_others():
    assert version.PROGRAM_VERSION.split("-")[0] == "v1.10.1"
    assert version.PROGRAM_VERSION.endswith(version.__version__)
