from xml.etree import ElementTree

import numpy as np

from emogene.evaluate.emotion_plot import displacement_sheet


def test_a_sheet_is_svg_with_every_label(tmp_path):
    face = np.random.default_rng(0).normal(0, 0.3, (68, 3)).astype(np.float32)
    displacement_sheet(tmp_path / "a.svg", face, {"happy": face + 0.1, "sad": face - 0.1})
    root = ElementTree.parse(tmp_path / "a.svg").getroot()
    assert [node.text for node in root.iter("{http://www.w3.org/2000/svg}text")] == ["happy", "sad"]
    assert len(list(root.iter("{http://www.w3.org/2000/svg}path"))) == 2 * 68
