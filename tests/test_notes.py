"Reading and writing scores: the note table, parts, MusicXML that drifts. Files that lie are in test_nasty.py."
import os
import gc
import pickle
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from make_nasty import TWO, midi, off, on, track
from music21 import chord, harmony, instrument, interval, meter, note, stream, tie
from music21 import tempo as marks

from musiclm.notes import (NOTE_COLUMNS, ScoreError, note_table, part_of_tracks, to_grid, transpose, atomic_folder,
    write_midi)
from musiclm.notated import score_tempos
from musiclm.scores import read_notes, read_score
from musiclm.musicxml import best_signature, spell_pitch, to_music21, write_musicxml
from musiclm.tokens import NotewiseEncoder
from musiclm.vocab import EncodingConfig
from musiclm.scores import load_cached_tracks

TUNE = note_table([0, 12, 24, 0], [12, 12, 24, 48], [72, 74, 76, 48], part=[0, 0, 0, 1])


def read_bytes(folder, data, name='x.mid', **options):
    (folder/name).write_bytes(data)
    return read_score(folder/name, **options)


# ---- the table

def test_table_is_sorted_integers():
    assert TUNE.columns.tolist() == NOTE_COLUMNS
    assert all(np.issubdtype(t, np.integer) for t in TUNE.dtypes)
    assert TUNE[['onset', 'part', 'pitch']].apply(tuple, axis=1).is_monotonic_increasing
    assert TUNE.attrs['steps_per_beat'] == 12


def test_transpose_keeps_everything_else():
    up = transpose(TUNE, 3)
    assert (up.pitch - TUNE.pitch == 3).all() and up.attrs == TUNE.attrs
    pd.testing.assert_frame_equal(transpose(up, -3), TUNE)
    with pytest.raises(ValueError, match='MIDI range'): transpose(TUNE, 80)


@pytest.mark.parametrize('grid', [4, 12, 24])
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.tuples(st.integers(0, 400), st.integers(1, 90), st.integers(0, 127), st.integers(1, 127),
                               st.integers(0, 1)), min_size=1, max_size=40, unique_by=lambda r: (r[2], r[4])))
def test_midi_round_trip(tmp_path, grid, rows):
    onset, duration, pitch_, velocity, part = map(np.array, zip(*rows))
    table = note_table(onset - onset.min(), duration, pitch_, velocity, part, steps_per_beat=grid)
    back = read_score(write_midi(table, tmp_path/'t.mid'), steps_per_beat=grid, max_gap=None)
    back.attrs = table.attrs
    pd.testing.assert_frame_equal(back, table)


def test_write_makes_folders_and_leaves_nothing_beside(tmp_path):
    path = write_midi(TUNE, tmp_path/'a'/'b'/'t.mid')
    assert [p.name for p in path.parent.iterdir()] == ['t.mid']


# ---- MIDI

def test_grid_goes_by_ticks_whatever_the_tempo(tmp_path):
    tempo = (0, (0xff, 0x51, 3, 0, 0, 1))  # a microsecond a beat
    table = read_bytes(tmp_path, midi(track(tempo, *TWO)))
    assert table.onset.tolist() == [0, 12] and table.duration.tolist() == [12, 12]


def tempo(delta, bpm): return (delta, (0xff, 0x51, 3, *round(6e7/bpm).to_bytes(3, 'big')))


def test_tempos_are_read_and_written(tmp_path):
    data = midi(track(tempo(0, 60), (0, on(60)), (480, off(60)), tempo(0, 240), (0, on(62)), (480, off(62))))
    table = read_bytes(tmp_path, data)
    assert table.attrs['tempos'] == [(0, 60.), (12, 240.)] and table.onset.tolist() == [0, 12]
    assert read_score(write_midi(table, tmp_path/'y.mid')).attrs['tempos'] == [(0, 60.), (12, 240.)]
    assert read_score(write_midi(table, tmp_path/'y.mid', bpm=90)).attrs['tempos'] == [(0, pytest.approx(90, abs=.001))]
    assert read_bytes(tmp_path, midi(track(*TWO))).attrs['tempos'] == [(0, 120.)]


def test_a_grid_of_seconds(tmp_path):
    data = midi(track(tempo(0, 60), (0, on(60)), (480, off(60)), tempo(0, 240), (0, on(62)), (480, off(62))))
    table = read_bytes(tmp_path, data, tempo_grid='seconds') # a second, then a quarter of one
    assert table.onset.tolist() == [0, 24] and table.duration.tolist() == [24, 6] and table.attrs['tempos'] == [(0, 120.)]
    with pytest.raises(ValueError, match='tempo_grid'): read_bytes(tmp_path, data, tempo_grid='beats')


def test_tempos_move_with_the_gaps(tmp_path):
    data = midi(track((480*8, on(60)), (480, off(60)), tempo(480*500, 90), (480*500, on(62)), (480, off(62))))
    table = read_bytes(tmp_path, data, max_gap=4)
    assert table.onset.tolist() == [0, 12 + 48] and table.attrs['tempos'] == [(0, 120.), (60, pytest.approx(90, abs=.01))]


@pytest.mark.parametrize('name', ['none.mid', 'none.xml', 'dir', 'x.rntxt', 'x.pdf'])
def test_other_bad_paths(tmp_path, name):
    (tmp_path/'dir').mkdir()
    for other in ('x.rntxt', 'x.pdf'): (tmp_path/other).write_text('m1 C: I')
    with pytest.raises(ScoreError): read_score(tmp_path/name)


def test_silence_is_trimmed_and_gaps_are_shortened(tmp_path):
    data = midi(track((480*3600, on(60)), (480, off(60)), (480*5000, on(62)), (480, off(62))))
    table = read_bytes(tmp_path, data)
    assert table.onset.tolist() == [0, 12 + 64*12]
    assert table.attrs['leading_steps'] == 3600*12 and table.attrs['shortened_gaps'] == 1
    assert read_bytes(tmp_path, data, max_gap=None).onset.tolist() == [0, 12 + 5000*12]
    assert read_bytes(tmp_path, data, max_gap=2).onset.tolist() == [0, 12 + 2*12]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**5)), min_size=1, max_size=30), st.integers(1, 960))
def test_grid_keeps_order_and_length(notes, ticks):
    start, length = map(np.array, zip(*notes))
    onset, duration, _ = to_grid(np.concatenate([start, start + length]), ticks, 12)
    assert onset.min() == 0 and (duration >= 1).all()
    by_start = np.argsort(start, kind='stable')
    assert (np.diff(onset[by_start]) >= 0).all()
    events = np.unique(np.concatenate([onset, onset + duration]))
    assert np.diff(events).max(initial=0) <= 64*12


# ---- parts

@pytest.mark.parametrize('tracks, expected', [
    ([('violin', 40), ('piano', 0)], [0, 1]),
    ([('', 0), ('', 0)], [1, 1]),
    ([('', 0)]*3, [1, 1, 1]),
    ([('', 0)]*4, [0, 1, 1, 1]),
    ([('1st Violin', 0), ('2nd Violin', 0), ('Viola', 0), ('Cello', 0)], [0, 1, 1, 1]),
    ([('Flute', 73), ('Right hand', 0), ('Left hand', 0)], [0, 1, 1]),
    ([('', 0), ('', 73)], [1, 0]),
    ([('Piano', 0)], [1]), ([('Violin', 0)], [0]),
])
def test_auto_parts(tracks, expected): assert part_of_tracks(tracks) == expected


@pytest.mark.parametrize('tracks, part_map, expected', [
    ([('Violin', 40), ('Piano', 0), ('Cello', 42)], 'auto', [0, 1, 2]),
    ([('Violin I', 0), ('Violin II', 0), ('Viola', 0), ('Cello', 0)], 'auto', [0, 1, 2, 2]), # an ensemble: in its order
    ([('', 40), ('', 0), ('', 0), ('', 73)], 'program', [0, 1, 1, 2]),
    ([('Flute', 73), ('Piano', 0), ('Viola', 41), ('Oboe', 68)], 'names', [0, 1, 2, 2]),
    ([('Cello', 42), ('Violin', 40), ('Piano', 0)], {'b': 'cello', 'v': 'violin'}, [2, 0, 2]), # unwanted: the last part
    ([('a', 42), ('b', 40), ('c', 0)], {'b': 42, 'v': [40, 41], 'p': ''}, [2, 0, 1]),
])
def test_parts_of_a_trio(tracks, part_map, expected): assert part_of_tracks(tracks, ('v', 'p', 'b'), part_map) == expected


def test_part_maps(tmp_path):
    data = midi(*(track((0, on(p)), (480, off(p))) for p in (60, 72, 48)))
    parts = lambda m, **k: dict(read_bytes(tmp_path, data, part_map=m, **k)[['pitch', 'part']].to_numpy().tolist())
    assert parts('top') == {60: 1, 72: 0, 48: 1}  # the highest by far
    assert parts('order') == {60: 0, 72: 1, 48: 1}
    assert parts('order', parts=('v', 'p', 'b')) == {60: 0, 72: 1, 48: 2}
    assert parts('piano') == {60: 1, 72: 1, 48: 1}
    with pytest.raises(ValueError, match='part_map'): parts('best')


# ---- notated scores

def bars(*contents, first=()):
    "A part of measures."
    part = stream.Part()
    for k, content in enumerate(contents):
        measure = stream.Measure(number=k + 1)
        if k == 0: measure.append([*first, meter.TimeSignature('4/4')])
        measure.append(content)
        part.append(measure)
    return part


def quarters(*names, ql=1): return [note.Note(n, quarterLength=ql) for n in names]


def read_music(folder, *parts, **options):
    path = folder/'x.musicxml'
    stream.Score(parts).write('musicxml', path, makeNotation=False)
    return read_score(path, **{'part_map': 'top', **options})


def pitches(table, part=0): return table[table.part == part].pitch.tolist()
def onsets(table, part=0): return table[table.part == part].onset.tolist()


def test_drifting_bars_begin_together(tmp_path):
    good = lambda *names: bars(*(quarters(*names, ql=2) for _ in range(4)))
    odd = bars(quarters('C3', 'D3', ql=2), quarters('C3', 'D3', 'E3', ql=2), quarters('C3', ql=2), quarters('C3', 'D3', ql=2))
    table = read_music(tmp_path, good('C5', 'D5'), good('E4', 'F4'), odd)
    bass = table[table.pitch < 60]
    assert onsets(table) == [0, 24, 48, 72, 96, 120, 144, 168]
    assert bass.onset.tolist() == [0, 24, 48, 72, 96, 144, 168]  # the third note of bar 2 is over the bar's end
    assert table.attrs['misfit_bars'] == 2


def test_a_whole_rest_in_a_short_bar_is_no_vote(tmp_path):
    rest = lambda: [note.Rest(quarterLength=4)]
    two = lambda: quarters('C5', 'D5')
    table = read_music(tmp_path, bars(two(), two()), bars(rest(), quarters('C3', 'D3')), bars(rest(), rest()))
    assert onsets(table) == [0, 12, 24, 36]


def test_grace_notes_are_short_and_before_the_beat(tmp_path):
    graces = [note.Note(n, type='eighth').getGrace() for n in ('A4', 'B4')]
    table = read_music(tmp_path, bars(quarters('C5', 'D5'), [*graces, *quarters('E5', 'F5')]))
    assert list(zip(table.onset, table.duration, table.pitch)) == [
        (0, 12, 72), (12, 12, 74), (20, 2, 69), (22, 2, 71), (24, 12, 76), (36, 12, 77)]


def test_tempos_of_printed_scores(tmp_path):
    part = bars(quarters('C5', 'D5', 'E5', 'F5'), quarters('G5', 'A5', 'B5', 'C6'))
    measures = list(part.getElementsByClass(stream.Measure))
    measures[0].insert(0, marks.MetronomeMark('Adagio', 60))
    measures[1].insert(2, marks.MetronomeMark(number=45, referent=note.Note(type='half')))
    table = read_music(tmp_path, part, bars(quarters('C3', ql=4), quarters('D3', ql=4)))
    assert table.attrs['tempos'] == [(0, 60.), (72, 90.)]
    words = bars(quarters('C5', 'D5', 'E5', 'F5'))
    list(words.getElementsByClass(stream.Measure))[0].insert(0, marks.MetronomeMark('Allegro'))
    assert score_tempos([words], [0., 4.]) == [] # a word is no number
    kern = b'**kern\n*M4/4\n*MM72\n=1\n4c\n4d\n4e\n4f\n=2\n*MM96\n1g\n==\n*-\n'
    assert read_bytes(tmp_path, kern, 'x.krn').attrs['tempos'] == [(0, 72.), (48, 96.)]


def test_transposing_instruments_sound(tmp_path):
    clarinet = bars(quarters('D5', 'E5'), first=[instrument.Clarinet()])
    horn = bars(quarters('G4', 'C5'), first=[instrument.Horn()])
    for part in (clarinet, horn): part.atSoundingPitch = False
    table = read_music(tmp_path, clarinet, horn)
    assert pitches(table) == [72, 74] and pitches(table, 1) == [60, 65]


def test_an_instrument_can_change(tmp_path):
    part = bars(quarters('D5', 'E5'), quarters('D5', 'E5'), first=[instrument.Clarinet()])
    other = instrument.Clarinet()
    other.transposition = interval.Interval('m-3')
    list(part.getElementsByClass(stream.Measure))[1].insert(0, other)
    part.atSoundingPitch = False
    assert pitches(read_music(tmp_path, part)) == [72, 74, 71, 73]


def test_chord_symbols_are_silent_and_chords_are_not(tmp_path):
    part = bars([chord.Chord(['C4', 'E4', 'G4'], quarterLength=2), note.Note('C5', quarterLength=2)])
    list(part.getElementsByClass(stream.Measure))[0].insert(0, harmony.ChordSymbol('F7'))
    assert pitches(read_music(tmp_path, part)) == [60, 64, 67, 72]


def test_ties_are_one_note(tmp_path):
    tied = quarters('C5', 'C5', 'C5', ql=4)
    for n, kind in zip(tied, ('start', 'continue', 'stop')): n.tie = tie.Tie(kind)
    table = read_music(tmp_path, bars(*([n] for n in tied), quarters('C5', ql=4)))
    assert list(zip(table.onset, table.duration)) == [(0, 144), (144, 48)]


def test_voices_in_a_bar(tmp_path):
    measure = stream.Measure(number=1)
    measure.append(meter.TimeSignature('4/4'))
    for k, names in enumerate((('C5', 'D5', 'E5', 'F5'), ('C4', 'D4', 'E4', 'F4'))):
        voice = stream.Voice(id=str(k + 1))
        voice.append(quarters(*names))
        measure.insert(0, voice)
    table = read_music(tmp_path, stream.Part([measure]))
    assert table.onset.tolist() == [0, 0, 12, 12, 24, 24, 36, 36]


def test_a_zip_bomb_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr('musiclm.notated.MAX_BYTES', 1 << 16)
    with zipfile.ZipFile(tmp_path/'x.mxl', 'w', zipfile.ZIP_DEFLATED) as z: z.writestr('a.xml', b' '*(1 << 17))
    with pytest.raises(ScoreError, match='unpacks to'): read_score(tmp_path/'x.mxl')


# ---- remembering

def test_cache_remembers_printed_scores_and_errors_by_content(tmp_path, monkeypatch):
    path, bad = tmp_path/'t.abc', tmp_path/'bad.krn'
    path.write_text('X:1\nM:4/4\nL:1/4\nK:C\nCDEF|\n')
    bad.write_text('words')
    first = read_notes(path, cache=tmp_path/'c')
    with pytest.raises(ScoreError) as error: read_notes(bad, cache=tmp_path/'c')
    def unread(*_, **__): raise AssertionError('read again')
    monkeypatch.setattr('musiclm.scores.notated_tracks', unread)
    again = read_notes(path, cache=tmp_path/'c')
    assert all((a == b).all() for a, b in zip(first[:5], again[:5])) and first.info == again.info
    assert read_notes(path, cache=tmp_path/'c', steps_per_beat=24).onset.tolist() == [0, 24, 48, 72] # any grid, any parts
    with pytest.raises(ScoreError, match=error.value.reason[:20]): read_notes(bad, cache=tmp_path/'c')
    with pytest.raises(AssertionError): read_notes(path, cache=tmp_path/'other')


def test_nothing_is_pickled(tmp_path):
    (tmp_path/'t.abc').write_text('X:1\nM:4/4\nL:1/4\nK:C\nCDEF|\n')
    read_notes(tmp_path/'t.abc', cache=tmp_path/'c')
    for f in (tmp_path/'c').iterdir():
        with zipfile.ZipFile(f) as z:
            for name in z.namelist(): np.load(z.open(name), allow_pickle=False)


def test_a_cache_that_cannot_be_written_does_no_harm(tmp_path):
    (tmp_path/'t.abc').write_text('X:1\nM:4/4\nL:1/4\nK:C\nCDEF|\n')
    (tmp_path/'file').write_text('in the way')
    assert read_notes(tmp_path/'t.abc', cache=tmp_path/'file'/'c').pitch.tolist() == [60, 62, 64, 65]


def test_threads_read_one_at_a_time(tmp_path):
    (tmp_path/'t.abc').write_text('X:1\nM:4/4\nL:1/4\nK:C\nCDEF|\n')
    said = sys.stderr
    with ThreadPoolExecutor(4) as pool: found = list(pool.map(lambda _: read_notes(tmp_path/'t.abc').pitch.tolist(), range(12)))
    assert found == [[60, 62, 64, 65]]*12 and sys.stderr is said and gc.isenabled()


def test_an_interrupt_between_two_renames_brings_the_old_back(tmp_path, monkeypatch):
    (tmp_path/'s').mkdir()
    (tmp_path/'s'/'mark').write_text('old')
    rename, calls = Path.rename, []
    def interrupted(self, target):
        calls.append(self)
        if len(calls) == 2: raise KeyboardInterrupt
        return rename(self, target)
    monkeypatch.setattr(Path, 'rename', interrupted)
    with pytest.raises(KeyboardInterrupt):
        with atomic_folder(tmp_path/'s', 'mark') as new: (new/'mark').write_text('new')
    assert [p.name for p in tmp_path.iterdir()] == ['s'] and (tmp_path/'s'/'mark').read_text() == 'old'


def test_of_tempos_at_one_place_the_last_counts(tmp_path):
    data = midi(track(tempo(0, 200), tempo(0, 60), (0, on(60)), (480, off(60)), (0, on(62)), (480, off(62))))
    assert read_bytes(tmp_path, data).attrs['tempos'] == [(0, 60.)]
    assert read_bytes(tmp_path, data, tempo_grid='seconds').onset.tolist() == [0, 24]


def test_an_error_survives_pickling_between_processes():
    error = pickle.loads(pickle.dumps(ScoreError('a/b.mid', 'broken')))
    assert (error.path, error.reason, str(error)) == ('a/b.mid', 'broken', 'a/b.mid: broken')


def test_read_notes_is_read_score(tmp_path):
    path = write_midi(TUNE, tmp_path/'t.mid')
    columns = read_notes(path)
    assert all((read_score(path)[k].to_numpy() == c).all() for k, c in zip(NOTE_COLUMNS, columns))


# ---- printing

@pytest.mark.parametrize('steps', [3, 4, 5, 12, 24])
@pytest.mark.parametrize('seed', range(2))
def test_what_is_printed_is_read_again(tmp_path, steps, seed):
    "Notes at odd places, of odd lengths, in overlapping voices, on both sides of middle C."
    chance, n = np.random.default_rng(seed), 40
    table = note_table(chance.integers(0, 12*steps, n), chance.integers(1, 5*steps, n), chance.integers(40, 90, n),
                       part=chance.integers(0, 2, n), steps_per_beat=steps)
    notes = NotewiseEncoder(EncodingConfig(steps_per_beat=steps)).normalise(table)
    again = read_score(write_musicxml(notes, tmp_path/'x.mxl', 'A title'), steps_per_beat=steps)
    for column in ('onset', 'duration', 'pitch', 'part'): assert again[column].tolist() == notes[column].tolist()


@pytest.mark.parametrize('pitches, sharps', [((60, 62, 64, 65, 67, 69, 71), 0), ((62, 64, 66, 67, 69, 71, 73), 2),
                                             ((63, 65, 67, 68, 70, 72, 74), -3), ((61, 63, 65, 66, 68, 70, 72), -5)])
def test_a_score_has_the_signature_of_its_scale(pitches, sharps):
    assert best_signature(note_table(np.arange(7)*12, 12, pitches)) == sharps
    for pitch in range(21, 109): assert spell_pitch(pitch, sharps).midi == pitch


def test_a_printed_score_says_who_plays(tmp_path):
    score = to_music21(note_table([0, 0, 0], 48, [70, 72, 48], part=[0, 1, 1]), 'A title')
    assert [p.partName for p in score.parts] == ['Violin', 'Piano', 'Piano']
    assert [p.recurse().getElementsByClass('Clef').first().name for p in score.parts] == ['treble', 'treble', 'bass']
    assert score.metadata.title == 'A title' and len(score.getElementsByClass('StaffGroup')) == 1


def test_a_printed_score_has_a_tempo_and_no_invented_composer(tmp_path):
    notes = note_table([0, 48], 48, [60, 62])
    notes.attrs['tempos'] = [(0, 90.), (48, 60.)]
    path = write_musicxml(notes, tmp_path/'x.mxl', 'A title')
    text = zipfile.ZipFile(path).read('score.musicxml').decode()
    assert 'Music21</creator>' not in text and 'A title' in text and '<sound tempo="90' in text
    assert [(t, round(bpm)) for t, bpm in read_score(path).attrs['tempos']] == [(0, 90), (48, 60)]


def test_nothing_is_not_printed(tmp_path):
    with pytest.raises(ValueError, match='no notes to print'): write_musicxml(note_table([], [], []), tmp_path/'x.mxl')
    with pytest.raises(ValueError, match='ends in .mxl'): write_musicxml(note_table([0], 12, 60), tmp_path/'x.xml')
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not hasattr(os, 'mkfifo'), reason='no named pipes')
def test_a_pipe_does_not_block(tmp_path):
    os.mkfifo(tmp_path/'x.mid')
    with pytest.raises(ScoreError, match='empty'): read_score(tmp_path/'x.mid')


def test_a_broken_cache_entry_is_made_anew(tmp_path):
    (tmp_path/'x.abc').write_text('X:1\nM:4/4\nL:1/4\nK:C\nCDEF|GABc|\n')
    read = lambda: load_cached_tracks(tmp_path/'x.abc', None, tmp_path/'cache')
    pitch, (entry,) = read().pitch.tolist(), (tmp_path/'cache').glob('*.npz')
    for broken in (b'', entry.read_bytes()[:200]):
        entry.write_bytes(broken)
        assert read().pitch.tolist() == pitch and entry.stat().st_size > 300


# ---- kern: parts by what they are

def kern_file(path, *header): # three spines, lowest first: C, e, c"
    lines = ('**kern **kern **kern', *header, '*M4/4 *M4/4 *M4/4', '=1 =1 =1', '1C 1e 1ccc', '*- *- *-')
    path.write_text('\n'.join(line.replace(' ', '\t').replace('~', ' ') for line in lines))
    return path


SONATAS = [['*Ipiano *Ipiano *Ivioln'], ['*I"Piano *I"Piano *I"Violin'], ['*I"Piano *I"Piano *I"Violino~I'],
           ['*staff3 *staff2 *staff1', '*Ipiano *Ipiano *Iflt'], ['*Icemba *Icemba *Ioboe'],
           ['*part2 *part2 *part1', '*staff3 *staff2 *staff1', '*Ipiano * *Isoprn'],
           ['!! !! !!', '*part2 *part2 *part1', '*I"Pianoforte * *I"Singstimme']]


@pytest.mark.parametrize('header', SONATAS)
def test_kern_sonatas(tmp_path, header):
    notes = read_score(kern_file(tmp_path/'a.krn', *header))
    assert dict(zip(notes.pitch, notes.part)) == {48: 1, 64: 1, 84: 0}
    assert set(read_score(tmp_path/'a.krn', part_map='piano').part) == {1}


def test_kern_with_other_instruments(tmp_path):
    parts = lambda *header: read_score(kern_file(tmp_path/'a.krn', *header)).sort_values('pitch').part.tolist()
    assert parts('*I"Piano *I"Flauto *I"Violin') == [1, 0, 0]
    assert parts('*I"Cello *I"Viola *I"Violin') == [1, 1, 0] # no keyboard: the top
    assert parts('*part1 *part1 *part1') == [1, 1, 1] # no names: a piano
