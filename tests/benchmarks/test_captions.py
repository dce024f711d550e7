"""The captions that the benchmark makes: half of them tell, the same each time, no two alike."""

from pathlib import Path

from benchmarks.captions import HIDDEN, NAMING, caption, write_manifest


def test_half_of_the_captions_name_the_class_and_none_repeats():
    lines = [caption(f"row-{n}", "frog") for n in range(2000)]
    assert 0.45 < sum("frog" in text for text in lines) / 2000 < 0.55
    assert len(set(lines)) == 2000
    assert lines == [caption(f"row-{n}", "frog") for n in range(2000)]
    assert not any("frog" in template for template in (*NAMING, *HIDDEN))


def test_the_manifest_names_the_pictures_where_they_lie(tmp_path: Path):
    (tmp_path / "manifest.csv").write_text("sample_id,image_path,label,split\na,train/a.jpg,cat,train\n")
    lines = write_manifest(tmp_path, tmp_path / "captions.csv").read_text().splitlines()
    assert lines[0] == "id,image,text,label,split"
    assert lines[1].startswith(f"a,{tmp_path}/train/a.jpg,")
    assert lines[1].endswith(",cat,train")
