"""Files of a recipe import each other, and not those of another recipe."""

from __future__ import annotations

from rezbuild.util import import_file


def test_each_recipe_has_its_own_helpers(tmp_path):
    found = []
    for number in (1, 2):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "recipe.py").write_text("from . import helper\n")
        (folder / "helper.py").write_text(f"NUMBER = {number}\n")
        found.append(import_file.load(folder, "recipe.py").helper.NUMBER)
    assert found == [1, 2]
