"Piano rolls and audio: what is drawn and heard is what the notes say."
import importlib.util
import io
import re
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import soundfile

matplotlib.use('Agg')

from musiclm.notes import note_table  # noqa: E402
from musiclm.show import (  # noqa: E402
    _font_tables, audio_html, display_html, encode_audio, end_step, example_notes, repair_soundfont, piano_roll,
    plot_confusion, plot_curves, plot_roll, render_audio, roll_png, roll_svg, soundfont_path)

RATE = 16000


def pitch_heard(sound, low=40, high=95):
    "MIDI number, with fraction, whose first three partials hold the most energy."
    spectrum = np.abs(np.fft.rfft(sound*np.hanning(len(sound)), 2**18))
    pitches = np.arange(low, high, .05)
    places = 440*2**((pitches-69)/12)*np.arange(1, 4)[:, None]
    found = np.log(spectrum[np.minimum(places*2**18/RATE, 2**17).astype(int)] + .01*spectrum.max())
    energy = np.where(places < RATE/2, found, -5)
    return pitches[energy.sum(0).argmax()]


@pytest.mark.parametrize('part', [0, 1])
@pytest.mark.parametrize('pitch', [55, 60, 67, 72, 79])
def test_a_note_sounds_at_its_pitch(part, pitch):
    sound = render_audio(note_table([0], [24], [pitch], part=[part]), sample_rate=RATE)
    assert abs(pitch_heard(sound[1600:16000]) - pitch) < .25


def test_notes_sound_when_they_should():
    sound = render_audio(note_table([48, 96], [12, 12], [60, 64], part=[0, 1]), bpm=120, sample_rate=RATE)
    loud = np.sqrt((sound[:RATE*5].reshape(-1, RATE//2)**2).mean(1))  # half seconds: a beat each
    assert (loud[:4] < 1e-4).all() and loud[4] > .05 and loud[8] > .05 and loud[7] < .2*loud[4]


def test_tempo_and_grid_set_the_length():
    table = note_table([0], [8], [60], steps_per_beat=4)
    assert len(render_audio(table, bpm=60, sample_rate=RATE)) == 3*RATE  # two beats of a second, one to ring out
    assert len(render_audio(table, bpm=120, sample_rate=RATE)) == 2*RATE


def test_velocity_is_heard():
    tables = [note_table([0, 24], [12, 12], [60, 60], velocity=[v, 64], part=1) for v in (32, 64, 127)]
    parts = [render_audio(o, sample_rate=RATE) for o in tables]
    ratio = [np.abs(o[:8000]).max()/np.abs(o[16000:24000]).max() for o in parts]
    assert ratio[0] < .8*ratio[1] and ratio[1] < .8*ratio[2]


def test_no_notes_is_silence_and_never_clips():
    assert not np.any(render_audio(example_notes()[:0]))
    chord = note_table([0]*30, [48]*30, range(40, 70), velocity=127, part=1)
    assert np.abs(render_audio(chord)).max() <= 1


def test_render_repeats():
    a, b = (render_audio(example_notes(3, seed=4)) for _ in range(2))
    assert np.array_equal(a, b)


@pytest.mark.parametrize('kbps', [16, 24, 40])
def test_mp3_has_its_length_and_rate(kbps):
    sound = render_audio(example_notes(4), sample_rate=RATE)
    data, mime = encode_audio(sound, RATE, kbps)
    heard, rate = soundfile.read(io.BytesIO(data))
    assert mime == 'audio/mpeg' and rate == RATE
    assert abs(len(heard)-len(sound))/RATE < .2 and np.sqrt((heard**2).mean()) > .03
    assert abs(len(data)*8/(len(sound)/RATE)/1000 - kbps) < 2


def test_soundfont_is_found_and_mended_once(tmp_path, monkeypatch):
    assert soundfont_path().name == 'TimGM6mb.sf2'
    monkeypatch.setattr('platformdirs.user_cache_dir', lambda *_: str(tmp_path))
    repair_soundfont.cache_clear()
    path = repair_soundfont()
    assert [str(o) for o in tmp_path.iterdir()] == [path]
    old, new = (_font_tables(Path(o).read_bytes())[b'shdr'][0] for o in (soundfont_path(), path))
    changed = np.flatnonzero(old != new)
    assert 10 < len(changed) < 40 and (old['f1'] == new['f1']).all()
    repair_soundfont.cache_clear()


def test_missing_soundfont_is_one_clear_line(monkeypatch):
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(ValueError, match='install the package pretty_midi'): soundfont_path()


def test_a_file_that_is_no_soundfont(tmp_path):
    (tmp_path/'bad.sf2').write_bytes(b'RIFF1234sfbk')
    with pytest.raises(ValueError, match='not a SoundFont'): repair_soundfont(str(tmp_path/'bad.sf2'))


def strokes(svg, name):
    "Onset, row, length of each note drawn for a part."
    path = re.search(f'd="M0 .5([^"]*)"[^>]*class="{name}"', svg)[1]
    x = y = 0
    found = []
    for dx, dy, length in re.findall(r'm(-?\d+) (-?\d+)h(\d+)', path):
        x, y = x+int(dx), y+int(dy)
        found.append((x, y, int(length)))
        x += int(length)
    return found


def test_svg_draws_every_note():
    notes = example_notes(8, seed=3)
    svg = roll_svg(notes, prompt_steps=96)
    for part, name in enumerate(['violin', 'piano']):
        rows = notes[notes.part == part]
        drawn = strokes(svg, name)
        assert [o[0] for o in drawn] == rows.onset.tolist()
        assert (np.diff([o[1] for o in drawn]) == -np.diff(rows.pitch)).all()
    assert '"M0 0H96V' in svg and len(svg) < 2000 + 15*len(notes)


def test_svg_escapes_its_label(): assert '<b>' not in roll_svg(example_notes(1), label='a<b>"c')


def test_piano_roll_cells():
    roll = piano_roll(note_table([0, 2, 2], [4, 2, 3], [60, 60, 62], part=[1, 0, 1]), 60, 62)
    assert roll.tolist() == [[2, 2, 1, 1, 0], [0]*5, [0, 0, 2, 2, 2]]


def test_png_is_small_and_its_size_right():
    data = roll_png(example_notes(16))
    image = matplotlib.image.imread(io.BytesIO(data))
    assert image.shape[1] == end_step(example_notes(16)) and len(data) < 20_000


@pytest.mark.parametrize('n_bars', [0, 1, 40])
def test_everything_takes_short_and_long_tables(n_bars):
    notes = example_notes(max(1, n_bars))[:None if n_bars else 0]
    assert roll_svg(notes).startswith('<svg') and roll_png(notes)
    assert plot_roll(notes, prompt_steps=12).get_xlabel() == 'bar'
    matplotlib.pyplot.close('all')


def test_display_holds_roll_and_player_and_no_address():
    html = display_html(example_notes(2), prompt_steps=24, title='A & B')
    assert html.count('<audio') == 1 and html.count('<svg') == 2 and 'A &amp; B' in html and '://' not in html
    assert '<audio' not in display_html(example_notes(2), audio=False)
    assert 'data:audio/mpeg;base64,' in audio_html(example_notes(1))


def test_curves_and_confusion():
    figure = plot_curves([dict(epoch=i, train_loss=2.-i, valid_loss=2.5-i, auc=.6+.1*i) for i in range(2)])
    assert len(figure.axes) == 2 and len(figure.axes[0].lines) == 2
    ax = plot_confusion([[3, 1], [0, 0]], ['a', 'b'])
    assert [o.get_text() for o in ax.texts] == ['75%\n3', '25%\n1', '0%\n0', '0%\n0']
    matplotlib.pyplot.close('all')
