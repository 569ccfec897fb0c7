"""`rounds-site setup` at a real terminal: a pseudo-terminal, with keys typed as a person types them."""

from pathlib import Path

from shared.config.files import read_site
from tests.terminal import terminal


def test_answers_are_typed_and_a_wrong_map_is_corrected(site: Path, films: Path, study: Path) -> None:
    """Each mistake is told and asked again; what is guessed takes no Enter; the file is written after a last yes."""
    before = site.read_bytes()
    with terminal("setup", str(site), "--study", str(study), "--offline") as person:
        person.until("Folder of the images, or their table: ")
        person.type(str(films / "nowhere"))
        assert "check path and rights" in person.until("Folder of the images, or their table: ")
        person.type(str(films))
        assert "1  folders: class folders: the folder of a picture is its label" in person.until(
            "Which of these is it [folders]: "
        )
        person.type("")
        assert "8 patients in 16 pictures" in person.until("(number, pattern or each): ")
        person.type("1")
        told = person.until("LABEL= leaves it out): ")
        assert "often the same finding: is it, here?" in " ".join(told.split())
        person.type("opacity=lung")
        assert "class 'lung' for label 'opacity' is none of the study" in person.until(
            "LABEL= leaves it out): "
        )
        person.type("opacity=pneumonia")
        assert "(normal 4, pneumonia 4)" in person.until("Declared training patients (such as 10 or 12): ")
        person.type("ten")
        assert "--declared is 'ten', allowed is a whole number" in person.until("(such as 10 or 12): ")
        person.type("10")
        assert "this study asks 4" in person.until("Cap: epsilon [10]: ")
        person.type("5")
        assert '+  label_map: {NORMAL: "normal", opacity: "pneumonia"}' in person.until("Write this [yes]: ")
        assert site.read_bytes() == before
        person.type("")
        person.until(f"$ rounds-site check {site} {study} --offline")
        assert person.end() == 1
        assert "What to do next:" in person.shown
    config = read_site(site)
    assert (config.data.label_map, config.cap.epsilon) == ({"NORMAL": "normal", "opacity": "pneumonia"}, 5.0)


def test_ctrl_c_leaves_the_file_as_it_was(site: Path, films: Path) -> None:
    """Also at the very last question; so does answering no."""
    before = site.read_bytes()
    given = (
        "--source",
        str(films),
        "--patients",
        "1",
        "--declared",
        "10",
        "--cap-epsilon",
        "5",
        "--kind",
        "folders",
    )
    with terminal("setup", str(site), *given) as person:
        person.until("Write this [yes]: ")
        assert person.interrupt() == 1
        assert "Aborted" in person.shown
    assert site.read_bytes() == before
    with terminal("setup", str(site), *given) as person:
        person.until("Write this [yes]: ")
        person.type("no")
        assert person.end() == 1
        assert "Nothing was written." in person.shown
    assert site.read_bytes() == before
