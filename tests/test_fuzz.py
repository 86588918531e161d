"""Random files and random tokens: whatever is read is music, whatever is refused is refused by `ScoreError`, and every
encoding keeps its law. Bounded in examples; the same examples each time."""
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from make_nasty import BAR, FILES, REPEAT, START, SYMBOL, abc, grace, midi, note, number, part, tied, track, xml
from test_nasty import READ

from musiclm.notes import MAX_BEATS, NOTE_COLUMNS, ScoreError, note_table
from musiclm.scores import read_score
from musiclm.tokens import NotewiseEncoder
from musiclm.vocab import EncodingConfig
from musiclm.chordwise import ChordwiseEncoder

CONFIGS = [EncodingConfig(durations=False), EncodingConfig(part_order=('p', 'v'), max_wait=None), EncodingConfig(max_wait=1, pitch_range=(60, 71)),
           EncodingConfig(parts=('v', 'p', 'b'), pitch_range=(33, 94), fold_violin=True), EncodingConfig(durations=True)]
ENCODERS = [NotewiseEncoder(c) for c in CONFIGS]
bounded = dict(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large], deadline=None)


def is_music(table, grid=12):
    "Hold a note table to what it promises."
    onset, duration, pitch, velocity, part = table[NOTE_COLUMNS].to_numpy().T
    assert all(np.issubdtype(t, np.integer) for t in table.dtypes) and table.attrs['steps_per_beat'] == grid
    assert onset.min() == 0 and duration.min() >= 1 and (onset + duration).max() <= MAX_BEATS*grid
    assert 0 <= pitch.min() and pitch.max() <= 127 and 1 <= velocity.min() and velocity.max() <= 127 and part.min() >= 0
    order = np.lexsort((pitch, part, onset))
    assert (order == np.arange(len(order))).all() or (table.iloc[order][['onset', 'part', 'pitch']].to_numpy() ==
                                                      table[['onset', 'part', 'pitch']].to_numpy()).all()


def keeps_its_law(table, encoder):
    "decode(encode(t)) == normalise(t), and encoding that again changes nothing."
    ids = encoder.encode(table)
    back, normal = encoder.decode(ids), encoder.normalise(table)
    assert back.attrs['dropped'] == 0 and (back[NOTE_COLUMNS].to_numpy() == normal[NOTE_COLUMNS].to_numpy()).all()
    assert (encoder.encode(back) == ids).all()


def read_anything(folder, data, suffix, **options):
    "Read bytes: the table, or None where they are refused as they should be."
    path = folder/f'x{suffix}'
    path.write_bytes(data)
    try: table = read_score(path, **options)
    except ScoreError as e:
        assert e.path == str(path) and e.reason and '\n' not in str(e)
        return None
    is_music(table)
    for encoder in ENCODERS: keeps_its_law(table, encoder)
    return table


# ---- bytes changed in good files

def mangled(seeds):
    "Good bytes with some of them changed, removed, doubled or put elsewhere."
    change = st.tuples(st.sampled_from('set cut insert copy'.split()), st.integers(0, 10**6), st.integers(0, 10**6), st.binary(max_size=4))
    def apply(seed, changes):
        data = bytearray(seed)
        for what, a, b, new in changes:
            a, b = a % (len(data) + 1), b % (len(data) + 1)
            if what == 'set': data[a:a + len(new)] = new
            elif what == 'cut': del data[a:a + b % 8]
            elif what == 'insert': data[a:a] = new
            else: data[a:a] = data[b:b + 20]
        return bytes(data)
    return st.builds(apply, st.sampled_from(seeds), st.lists(change, min_size=1, max_size=3))


def seeds(start): return [FILES[name][0] for name in READ if name.startswith(start) and len(FILES[name][0]) < 1500]


@settings(max_examples=400, **bounded)
@given(data=mangled(seeds('midi_')), gap=st.sampled_from([64, 1, .5, None]))
def test_mangled_midi(tmp_path, data, gap): read_anything(tmp_path, data, '.mid', max_gap=gap)


@pytest.mark.parametrize('start, suffix, n', [('xml_', '.musicxml', 150), ('mxl_', '.mxl', 80), ('kern_', '.krn', 150), ('abc_', '.abc', 150)])
def test_mangled_notation(tmp_path, start, suffix, n):
    @settings(max_examples=n, **bounded)
    @given(data=mangled(seeds(start)))
    def run(data): read_anything(tmp_path, data, suffix)
    run()


# ---- MIDI of random events

TICKS = st.one_of(st.integers(0, 2000), st.sampled_from([0, 1, 127, 128, 16384, 2**21, 2**28 - 1]))
PITCH = st.integers(58, 64)
EVENT = st.one_of(
    st.tuples(st.integers(0x90, 0x92), PITCH, st.integers(0, 127)), st.tuples(st.integers(0x80, 0x82), PITCH, st.just(0)),
    st.tuples(st.integers(0xb0, 0xbf), st.integers(0, 127), st.integers(0, 127)), st.tuples(st.integers(0xc0, 0xcf), st.integers(0, 127)),
    st.tuples(st.sampled_from([b'\xff\x51', b'\xff\x03', b'\xff\x7f', b'\xf0']), st.binary(max_size=5)).map(lambda e: e[0] + number(len(e[1])) + e[1]))


def by_running_status(events):
    "A track of (ticks, event, leave out the status byte where the norm allows it?)."
    said, status = [], None
    for ticks, event, short in events:
        event = bytes(event)
        said.append((ticks, event[short and event[0] == status:]))
        status = event[0] if event[0] < 0xf0 else None
    return track(*said)


TRACK = st.lists(st.tuples(TICKS, EVENT, st.booleans()), max_size=40).map(by_running_status)


@settings(max_examples=300, **bounded)
@given(tracks=st.lists(TRACK, max_size=4), kind=st.integers(0, 1), division=st.one_of(st.integers(1, 960), st.integers(0, 0xffff)),
       count=st.one_of(st.none(), st.integers(0, 9)), gap=st.sampled_from([64, None]))
def test_midi_of_random_events(tmp_path, tracks, kind, division, count, gap):
    read_anything(tmp_path, midi(*tracks, kind=kind, division=division, count=count), '.mid', max_gap=gap)


@settings(max_examples=100, **bounded)
@given(notes=st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 3000), PITCH, st.integers(1, 127), st.integers(0, 2)), min_size=1,
                      max_size=30), division=st.sampled_from([1, 24, 96, 480, 1024]))
def test_notes_of_good_midi_are_all_read(tmp_path, notes, division):
    events = sorted([(t + length*(not on), on, bytes((0x90*on + 0x80*(not on) | c, p, v*on))) for t, length, p, v, c in notes for on in (1, 0)],
                    key=lambda e: e[0]) # ties in time: in any order
    steps = np.diff([0, *(t for t, _, _ in events)])
    table = read_anything(tmp_path, midi(track(*((int(s), e) for s, (_, _, e) in zip(steps, events)))), '.mid', max_gap=None)
    if table is not None: assert len(table) <= len(notes) and set(table.pitch) <= {p for _, _, p, _, _ in notes}
    else: assert max(t + length for t, length, *_ in notes)/division > MAX_BEATS or all(length == 0 for _, length, *_ in notes)


# ---- notation of random words

WORDS = {
    '.musicxml': [START, BAR, SYMBOL, grace('B'), note(), note('D', duration=2), note('E', before='<chord/>'), note(after=tied('start')),
                  note(after=tied('stop')), note(duration=0), note(octave=12), '<backup><duration>2</duration></backup>',
                  '<forward><duration>3</duration></forward>', '</measure><measure number="9">', '</measure></part><part id="P1"><measure>',
                  REPEAT.format('right', '', 'backward', ''), '<note><rest/><duration>4</duration></note>', note(after='<voice>2</voice>'),
                  note(after='<staff>2</staff>'), note(duration='1/3'), '<attributes><divisions>3</divisions></attributes>',
                  '<direction><sound tempo="0"/></direction>', '<note/>', note(after='<type>quarter</type><dot/>')],
    '.krn': ['**kern', '*-', '*^', '*v', '*x', '*+', '*', '.', '=', '==', '=1:|!', '*M3/4', '*M0/4', '*k[f#]', '*clefG2', '4c', '4.d', '8qe', '16ee-',
             '[2f', '2f_', '2f]', '4r', '0G', '12a', '3%2b', '4c·4e', '4c\t4e', '!!!COM:', '!', '', '4zz', '4', 'c', '8cL', '8dJ', '*Xtuplet', '\t'],
    '.abc': ['X:1', '\n', 'K:C\n', 'K:G\n', 'M:3/4\n', 'L:1/8\n', 'L:1/1\n', 'V:1\n', 'V:2\n', 'w:la la\n', 'T:x\n', 'CDEF', 'c2', 'd/', 'e3/2', '^f', '_B,',
             'z4', 'Z', 'x', '[CEG]', '[C2E]3', '(3', '(3:2:2', '(', ')', '{a}', '{', '}', '-', '>', '<<', '|', '||', '|:', ':|', '|1', '[2', '[', ']',
             '"Am"', '"', '!f!', '!', '+', '%', '&', '~', '[K:D]', '[M:2/4]', '[V:2]', '\\', 'y', '  ', '99', '0'],
}


def written(suffix, picked):
    "The picked words as a file."
    if suffix == '.musicxml': return xml(part(START + ''.join(picked)))
    if suffix == '.abc': return abc(''.join(picked))
    return '**kern\t**kern\n' + '\n'.join(f'{a}\t{b}' for a, b in zip(picked[::2], picked[1::2])).replace('·', ' ') + '\n*-\t*-\n'


@pytest.mark.parametrize('suffix, n', [('.musicxml', 150), ('.krn', 150), ('.abc', 150)])
def test_notation_of_random_words(tmp_path, suffix, n):
    @settings(max_examples=n, **bounded)
    @given(picked=st.lists(st.sampled_from(WORDS[suffix]), max_size=40))
    def run(picked): read_anything(tmp_path, written(suffix, picked).encode(), suffix)
    run()


# ---- decoders

def chordwise(table):
    encoder = ChordwiseEncoder(EncodingConfig(scheme='chordwise', steps_per_beat=12))
    encoder.fit([table])
    return encoder


DECODERS = [*ENCODERS, NotewiseEncoder(EncodingConfig(max_wait=None)), chordwise(note_table([0, 6, 12, 12], [6, 20, 4, 9], [60, 64, 67, 40], part=[0, 0, 0, 1]))]


@pytest.mark.parametrize('encoder', DECODERS, ids=lambda e: f'{e.config.scheme}-{e.config.max_wait}-{"".join(e.config.part_order)}')
def test_any_tokens_decode_to_music(encoder):
    size = len(encoder.vocab)
    token = st.one_of(st.integers(0, size - 1), st.integers(0, min(size - 1, 16)), st.integers(-2**40, 2**40))
    @settings(max_examples=150, deadline=None)
    @given(ids=st.lists(token, max_size=200))
    def run(ids):
        table = encoder.decode(ids)
        assert 0 <= table.attrs['dropped'] <= len(ids) and len(table) <= len(ids)*128
        if not len(table): return
        onset, duration, pitch, velocity, part = table[NOTE_COLUMNS].to_numpy().T
        longest = max(getattr(encoder, o, np.ones(1)).max() for o in ('wait_of', 'duration_of'))
        assert onset.min() >= 0 and duration.min() >= 1 and (onset + duration).max() <= max(1, longest)*len(ids)
        assert 0 <= pitch.min() and pitch.max() <= 127 and (velocity >= 1).all() and part.max() < len(encoder.config.parts)
        if encoder.config.scheme == 'notewise': keeps_its_law(table, encoder)
    run()


def test_what_is_dropped_is_counted():
    encoder = ENCODERS[0]
    good = encoder.from_text('xxbos v60 wait12 endv60 xxeos')
    assert encoder.decode(good).attrs['dropped'] == 0
    assert encoder.decode([*good[:3], encoder.vocab.stoi['endp40'], -5, 10**6, *good[3:]]).attrs['dropped'] == 3
