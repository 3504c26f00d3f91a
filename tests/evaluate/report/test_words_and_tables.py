"""What is said, what is bold, what is played and how it is drawn, from results with chosen figures."""

import io
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hafm.audio.mixdown import LOUDNESS_LUFS
from hafm.evaluate.pages import vocal_alone
from hafm.evaluate.report.chart import mark, scale_for, ticks
from hafm.evaluate.report.clips import alone_and_mix, choose_clips
from hafm.evaluate.report.lookup import Lookup
from hafm.evaluate.report.page import table_markdown, write_report
from hafm.evaluate.report.paper_table2 import like_table2
from hafm.evaluate.report.pictures import (
    CHROMA_ROWS,
    COLUMNS,
    GAP_ROWS,
    LEVELS,
    SPECTRUM_ROWS,
    picture,
    shades_png,
)
from hafm.evaluate.report.tables import adherence, best_of, best_systems, fit
from hafm.evaluate.report.words import summary
from hafm.evaluate.run.results import Figure, FitRow, Results
from hafm.evaluate.testset import Clip, Manifest
from tests.evaluate.runs import MEASURES, RATE, make_run, results_of

ALL = ("truth", "model", "model-best-of-4", "model-best-of-8", "retrieval", "random", "noise")


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return make_run(
        tmp_path_factory.mktemp("tables") / "run", songs=2, systems=("truth",), seconds=1.0
    ).manifest


def with_figures(results: Results, measure: str, figures: Mapping[str, tuple[float, float, float]]) -> Lookup:
    """These means of a measure, by system, in place of those that were made up."""

    def changed(row: FitRow) -> FitRow:
        if row.measure != measure or row.system not in figures:
            return row
        value, low, high = figures[row.system]
        return replace(row, figure=Figure(value=value, low=low, high=high))

    return Lookup(replace(results, fit=tuple(changed(row) for row in results.fit)))


def measure_called(name: str) -> int:
    return next(index for index, measure in enumerate(MEASURES) if measure.name == name)


# ---- bold


def test_the_best_that_is_no_ceiling_is_bold(manifest: Manifest) -> None:
    found = with_figures(
        results_of(manifest, ("truth", "model", "retrieval", "random")),
        "key_vocal",
        {
            "truth": (0.9, 0.8, 1.0),
            "model": (0.6, 0.5, 0.7),
            "retrieval": (0.5, 0.4, 0.6),
            "random": (0.3, 0.2, 0.4),
        },
    )
    measure = MEASURES[measure_called("key_vocal")]
    assert best_systems(found, "isolated", measure) == {"model"}
    table = fit(found, "isolated")
    column = measure_called("key_vocal")
    assert [row.cells[column].strong for row in table.rows] == [False, True, False, False]


@pytest.mark.parametrize(("low", "best"), [(0.29, set()), (0.31, {"model"})])
def test_a_best_that_random_pairing_could_have_reached_is_not_bold(
    manifest: Manifest, low: float, best: set[str]
) -> None:
    found = with_figures(
        results_of(manifest, ("model", "random")),
        "key_vocal",
        {"model": (0.6, low, 0.9), "random": (0.3, 0.1, 0.5)},
    )
    assert best_systems(found, "isolated", MEASURES[measure_called("key_vocal")]) == best


def test_where_less_is_better_the_least_is_bold(manifest: Manifest) -> None:
    found = with_figures(
        results_of(manifest, ("model", "retrieval", "random")),
        "dead_air",
        {"model": (0.1, 0.05, 0.15), "retrieval": (0.2, 0.15, 0.25), "random": (0.6, 0.5, 0.7)},
    )
    assert best_systems(found, "isolated", MEASURES[measure_called("dead_air")]) == {"model"}


def test_nothing_is_bold_where_a_measure_says_nothing_or_there_is_no_random_pairing(
    manifest: Manifest,
) -> None:
    clear = {"model": (0.9, 0.8, 1.0), "random": (0.1, 0.0, 0.2)}
    short = {"model": (0.1, 0.0, 0.2), "random": (0.9, 0.8, 1.0)}
    found = with_figures(results_of(manifest, ("model", "random")), "onset_lag", short)
    assert best_systems(found, "isolated", MEASURES[measure_called("onset_lag")]) == frozenset()
    assert best_systems(found, "isolated", MEASURES[measure_called("loudness_balance")]) == frozenset()
    alone = with_figures(results_of(manifest, ("model",)), "key_vocal", clear)
    assert best_systems(alone, "isolated", MEASURES[measure_called("key_vocal")]) == frozenset()


# ---- words


@pytest.mark.parametrize(
    ("model", "verdict"),
    [
        ((0.6, 0.41, 0.7), "The model is better than random pairing by key against the vocal"),
        ((0.6, 0.39, 0.7), "The model is not distinguishable from random pairing by key against the vocal"),
        ((0.1, 0.0, 0.19), "The model is worse than random pairing by key against the vocal"),
    ],
)
def test_a_difference_is_reported_where_intervals_do_not_meet(
    manifest: Manifest, model: tuple[float, float, float], verdict: str
) -> None:
    found = with_figures(
        results_of(manifest, ("truth", "model", "random")),
        "key_vocal",
        {"model": model, "random": (0.3, 0.2, 0.4)},
    )
    [line] = [line for line in summary(found) if "key against the vocal (" in line and "pairing" in line]
    figures = f"({model[0]:.2f} [{model[1]:.2f}, {model[2]:.2f}] against 0.30 [0.20, 0.40])"
    assert f"{verdict} {figures}" in line


def test_less_is_better_in_words_too(manifest: Manifest) -> None:
    found = with_figures(
        results_of(manifest, ("model", "random")),
        "dead_air",
        {"model": (0.1, 0.05, 0.15), "random": (0.6, 0.5, 0.7)},
    )
    assert any(
        "is better than random pairing by" in line and "dead air (0.10" in line for line in summary(found)
    )


def test_nothing_is_concluded_from_measures_that_say_nothing(manifest: Manifest) -> None:
    found = with_figures(
        results_of(manifest, ("model", "random")),
        "onset_lag",
        {"model": (0.1, 0.05, 0.15), "random": (0.6, 0.5, 0.7)},
    )
    spoken = [line for line in summary(found) if "onset lag" in line]
    assert len(spoken) == 1
    assert spoken[0].endswith("Nothing is concluded from onset lag.")
    assert not any("loudness" in line.lower() for line in summary(found))


def test_the_worth_of_the_vocal_is_stated_as_far_as_its_interval_goes(manifest: Manifest) -> None:
    results = results_of(manifest, ("model",))
    row = replace(results.worth[0], difference=Figure(value=0.1, low=-0.1, high=0.3))
    sentences = {
        line for line in summary(Lookup(replace(results, worth=(row, results.worth[1])))) if "stage" in line
    }
    assert sentences == {
        "The semantic stage shows no difference between the right vocal and another's: 0.100 "
        "[\N{MINUS SIGN}0.100, 0.300] nats per token.",
        "The coarse stage predicts true tokens better with the right vocal than with another's: 0.300 "
        "[0.200, 0.400] nats per token.",
    }


def test_a_run_without_model_or_measures_has_words_as_well(manifest: Manifest) -> None:
    results = replace(results_of(manifest, ("truth",)), measures=(), fit=(), apa=(), worth=())
    assert summary(Lookup(results)) == [
        "No measure of fit could be checked against true and random pairs, so none is discussed here."
    ]


# ---- other tables


def test_best_of_counts_takes_and_leaves_out_what_says_nothing(manifest: Manifest) -> None:
    found = Lookup(results_of(manifest, ALL))
    table = best_of(found, "isolated")
    assert table is not None
    assert [row.title for row in table.rows] == ["1 take", "4 takes", "8 takes"]
    assert [column.title.partition("\N{NO-BREAK SPACE}")[0] for column in table.columns] == [
        "Key against the vocal",
        "Dead air",
        "FAD",
        "FAD",
    ]
    figure = found.fit("isolated", "model-best-of-8", "key_vocal")
    assert figure is not None
    assert f"{table.rows[2].cells[0].text} {table.rows[2].cells[0].interval}" == str(figure)
    assert best_of(Lookup(results_of(manifest, ("truth", "model"))), "isolated") is None


def test_an_adherence_that_says_nothing_is_faint(manifest: Manifest) -> None:
    results = results_of(manifest, ("truth", "model"))
    silent = tuple(replace(row, informative=False, why="they cannot be told apart") for row in results.apa)
    table = adherence(Lookup(replace(results, apa=silent)), "isolated")
    assert table is not None
    assert table.columns[0].says_nothing
    assert table.columns[0].small == "says nothing here"
    assert "hafm-mel-modulation: they cannot be told apart." in table.notes
    one = adherence(Lookup(replace(results, apa=(silent[0], *results.apa[1:]))), "isolated")
    assert one is not None
    assert not one.columns[0].says_nothing
    assert [row.cells[0].faint for row in one.rows] == [True, False]


# ---- which clips


def clips_of(*songs: int) -> list[Clip]:
    """That many clips of each song."""
    return [
        Clip(
            id=f"{song}.{index}",
            track=str(song),
            song=str(song),
            start_seconds=0.0,
            num_samples=RATE,
            activity=1.0,
            sha256={},
        )
        for song, count in enumerate(songs)
        for index in range(count)
    ]


@pytest.mark.parametrize(
    ("songs", "count", "chosen"),
    [
        ((3, 3, 3, 3), 2, ["0.1", "2.1"]),
        ((1, 1, 1), 3, ["0.0", "1.0", "2.0"]),
        ((4, 1), 3, ["0.1", "0.3", "1.0"]),
        ((2, 2), 9, ["0.0", "0.1", "1.0", "1.1"]),
        ((2, 2), 0, []),
    ],
)
def test_clips_are_spread_over_songs(songs: tuple[int, ...], count: int, chosen: list[str]) -> None:
    assert [clip.id for clip in choose_clips(clips_of(*songs), count)] == chosen


# ---- pictures


def alphas(png: bytes) -> np.ndarray:
    image = Image.open(io.BytesIO(png))
    assert image.size == (COLUMNS, SPECTRUM_ROWS + GAP_ROWS + CHROMA_ROWS)
    return np.asarray(image.convert("RGBA"))[..., 3]


@pytest.mark.parametrize("columns", [1, 6, 7])
def test_every_shade_comes_back(columns: int) -> None:
    levels = np.random.default_rng(0).integers(0, LEVELS, size=(5, columns), dtype=np.uint8)
    image = np.asarray(Image.open(io.BytesIO(shades_png(levels, colour=(10, 20, 30)))).convert("RGBA"))
    assert (image[..., :3] == (10, 20, 30)).all()
    assert (image[..., 3] == levels * 17).all()


def tone(hz: float, seconds: float = 2.0) -> torch.Tensor:
    return 0.3 * torch.sin(2 * math.pi * hz * torch.arange(round(seconds * RATE)) / RATE)


def test_a_picture_shows_a_tone_where_it_is() -> None:
    """A4, then nothing: high up at 440 Hz of 11 kHz, in the row of A, and only in the first half."""
    drawn = alphas(picture(torch.cat([tone(440.0), torch.zeros(2 * RATE)]), RATE, colour=(1, 2, 3)))
    spectrum, chroma = drawn[:SPECTRUM_ROWS].astype(float), drawn[SPECTRUM_ROWS + GAP_ROWS :].astype(float)
    left, right = slice(20, COLUMNS // 2 - 20), slice(COLUMNS // 2 + 20, COLUMNS)
    mel = [2595 * math.log10(1 + hz / 700) for hz in (60.0, 440.0, 11_000.0)]
    expected = SPECTRUM_ROWS * (1 - (mel[1] - mel[0]) / (mel[2] - mel[0]))
    assert abs(spectrum[:, left].mean(axis=1).argmax() - expected) <= 1.5
    assert (CHROMA_ROWS - 1 - chroma[:, left].mean(axis=1).argmax()) // (CHROMA_ROWS // 12) == 9
    assert spectrum[:, right].max() == 0
    assert drawn[SPECTRUM_ROWS : SPECTRUM_ROWS + GAP_ROWS].max() == 0


def test_silence_is_clear_and_louder_is_darker() -> None:
    assert alphas(picture(torch.zeros(RATE), RATE, colour=(1, 2, 3))).max() == 0
    quiet, loud = (alphas(picture(gain * tone(440.0), RATE, colour=(1, 2, 3))) for gain in (0.01, 0.1))
    assert quiet[:SPECTRUM_ROWS].max() < loud[:SPECTRUM_ROWS].max()


def test_pictures_of_any_length_and_rate_are_as_wide() -> None:
    for seconds, rate in ((1.0, 8000), (7.3, 44_100)):
        alphas(picture(torch.zeros(round(seconds * rate)), rate, colour=(1, 2, 3)))


# ---- levels


def test_an_accompaniment_has_the_level_that_it_has_in_the_mix() -> None:
    vocal, band = tone(330.0), 0.03 * tone(220.0)
    alone, mix = alone_and_mix(vocal, band, RATE)
    rest = mix - alone
    assert abs(float(torch.corrcoef(torch.stack([rest, vocal]))[0, 1])) > 0.999
    assert float(alone.abs().max()) > 0.05
    assert float(alone_and_mix(vocal, torch.zeros_like(vocal), RATE)[0].abs().max()) == 0
    assert 0.05 < float(vocal_alone(0.01 * vocal, RATE, loudness_lufs=LOUDNESS_LUFS).abs().max()) <= 1


# ---- charts


def test_a_dot_lies_where_its_value_is() -> None:
    scale = scale_for([Figure(value=5.0, low=4.0, high=6.0), Figure(value=9.6)])
    assert scale == (0.0, 10.0)
    drawn = mark(Figure(value=5.0, low=2.5, high=7.5), scale)
    assert drawn is not None
    assert drawn.rail == (7, 143)
    assert drawn.dot == 75
    assert drawn.interval == (41, 109)
    assert drawn.arrow is None


def test_what_is_off_the_scale_is_an_arrow() -> None:
    far = Figure(value=100.0, low=90.0, high=110.0)
    scale = scale_for([Figure(value=5.0, low=4.0, high=6.0)], [far])
    assert scale[1] < 10
    drawn = mark(far, scale)
    assert drawn is not None
    assert drawn.arrow == 148
    assert drawn.dot is None
    assert drawn.interval is None


@pytest.mark.parametrize("values", [(0.3, 5.0), (-2.0, 7.0), (1e-4, 2e-4), (900.0, 31_000.0), (0.0, 0.0)])
def test_every_scale_has_an_axis(values: tuple[float, float]) -> None:
    low, high = scale_for([Figure(value=value) for value in values])
    assert low <= min(values) <= max(values) <= high
    assert 2 <= len(ticks((low, high))) <= 7


def test_results_may_lack_whole_tables(manifest: Manifest, tmp_path: Path) -> None:
    """A run without embeddings or measures still gives a page."""
    run = make_run(tmp_path / "run", songs=1, systems=("truth",), seconds=1.0)
    bare = replace(
        results_of(run.manifest, ("truth",)), measures=(), fit=(), fad=(), apa=(), worth=(), made_with={}
    )
    text = write_report(run, bare, clips=0).read_text()
    assert text.count("Not measured in this run.") == 6
    assert "discussed here" in table_markdown(bare)


def test_vggish_stands_for_distances_where_it_is_there(manifest: Manifest) -> None:
    results = results_of(manifest, ("truth", "model", "random"))
    assert Lookup(results).main_embedding == "hafm-mel-modulation"
    also = tuple(replace(row, embedding="vggish", fad=Figure(value=1.5)) for row in results.fad)
    found = Lookup(replace(results, fad=(*results.fad, *also)))
    assert found.main_embedding == "vggish"
    table = like_table2(found)
    assert table is not None
    assert [row.cells[0].text for row in table.rows[:3]] == ["1.50"] * 3
    assert not table.warning.endswith("so they are not.")
