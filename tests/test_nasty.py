"""The nasty set (tests/data/nasty): what must become of each file, under a ceiling of memory.

`READ` and `REFUSED` name every file. All are read in one process of its own, whose memory is limited to what it needs
for good files and a little more, and which has a minute of processor time: whatever hangs or swells fails here.
"""
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from make_nasty import FILES, NASTY, START, abc, kern, note, outcome, part, xml

from musiclm.notes import MAX_BEATS, NOTE_COLUMNS, ScoreError, note_table
from musiclm.notated import MAX_CELLS, MAX_ROW, MAX_TAGS, abc_tunes
from musiclm.scores import read_score
from musiclm.tokens import NotewiseEncoder
from musiclm.vocab import EncodingConfig

# name: (number of notes, end of the last in steps, onset/duration/pitch of the first ones, what attrs say beside zeros)
TWO = '0/12/60 12/12/62'
CDEF = '0/12/60 12/12/62 24/12/64 36/12/65'
READ = {
    'midi_type0_channels.mid': (3, 12, '0/12/60 0/12/60 0/12/60', {}),
    'midi_type0_16_channels.mid': (15, 12, '0/12/55', {}),
    'midi_type0_two_tracks.mid': (4, 24, '0/12/60 0/12/60 12/12/62 12/12/62', {}),
    'midi_program_change.mid': (4, 48, '0/12/60 12/12/62 24/12/60 36/12/62', {}),
    'midi_program_change_under_a_note.mid': (1, 12, '0/12/60', {}),
    'midi_division_1.mid': (2, 24, TWO, {}),
    'midi_division_32767.mid': (1, 12, '0/12/60', {}),
    'midi_film_frames.mid': (1, 12, '0/12/60', {}),
    'midi_running_status.mid': (2, 24, TWO, {}),
    'midi_running_status_over_meta.mid': (1, 12, '0/12/60', {}),
    'midi_escape.mid': (1, 12, '0/12/60', {}),
    'midi_hanging_note.mid': (1, 12, '0/12/62', {'leading_steps': 12}),
    'midi_unison_overlapping.mid': (2, 18, '0/12/60 6/12/60', {}),
    'midi_unison_at_once.mid': (2, 12, '0/6/60 0/12/60', {}),
    'midi_unison_two_tracks.mid': (2, 18, '0/12/60 6/12/60', {}),
    'midi_off_without_on.mid': (2, 24, TWO, {}),
    'midi_zero_length.mid': (3, 24, '0/1/60 0/12/60 12/12/62', {}),
    'midi_velocity_0.mid': (1, 12, '0/12/60', {}),
    'midi_velocity_above_127.mid': (1, 12, '0/12/60', {}),
    'midi_tempo_0.mid': (2, 24, TWO, {}),
    'midi_tempo_short.mid': (2, 24, TWO, {}),
    'midi_tempo_missing.mid': (2, 24, TWO, {}),
    'midi_leading_silence.mid': (1, 12, '0/12/60', {'leading_steps': 7200*12}),
    'midi_gap_of_days.mid': (2, 66*12, f'0/12/60 {65*12}/12/62', {'shortened_gaps': 1}),
    'midi_note_of_days.mid': (2, 65*12, f'0/12/50 0/{65*12}/60', {'shortened_gaps': 1}),
    'midi_years.mid': (2, 66*12, f'0/12/60 {65*12}/12/62', {'shortened_gaps': 1}),
    'midi_no_end_of_track.mid': (2, 24, TWO, {}),
    'midi_events_after_the_end.mid': (2, 24, TWO, {}),
    'midi_riff.mid': (2, 24, TWO, {}),
    'midi_header_10_bytes.mid': (2, 24, TWO, {}),
    'midi_count_too_low.mid': (2, 24, TWO, {}),
    'midi_count_too_high.mid': (2, 24, TWO, {}),
    'midi_unknown_chunks.mid': (2, 24, TWO, {}),
    'midi_words_after_the_end.mid': (2, 24, TWO, {}),
    'midi_zeros_after_the_end.mid': (2, 24, TWO, {}),
    'midi_a_thousand_at_once.mid': (1000, 12, '0/12/0 0/12/1 0/12/2', {}),
    'midi_names_in_latin_1.mid': (2, 24, TWO, {}),
    'midi_names_in_utf_16.mid': (2, 24, TWO, {}),
    'midi_name_with_zero.mid': (4, 24, '0/12/60 0/12/60 12/12/62 12/12/62', {}),
    'xml_timewise.musicxml': (10, 96, '0/12/60 0/48/48 12/12/62', {}),
    'xml_transposing.musicxml': (4, 48, '0/12/58 12/12/60 24/12/62 36/12/63', {}),
    'xml_drifting_bars.musicxml': (25, 144, '0/48/36 0/12/60 0/12/48', {'misfit_bars': 2}),
    'xml_grace_at_the_start.musicxml': (5, 50, '0/2/71 2/12/60 14/12/62 26/12/64 38/12/65', {'leading_steps': -2}),
    'xml_grace_at_the_end.musicxml': (5, 48, f'{CDEF} 46/2/71', {}),
    'xml_graces_only.musicxml': (2, 4, '0/2/71 2/2/69', {'leading_steps': -4}),
    'xml_chord_symbols.musicxml': (4, 48, CDEF, {}),
    'xml_repeats.musicxml': (12, 144, f'{CDEF} 48/12/60 60/12/62 72/12/64 84/12/65 96/12/67', {}),
    'xml_repeat_a_thousand_million.musicxml': (4, 48, CDEF, {}),
    'xml_ties.musicxml': (2, 96, '0/24/60 24/72/60', {}),
    'xml_ties_to_nowhere.musicxml': (4, 48, CDEF, {}),
    'xml_divisions_huge.musicxml': (4, 48, CDEF, {}),
    'xml_doctype.musicxml': (4, 48, CDEF, {}),
    'xml_deep_nesting.musicxml': (4, 48, CDEF, {}),
    'xml_forward_beyond_the_bar.musicxml': (6, 56*12, '0/12/60 612/12/62 624/12/60', {}),
    'xml_backup_before_the_bar.musicxml': (6, 60, '0/12/60 0/12/62 12/12/60', {}),
    'xml_microtones.musicxml': (2, 24, '0/12/60 12/12/60', {}),
    'xml_empty_part.musicxml': (4, 48, CDEF, {}),
    'xml_part_listed_only.musicxml': (4, 48, CDEF, {}),
    'xml_zero_duration.musicxml': (5, 48, '0/1/60 0/12/60 12/12/62', {}),
    'xml_long_duration.musicxml': (2, 65*12, f'0/{64*12}/60 {64*12}/12/62', {'shortened_gaps': 1}),
    'xml_multiple_rest.musicxml': (4, 48, CDEF, {'leading_steps': 48}),
    'xml_utf16.musicxml': (4, 48, CDEF, {}),
    'xml_latin_1.musicxml': (4, 48, CDEF, {}),
    'mxl_whole.mxl': (4, 48, CDEF, {}),
    'mxl_no_container.mxl': (4, 48, CDEF, {}),
    'mxl_several_rootfiles.mxl': (4, 48, CDEF, {}),
    'mxl_rootfile_missing.mxl': (4, 48, CDEF, {}),
    'kern_split_and_merge.krn': (11, 96, '0/24/48 0/12/60 12/12/62 24/24/50 24/12/64 36/12/65 48/48/48 48/24/64 48/24/67', {}),
    'kern_graces.krn': (7, 50, '0/2/71 2/12/60 14/12/62 22/2/69 24/2/71 26/12/64 38/12/65', {'leading_steps': -2}),
    'kern_tuplets.krn': (8, 24, '0/4/60 4/4/62 8/4/64 12/2/65 14/3/65 17/2/65 19/3/65 22/2/65', {}),
    'kern_no_barlines.krn': (3, 36, '0/12/60 12/12/62 24/12/64', {}),
    'kern_text_spine.krn': (2, 24, TWO, {}),
    'kern_no_end.krn': (2, 24, TWO, {}),
    'kern_transposing_huge.krn': (1, 12, '0/12/60', {}),
    'kern_ties.krn': (4, 72, '0/12/60 12/36/62 48/12/64 60/12/65', {}),
    'kern_chords.krn': (5, 24, '0/12/60 0/12/64 0/12/67 12/12/62 12/12/65', {}),
    'kern_crlf.krn': (2, 24, TWO, {}),
    'kern_latin_1.krn': (1, 12, '0/12/60', {}),
    'abc_book.abc': (4, 48, CDEF, {}),
    'abc_book_numbers_repeat.abc': (1, 48, '0/48/60', {}),
    'abc_no_key.abc': (4, 48, CDEF, {}),
    'abc_bad_number.abc': (4, 48, CDEF, {}),
    'abc_number_huge.abc': (4, 48, CDEF, {}),
    'abc_no_length.abc': (4, 24, '0/6/60 6/6/62 12/6/64 18/6/65', {}),
    'abc_metre_garbled.abc': (2, 24, '0/12/60 12/12/62', {}),
    'abc_metre_free.abc': (8, 96, f'{CDEF} 48/12/67 60/12/69 72/12/71 84/12/72', {}),
    'abc_chords.abc': (5, 48, '0/24/60 0/24/64 0/24/67 24/24/62 24/24/65', {}),
    'abc_graces.abc': (7, 50, '0/2/71 2/12/60 10/2/69 12/2/71 14/12/62', {'leading_steps': -2}),
    'abc_tuplets.abc': (9, 72, '0/8/60 8/8/62 16/8/64 24/24/65', {}),
    'abc_repeats.abc': (12, 144, f'{CDEF} 48/12/67', {}),
    'abc_chord_symbols.abc': (4, 48, CDEF, {}),
    'abc_voices.abc': (6, 48, '0/24/48 0/12/60 12/12/62 24/24/52 24/12/64 36/12/65', {}),
    'abc_voices_by_turns.abc': (8, 96, '0/24/60 0/24/67 24/24/62 24/24/69', {}),
    'abc_voices_by_name.abc': (5, 48, '0/12/60 0/48/67 12/12/62 24/12/64 36/12/65', {}),
    'abc_macros.abc': (4, 48, CDEF, {}),
    'abc_words_around.abc': (4, 48, CDEF, {}),
    'abc_broken_rhythm.abc': (4, 48, '0/18/60 18/6/62 24/6/64 30/18/65', {}),
    'abc_ties.abc': (4, 96, '0/12/60 12/12/62 24/12/64 36/60/65', {}),
    'abc_inline_fields.abc': (7, 84, '0/12/60 12/12/62 24/12/66 36/12/66 48/12/66', {}),
    'abc_invisible_rests.abc': (2, 48, '0/12/60 36/12/62', {}),
    'abc_long_without_bars.abc': (300, 3600, '0/12/60 12/12/60', {}),
    'abc_utf16.abc': (4, 48, CDEF, {}),
    'abc_crlf.abc': (4, 48, CDEF, {}),
    'other_upper_case.MID': (2, 24, TWO, {}),
}
REFUSED = {
    'midi_type2.mid': 'type 2', 'midi_type7.mid': 'type 7', 'midi_division_0.mid': 'division 0',
    'midi_film_frames_0.mid': 'division 0',
    'midi_running_status_over_sysex.mid': 'broken MIDI', 'midi_running_status_from_nothing.mid': 'broken MIDI',
    'midi_undefined_status.mid': 'broken MIDI', 'midi_hanging_notes_only.mid': 'no notes',
    'midi_pitch_above_127.mid': 'pitch above 127',
    'midi_overflow_31_bits.mid': 'overflow', 'midi_overflow_32_bits.mid': 'overflow', 'midi_track_too_long.mid': 'cut short',
    'midi_last_byte_missing.mid': 'cut short', 'midi_track_claims_2_gb.mid': 'cut short',
    'midi_track_too_short.mid': 'than its header says',
    'midi_riff_without_midi.mid': 'not a MIDI file', 'midi_header_4_bytes.mid': 'header is too short',
    'midi_header_2_gb.mid': 'no tracks',
    'midi_header_only.mid': 'no tracks', 'midi_header_of_ff.mid': 'unknown MIDI file type', 'midi_drums_only.mid': 'no notes',
    'midi_empty_tracks.mid': 'no notes', 'midi_meta_256_mb.mid': 'broken MIDI', 'midi_step_of_five_bytes.mid': 'broken MIDI',
    'xml_chord_symbols_only.musicxml': 'no notes', 'xml_divisions_0.musicxml': 'ZeroDivisionError',
    'xml_divisions_missing.musicxml': 'no divisions', 'xml_divisions_words.musicxml': 'music21 cannot read it',
    'xml_entity_bomb.musicxml': 'entities', 'xml_entity_bomb_utf16.musicxml': 'entities',
    'xml_external_entity.musicxml': 'entities',
    'xml_forward_a_thousand_million.musicxml': 'thousand million beats away', 'xml_unpitched.musicxml': 'no notes',
    'xml_no_notes.musicxml': 'no notes', 'xml_part_not_listed.musicxml': 'part list',
    'xml_no_part_list.musicxml': 'part list',
    'xml_negative_duration.musicxml': 'negative', 'xml_huge_duration.musicxml': 'thousand million beats away',
    'xml_infinite_duration.musicxml': 'music21 cannot read it', 'xml_nan_duration.musicxml': 'music21 cannot read it',
    'xml_metre_999.musicxml': 'time signature of 999', 'xml_metre_hidden.musicxml': 'time signature of 1007',
    'xml_metre_0.musicxml': 'time signature 0/4',
    'xml_tuplet_0.musicxml': 'ZeroDivisionError',
    'xml_octave_huge.musicxml': 'outside the MIDI range', 'xml_staves_huge.musicxml': 'no notes',
    'xml_transposing_huge.musicxml': 'outside the MIDI range', 'xml_utf8_broken.musicxml': 'broken XML',
    'xml_encoding_unknown.musicxml': 'broken XML', 'xml_cut_short.musicxml': 'broken XML', 'xml_html.musicxml': 'it holds <html>',
    'mxl_no_zip.mxl': 'no zip archive', 'mxl_empty_zip.mxl': 'no score', 'mxl_no_score.mxl': 'no score',
    'mxl_container_bomb.mxl': 'entities',
    'mxl_claims_4_gb.mxl': 'unpacks to 4095 MB', 'mxl_claims_too_little.mxl': 'broken archive',
    'mxl_bz2_bomb.mxl': 'unsupported compression',
    'mxl_locked.mxl': 'encrypted', 'mxl_cut_short.mxl': 'no zip archive', 'mxl_wrong_checksum.mxl': 'broken archive',
    'kern_unequal_spines.krn': 'music21 cannot read it', 'kern_mens.krn': 'no spine', 'kern_header_only.krn': 'no notes',
    'kern_huge_duration.krn': 'not the length of a note', 'kern_tiny_duration.krn': 'not the length of a note',
    'kern_many_zeros.krn': 'not the length of a note',
    'kern_metre_999.krn': 'time signature of 999', 'kern_metre_composite.krn': 'time signature of 1003', 'kern_metre_of_breves.krn': 'time signature of 512',
    'kern_binary.krn': 'no spine',
    'abc_no_number.abc': 'no tune begins with X:', 'abc_long_note.abc': 'too large for a length', 'abc_long_rest.abc': 'bar of 999 beats',
    'abc_long_bar.abc': 'at most 256', 'abc_multiple_rest.abc': 'too large for a length', 'abc_metre_999.abc': 'time signature of 999',
    'abc_metre_0.abc': 'music21 cannot read it', 'abc_unit_huge.abc': 'too large for a length', 'abc_unit_0.abc': 'music21 cannot read it',
    'abc_tempo_huge.abc': 'too large for a length', 'abc_length_0.abc': 'music21 cannot read it',
    'abc_unbalanced.abc': 'music21 cannot read it',
    'abc_overlay.abc': 'two voices in one bar', 'abc_words.abc': 'no tune begins with X:', 'abc_rests_only.abc': 'no notes',
    'other_empty.mid': 'empty', 'other_words.mid': 'not a MIDI file', 'other_midi_named.xml': 'broken XML',
    'other_midi_named.krn': 'no spine', 'other_xml_named.mid': 'not a MIDI file', 'other_no_suffix': 'without suffix',
    'other_a_page.pdf': '.pdf is not read',
}

# Reads every file twice, with gaps shortened and without; prints what came of it as a line of JSON.
READER = '''
import json, sys
from pathlib import Path
from musiclm.notes import ScoreError
from musiclm.scores import read_notes
folder, *warm = map(Path, sys.argv[1:])
for path in warm: read_notes(path)
try:
    import resource
    pages = int(Path('/proc/self/statm').read_text().split()[0])
    most = pages*resource.getpagesize() + (400 << 20)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
except (ImportError, OSError): pass # elsewhere than on Linux
for path in sorted(folder.iterdir()):
    for max_gap in (64, None):
        try: *columns, info = read_notes(path, max_gap=max_gap)
        except ScoreError as e: came = str(e)
        else: came = [[c.tolist() for c in columns], [str(c.dtype) for c in columns], info]
        print(json.dumps([path.name, max_gap, came]), flush=True)
'''


@pytest.fixture(scope='module')
def outcomes():
    "What came of every file: {(name, max_gap): text of the error, or columns, their types, and info}."
    warm = [NASTY/name for name in ('xml_ties.musicxml', 'kern_ties.krn', 'abc_ties.abc', 'midi_type0_channels.mid')]
    done = subprocess.run([sys.executable, '-W', 'error::RuntimeWarning', '-c', READER, NASTY, *warm], capture_output=True, text=True,
                          timeout=600)
    assert done.returncode == 0, f'{done.stdout[-300:]}\n{done.stderr[-1000:]}'
    assert done.stderr == '' # music21's own complaints are counted, not shown
    return {(name, gap): came for name, gap, came in map(json.loads, done.stdout.splitlines())}


def test_the_files_are_what_the_script_makes():
    assert {p.name for p in NASTY.iterdir()} == set(FILES) == set(READ) | set(REFUSED) and not set(READ) & set(REFUSED)
    for name, (data, _) in FILES.items():
        if name.startswith('mxl_'): continue # how well a zip archive packs is a matter of versions
        assert (NASTY/name).read_bytes() == data, f'run python tests/data/make_nasty.py: {name} differs'


@pytest.mark.parametrize('name', READ)
def test_what_is_read(outcomes, name):
    n, end, first, said = READ[name]
    (onset, duration, pitch, *_), _, info = outcomes[name, 64]
    wanted = [tuple(map(int, w.split('/'))) for w in first.split()]
    assert len(onset) == n and list(zip(onset, duration, pitch))[:len(wanted)] == wanted
    assert max(np.add(onset, duration)) == end
    counts = ('leading_steps', 'shortened_gaps', 'misfit_bars', 'unread_events')
    assert {k: v for k, v in info.items() if k in counts and v} == said


@pytest.mark.parametrize('name', REFUSED)
def test_what_is_refused_and_why(outcomes, name):
    message = outcomes[name, 64]
    assert isinstance(message, str) and message.startswith(f'{NASTY/name}: ') and '\n' not in message
    assert REFUSED[name] in message


@pytest.mark.parametrize('name', READ)
def test_whatever_is_read_is_music(outcomes, name):
    for gap in (64, None):
        if isinstance(outcomes[name, gap], str): # too long when silence is kept
            assert gap is None and 'longer than' in outcomes[name, gap]
            continue
        columns, types, _ = outcomes[name, gap]
        onset, duration, pitch, velocity, part = map(np.array, columns)
        assert all(t.startswith('int') for t in types)
        assert onset.min() == 0 and duration.min() >= 1 and (onset + duration).max() <= MAX_BEATS*12
        assert 0 <= pitch.min() and pitch.max() <= 127 and 1 <= velocity.min() and velocity.max() <= 127
        table = note_table(onset, duration, pitch, velocity, part)
        assert table[['onset', 'part', 'pitch']].apply(tuple, axis=1).is_monotonic_increasing
        encoder = NotewiseEncoder(EncodingConfig())
        back = encoder.decode(encoder.encode(table))
        assert back.attrs['dropped'] == 0
        assert (back[NOTE_COLUMNS].to_numpy() == encoder.normalise(table)[NOTE_COLUMNS].to_numpy()).all()


def test_silence_is_kept_when_asked_for_up_to_a_limit(outcomes):
    onset = lambda name: outcomes[name, None][0][0]
    assert onset('midi_leading_silence.mid') == [0] # leading silence is always cut
    assert 'longer than 100,000 beats' in outcomes['midi_gap_of_days.mid', None]
    assert 'longer than 100,000 beats' in outcomes['midi_years.mid', None]
    assert 'longer than 100,000 beats' in outcomes['xml_long_duration.musicxml', None]


def test_every_tune_of_a_book_can_be_had():
    assert [read_score(NASTY/'abc_book.abc', tune=n).pitch.tolist() for n in (3, 5)] == [[60, 62, 64, 65], [67]]
    assert [read_score(NASTY/'abc_book_numbers_repeat.abc', tune=n).pitch[0] for n in (1, 2, 3)] == [60, 62, 64]
    with pytest.raises(ValueError, match='no tune 4'): read_score(NASTY/'abc_book.abc', tune=4)
    with pytest.raises(ValueError, match='header'): abc_tunes('%' + 'T:a\n'*4000 + 'X:1\n'*20_000)


def test_the_table_says_what_came_of_each():
    table = (Path(__file__).resolve().parent.parent/'benchmarks'/'results'/'nasty.md').read_text(encoding='utf-8')
    for name in FILES: assert f'| {name} | ' in table
    for name in ('abc_ties.abc', 'midi_gap_of_days.mid', 'xml_entity_bomb.musicxml'): assert f'| {outcome(NASTY/name)} |' in table


def n_bars(n): return ''.join(f'<measure number="{i}">{START*(i == 0)}{note(duration=4)}</measure>' for i in range(n))


@pytest.mark.parametrize('name, text, reason', [
    ('x.musicxml', xml(f'<part id="P1">{n_bars(MAX_ROW + 1)}</part>'), 'too many parts or bars'),
    ('x.musicxml', xml(part(START + note()*(MAX_ROW + 1))), 'too much in a bar'),
    ('x.musicxml', '<a>' + '<b/>'*(MAX_TAGS + 1), 'tags'),
    ('x.musicxml', '<a' + ' b="1"'*(MAX_TAGS + 1) + '/>', 'attributes'),
    ('x.musicxml', xml(*(part(START + note(), id=f'P{i}') for i in range(1001)), names=['x']*1001, ids=[f'P{i}' for i in range(1001)]),
     'too many parts'),
    ('x.krn', kern('**kern', *['8qc']*(MAX_ROW + 1), '*-'), 'too much in a bar'),
    ('x.krn', kern('**kern', *['4c', '=']*(MAX_ROW + 1), '*-'), 'too many parts or bars'),
    ('x.krn', kern('**kern') + '.\t.\n'*MAX_CELLS, 'too large'),
    ('x.abc', abc('CDEF|'*1001), 'too many parts or bars'),
    ('x.abc', abc('[K:D]'*(MAX_ROW + 1) + 'C|'), 'too many parts or bars'),
    ('x.abc', abc('C'*MAX_CELLS), 'too large'),
], ids=lambda x: x if len(x) < 30 else 'text')
def test_what_would_keep_music21_busy_is_refused_at_once(tmp_path, monkeypatch, name, text, reason):
    def parsed(*_, **__): raise AssertionError('music21 was asked')
    monkeypatch.setattr('music21.converter.parseData', parsed)
    monkeypatch.setattr('music21.musicxml.xmlToM21.MusicXMLImporter', parsed)
    (tmp_path/name).write_text(text)
    with pytest.raises(ScoreError, match=reason): read_score(tmp_path/name)


@pytest.mark.parametrize('max_gap', [0, -1, .05])
def test_a_gap_is_a_step_or_more(max_gap):
    with pytest.raises(ValueError, match='max_gap'): read_score(NASTY/'midi_gap_of_days.mid', max_gap=max_gap)


@pytest.mark.parametrize('mark', ['<sound tempo="0"/>', '<sound tempo="-5"/>', '<sound tempo="nan"/>', '<sound tempo="fast"/>',
    '<direction><direction-type><metronome><beat-unit/><per-minute>60</per-minute></metronome></direction-type></direction>',
    '<direction><direction-type><metronome><beat-unit/><per-minute>60</per-minute></metronome></direction-type>'
    '<sound tempo="0"/></direction>'])
def test_a_tempo_without_sense_is_left_out_and_the_music_is_read(mark, tmp_path):
    bar = START + mark + note()*4
    (tmp_path/'x.musicxml').write_text(xml(part(bar)))
    (tmp_path/'y.musicxml').write_text(xml(part(START + note()*4)))
    x, y = read_score(tmp_path/'x.musicxml'), read_score(tmp_path/'y.musicxml')
    assert x.equals(y) and x.attrs.get('tempos') == y.attrs.get('tempos')


def test_a_very_long_name_of_a_track_is_cut(tmp_path):
    score = note_table([0], [12], [60])
    from musiclm.midi import MAX_NAME, midi_tracks
    from musiclm.notes import to_symusic
    score = to_symusic(score)
    score.tracks[0].name = 'piano '*1_000_000
    score.dump_midi(tmp_path/'x.mid')
    assert len(midi_tracks(tmp_path/'x.mid').names[0][0]) == MAX_NAME and len(read_score(tmp_path/'x.mid')) == 1


def test_very_many_open_brackets_are_read_in_linear_time(tmp_path):
    (tmp_path/'x.abc').write_text(abc('[A:'*80_000 + 'CDEF|'))
    try: read_score(tmp_path/'x.abc')
    except ScoreError: pass
