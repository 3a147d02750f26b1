"""The folder of the flight recorders goes when its supervisor does, however that ends."""

from pathlib import Path

from headrace.supervisor.folder import recorders


def test_folder_goes_at_the_end_with_what_is_in_it(tmp_path: Path) -> None:
    with recorders(tmp_path) as folder:
        (folder / "recorder").touch()
        assert folder.stat().st_mode & 0o777 == 0o700
        assert list(tmp_path.iterdir()) == [folder]
    assert list(tmp_path.iterdir()) == []


def test_what_the_dead_have_left_is_swept_away_and_the_living_are_left_alone(tmp_path: Path) -> None:
    with recorders(tmp_path) as living:
        (tmp_path / ".headrace-recorders-dead").mkdir()
        (tmp_path / ".headrace-recorders-dead" / "recorder").touch()
        (tmp_path / "other").mkdir()
        with recorders(tmp_path) as second:
            assert set(tmp_path.iterdir()) == {living, second, tmp_path / "other"}


def test_place_that_cannot_be_written_is_not_used(tmp_path: Path) -> None:
    with recorders(tmp_path / "missing") as folder:
        assert folder.is_dir()
