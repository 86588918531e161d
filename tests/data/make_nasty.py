"""Make the nasty set: tiny files, each with one thing wrong that scores out in the world have, or a stranger may try.

    python tests/data/make_nasty.py            writes tests/data/nasty/
    python tests/data/make_nasty.py --table    reads them all, and writes benchmarks/results/nasty.md

Nothing is copied: every byte is made here, the same each time. What must become of each file stands in
tests/test_nasty.py.
"""
import io
import struct
import sys
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
NASTY = HERE/'nasty'


# ---- MIDI

def number(n):
    "MIDI's number of variable length."
    digits = [n & 127]
    while n := n >> 7: digits.append(n & 127 | 128)
    return bytes(digits[::-1])


def chunk(kind, body): return kind + struct.pack('>I', len(body)) + body


def track(*events, end=True):
    "A MIDI track of (step in ticks, bytes)."
    return chunk(b'MTrk', b''.join(number(t) + bytes(e) for t, e in events) + (b'\0\xff\x2f\0' if end else b''))


def midi(*tracks, kind=1, division=480, count=None):
    return b'MThd' + struct.pack('>IHHH', 6, kind, len(tracks) if count is None else count, division) + b''.join(tracks)


def on(p, channel=0, v=64): return (0x90 | channel, p, v)
def off(p, channel=0): return (0x80 | channel, p, 0)
def meta(kind, data): return (0xff, kind, *number(len(data)), *data)
def program(p, channel=0): return (0xc0 | channel, p)


TWO = ((0, on(60)), (480, off(60)), (0, on(62)), (480, off(62)))  # two quarter notes
LONG = (2**28 - 1, (0xb0, 7, 64))  # the longest step there is, and a controller
PLAIN = midi(track(*TWO))


def raw_track(text): return chunk(b'MTrk', bytes.fromhex(text))


def one_chord(pitches, channels=(0,)):
    "A chord of a beat in each of the channels."
    keys = [(p, c) for c in channels for p in pitches]
    return *((0, on(*k)) for k in keys), *((480*(i == 0), off(*k)) for i, k in enumerate(keys))


MIDI = {
    'type0_channels': (midi(track(*one_chord([60], range(3))), kind=0), 'type 0 with three channels in its one track'),
    'type0_16_channels': (midi(track(*((0, on(40 + c, c)) for c in range(16)), (480, off(40)),
                                     *((0, off(40 + c, c)) for c in range(1, 16))), kind=0), 'type 0 with 16 channels, drums among them'),
    'type0_two_tracks': (midi(track(*TWO), track(*TWO), kind=0), 'type 0, which has one track, with two'),
    'type2': (midi(track(*TWO), track(*TWO), kind=2), 'type 2: separate pieces, which most readers overlay'),
    'type7': (midi(track(*TWO), kind=7), 'a type that does not exist'),
    'program_change': (midi(track((0, program(0)), *TWO, (0, program(40)), *TWO), kind=0), 'the program changes in the middle'),
    'program_change_under_a_note': (midi(track((0, program(0)), (0, on(60)), (240, program(40)), (240, off(60)))),
                                    'the program changes while a note sounds'),
    'division_0': (midi(track(*TWO), division=0), 'no ticks to a beat: times become infinite'),
    'division_1': (midi(track((0, on(60)), (1, off(60)), (0, on(62)), (1, off(62))), division=1), 'one tick to a beat'),
    'division_32767': (midi(track((0, on(60)), (32767, off(60))), division=32767), 'the most ticks a beat can have'),
    'film_frames': (midi(track((0, on(60)), (500, off(60))), division=0xe728), 'time in film frames (SMPTE), 1,000 ticks a second'),
    'film_frames_0': (midi(track((0, on(60)), (500, off(60))), division=0xe700), 'time in film frames, no ticks to a frame'),
    'running_status': (midi(track((0, on(60)), (480, (60, 0)), (0, (62, 64)), (480, (62, 0)))), 'running status'),
    'running_status_over_meta': (midi(raw_track('00 90 3c 40  00 ff 01 01 61  83 60 3c 00  00 ff 2f 00')),
                                 'running status goes on after a text, which the norm forbids and files do'),
    'running_status_over_sysex': (midi(raw_track('00 90 3c 40  00 f0 03 7e 00 f7  83 60 3c 00  00 ff 2f 00')),
                                  'running status goes on after a message of a maker, which the norm forbids'),
    'running_status_from_nothing': (midi(raw_track('00 3c 40  60 3c 00  00 ff 2f 00')), 'running status with nothing before it'),
    'escape': (midi(raw_track('00 f7 02 01 02  00 90 3c 40  83 60 80 3c 00  00 ff 2f 00')), 'an escape (F7) with two bytes'),
    'undefined_status': (midi(raw_track('00 f4 00 90 3c 40  60 80 3c 00  00 ff 2f 00')), 'a status byte that means nothing (F4)'),
    'hanging_note': (midi(track((0, on(60)), (480, on(62)), (480, off(62)))), 'a note that is never ended'),
    'hanging_notes_only': (midi(track((0, on(60)), (480, on(62)))), 'no note is ever ended'),
    'unison_overlapping': (midi(track((0, on(60)), (240, on(60)), (240, off(60)), (240, off(60)))),
                           'a pitch is struck again while it sounds'),
    'unison_at_once': (midi(track((0, on(60)), (0, on(60)), (240, off(60)), (240, off(60)))), 'a pitch is struck twice at once'),
    'unison_two_tracks': (midi(track((0, on(60)), (480, off(60))), track((240, on(60)), (480, off(60)))),
                          'the same pitch overlaps in two tracks'),
    'off_without_on': (midi(track((0, off(61)), *TWO, (0, off(40)))), 'ends of notes that were never begun'),
    'zero_length': (midi(track((0, on(60)), (0, off(60)), *TWO)), 'a note without length'),
    'velocity_0': (midi(track((0, on(60)), (480, on(60, v=0)))), 'a note ended by velocity 0'),
    'velocity_above_127': (midi(track((0, on(60, v=0xc0)), (480, off(60)))), 'a velocity with its high bit set'),
    'pitch_above_127': (midi(track((0, (0x90, 0xbc, 64)), (480, (0x80, 0xbc, 0)))), 'a pitch with its high bit set'),
    'tempo_0': (midi(track((0, meta(0x51, b'\0\0\0')), *TWO)), 'no microseconds to a beat: an infinite tempo'),
    'tempo_short': (midi(track((0, meta(0x51, b'\1')), *TWO)), 'a tempo of one byte instead of three'),
    'tempo_missing': (midi(track(*TWO)), 'no tempo'),
    'overflow_31_bits': (midi(track(*[LONG]*9, *TWO)), 'steps that add up to over 2**31 ticks: negative times'),
    'overflow_32_bits': (midi(track(*[LONG]*17, *TWO)), 'steps that add up to over 2**32 ticks: times begin again'),
    'leading_silence': (midi(track((480*7200, on(60)), (480, off(60)))), 'an hour of silence at the beginning'),
    'gap_of_days': (midi(track((0, on(60)), (480, off(60)), (480*500_000, on(62)), (480, off(62)))), 'three days of silence in the middle'),
    'note_of_days': (midi(track((0, on(60)), (0, on(50)), (480, off(50)), (480*500_000, off(60)))), 'a note held for three days'),
    'years': (midi(track((0, on(60)), (1, off(60)), *[LONG]*6, (0, on(62)), (1, off(62))), division=1),
              '1,600 million beats between two notes, which would be gigabytes of waits'),
    'track_too_long': (midi(track(*TWO))[:-6], 'cut short by six bytes'),
    'last_byte_missing': (midi(track(*TWO))[:-1], 'cut short by one byte'),
    'track_claims_2_gb': (midi(b'MTrk' + struct.pack('>I', 2**31) + b'\0'), 'a track that claims two gigabytes'),
    'track_too_short': (PLAIN.replace(track(*TWO)[:8], b'MTrk\0\0\0\6'), 'a track that is longer than it says'),
    'no_end_of_track': (midi(track(*TWO, end=False)), 'a track without its end mark'),
    'events_after_the_end': (midi(chunk(b'MTrk', track(*TWO)[8:] + track(*TWO)[8:])), 'notes after the end mark'),
    'riff': (b'RIFF' + struct.pack('<I', 12 + len(PLAIN)) + b'RMIDdata' + struct.pack('<I', len(PLAIN)) + PLAIN, 'wrapped as RIFF (.rmi)'),
    'riff_without_midi': (b'RIFF' + struct.pack('<I', 12) + b'RMIDdata' + struct.pack('<I', 2**31) + b'none', 'RIFF that holds no MIDI'),
    'header_10_bytes': (b'MThd' + struct.pack('>IHHHI', 10, 1, 1, 480, 0) + track(*TWO), 'a header of ten bytes'),
    'header_4_bytes': (b'MThd' + struct.pack('>IHH', 4, 1, 1) + track(*TWO), 'a header of four bytes'),
    'header_2_gb': (b'MThd' + struct.pack('>IHHH', 2**31, 1, 1, 480) + track(*TWO), 'a header that claims two gigabytes'),
    'header_only': (midi(), 'no tracks'),
    'header_of_ff': (b'MThd' + b'\xff'*40, 'nothing but high bits'),
    'count_too_low': (midi(track(), track(*TWO), count=1), 'fewer tracks in the header than there are'),
    'count_too_high': (midi(track(*TWO), count=5000), 'more tracks in the header than there are'),
    'unknown_chunks': (midi(chunk(b'XFIH', b'hello'), track(*TWO), chunk(b'XFKM', b'you'), count=1), 'chunks of another maker'),
    'words_after_the_end': (PLAIN + b'written by a friendly program', 'words after the last track'),
    'zeros_after_the_end': (PLAIN + bytes(40), 'padding after the last track'),
    'drums_only': (midi(track((0, on(40, 9)), (9, off(40, 9)))), 'nothing but drums'),
    'empty_tracks': (midi(track(), track()), 'tracks without notes'),
    'a_thousand_at_once': (midi(track(*((0, on(i % 125, i//125)) for i in range(1000)), (480, (0xb0, 120, 0)),
                                      *((0, off(i % 125, i//125)) for i in range(1000)))), 'a thousand notes at once, in 8 channels'),
    'meta_256_mb': (midi(raw_track('00 90 3c 40  00 ff 01 ff ff ff 7f 61')), 'a text that claims 256 MB'),
    'step_of_five_bytes': (midi(raw_track('ff ff ff ff 7f 90 3c 40  60 80 3c 00  00 ff 2f 00')), 'a step longer than four bytes'),
    'names_in_latin_1': (midi(track((0, meta(3, 'Flöte É'.encode('latin-1'))), *TWO)), 'a name that is not UTF-8'),
    'names_in_utf_16': (midi(track((0, meta(3, 'piano'.encode('utf-16'))), *TWO)), 'a name in UTF-16'),
    'name_with_zero': (midi(track((0, meta(3, b'violin\0\0')), *TWO), track((0, meta(3, b'')), *TWO)), 'a name with zeros in it'),
}
MIDI = {f'midi_{k}.mid': v for k, v in MIDI.items()}


# ---- MusicXML

def note(step='C', octave=4, duration=1, before='', after=''):
    pitch = f'<pitch><step>{step}</step><octave>{octave}</octave></pitch>'
    return f'<note>{before}{pitch}{f"<duration>{duration}</duration>" if duration is not None else ""}{after}</note>'


def grace(step): return note(step, duration=None, before='<grace/>')
def words(names, **options): return ''.join(note(s, **options) for s in names)


def attributes(divisions=1, beats=4, unit=4, more='', also=''):
    return (f'<attributes><divisions>{divisions}</divisions>{also}<time><beats>{beats}</beats><beat-type>{unit}</beat-type></time>'
            f'{more}</attributes>')


START = attributes()


def part(*bars, id='P1', number=1):
    "A part; each bar the text in it."
    return f'<part id="{id}">' + ''.join(f'<measure number="{i + number}">{b}</measure>' for i, b in enumerate(bars)) + '</part>'


def xml(*parts, names=('Violin', 'Piano', 'Cello'), head='<?xml version="1.0" encoding="UTF-8"?>\n', ids=('P1', 'P2', 'P3'), n=None):
    listed = ''.join(f'<score-part id="{i}"><part-name>{name}</part-name></score-part>'
                     for i, name in list(zip(ids, names))[:len(parts) if n is None else n])
    return f'{head}<score-partwise version="3.1"><part-list>{listed}</part-list>{"".join(parts)}</score-partwise>'


BAR = words('CDEF')
SCORE = xml(part(START + BAR))
TIMEWISE = ('<score-timewise version="3.1"><part-list><score-part id="P1"><part-name>Violin</part-name></score-part><score-part id="P2">'
            '<part-name>Piano</part-name></score-part></part-list>' +
            ''.join(f'<measure number="{i}"><part id="P1">{START*(i == 1)}{BAR}</part>'
                    f'<part id="P2">{START*(i == 1)}{note("C", 3, 4)}</part></measure>' for i in (1, 2)) + '</score-timewise>')
BOMB = ('<?xml version="1.0"?>\n<!DOCTYPE s [<!ENTITY a "ha">' +
        ''.join(f'<!ENTITY {b} "{f"&{a};"*10}">' for a, b in zip('abcdefghi', 'bcdefghij')) + ']>\n')
SECRET = '<?xml version="1.0"?>\n<!DOCTYPE s [<!ENTITY a SYSTEM "file:///etc/passwd">]>\n'
SYMBOL = '<harmony><root><root-step>F</root-step></root><kind>dominant</kind></harmony>'
REPEAT = '<barline location="{}">{}<repeat direction="{}"{}/></barline>'
FIRST = '<barline location="left"><ending number="1" type="start"/></barline>'
SECOND = '<barline location="left"><ending number="2" type="start"/></barline>'
CLARINET = '<transpose><diatonic>-1</diatonic><chromatic>-2</chromatic></transpose>'


def tied(kind): return f'<tie type="{kind}"/>'
def move(way, beats): return f'<{way}><duration>{beats}</duration></{way}>'


XML = {
    'timewise': (TIMEWISE, 'bar by bar, each with its parts (score-timewise)'),
    'transposing': (xml(part(attributes(more=CLARINET) + BAR), names=['Clarinet']), 'a clarinet in B flat, at written pitch'),
    'drifting_bars': (xml(part(START + BAR, BAR, BAR), part(START + words('CDEFG', octave=3), words('CDEF', octave=3), words('CD', octave=3), id='P2'),
                          part(START + note('C', 2, 4), note('C', 2, 4), note('C', 2, 4), id='P3')),
                      'bars of one part are over- and underfull, so that parts drift apart'),
    'grace_at_the_start': (xml(part(START + grace('B') + BAR)), 'a grace note before the first note'),
    'grace_at_the_end': (xml(part(START + BAR + grace('B'))), 'a grace note after the last note'),
    'graces_only': (xml(part(START + grace('B') + grace('A'))), 'nothing but grace notes'),
    'chord_symbols': (xml(part(START + SYMBOL + BAR)), 'a chord symbol, which does not sound'),
    'chord_symbols_only': (xml(part(START + SYMBOL)), 'nothing but a chord symbol'),
    'repeats': (xml(part(START + REPEAT.format('left', '', 'forward', '') + BAR, FIRST + BAR + REPEAT.format('right', '', 'backward', ''),
                         SECOND + words('GGGG'))), 'a repeat with two endings'),
    'repeat_a_thousand_million': (xml(part(START + BAR + REPEAT.format('right', '', 'backward', ' times="1000000000"'))), 'a repeat of 1,000,000,000 times'),
    'ties': (xml(part(START + words('CC', duration=2, before='', after=tied('start')), note(duration=4, after=tied('stop')))), 'ties over a bar line'),
    'ties_to_nowhere': (xml(part(START + note(after=tied('stop')) + note('D', after=tied('start')) + note('E') + note('F', after=tied('stop')))),
                        'ties from and to nothing'),
    'divisions_0': (xml(part(attributes(0) + BAR)), 'no divisions to a beat'),
    'divisions_missing': (xml(part(BAR)), 'nothing says how long a beat is'),
    'divisions_huge': (xml(part(attributes(10**9) + words('CDEF', duration=10**9))), '1,000,000,000 divisions to a beat'),
    'divisions_words': (xml(part(attributes('four') + BAR)), 'divisions in words'),
    'entity_bomb': (BOMB + SCORE.split('\n', 1)[1].replace('Violin', '&j;'), 'abbreviations of abbreviations: 2 GB in 900 bytes (billion laughs)'),
    'entity_bomb_utf16': ((BOMB + SCORE.split('\n', 1)[1].replace('Violin', '&j;')).encode('utf-16'), 'the same in UTF-16'),
    'external_entity': (SECRET + SCORE.split('\n', 1)[1].replace('Violin', '&a;'), 'asks for a file of the reader’s machine'),
    'doctype': (xml(part(START + BAR), head='<?xml version="1.0"?>\n<!DOCTYPE score-partwise PUBLIC "-//Recordare//DTD MusicXML 3.1 Partwise//EN" '
                    '"http://www.musicxml.org/dtds/partwise.dtd">\n'), 'names the usual DTD on the network, which is not fetched'),
    'deep_nesting': (xml(part(START + BAR + '<direction>'*200 + '</direction>'*200))[:6000], '200 elements inside each other'),
    'forward_beyond_the_bar': (xml(part(START + note() + move('forward', 50) + note('D'), BAR)), 'a skip beyond the end of the bar'),
    'forward_a_thousand_million': (xml(part(START + note() + move('forward', 10**9) + note('D'), BAR)), 'a skip of 1,000,000,000 beats'),
    'backup_before_the_bar': (xml(part(START + note() + move('backup', 50) + note('D'), BAR)), 'a step back beyond the beginning of the bar'),
    'unpitched': (xml(part(START + '<note><unpitched/><duration>4</duration></note>')), 'nothing but drums'),
    'microtones': (xml(part(START + note().replace('</step>', '</step><alter>0.5</alter>') + note('D').replace('</step>', '</step><alter>-1.5</alter>'))),
                   'quarter tones'),
    'empty_part': (xml(part(START + BAR), part(id='P2')), 'a part without bars'),
    'no_notes': (xml(part(START)), 'no notes'),
    'part_not_listed': (xml(part(START + BAR), part(START + BAR, id='P9'), n=1), 'a part that the list of parts does not know'),
    'part_listed_only': (xml(part(START + BAR), n=3), 'parts in the list that are not there'),
    'no_part_list': (f'<score-partwise>{part(START + BAR)}</score-partwise>', 'no list of parts'),
    'negative_duration': (xml(part(START + note() + note('D', duration=-2) + BAR)), 'a note of negative length'),
    'zero_duration': (xml(part(START + note(duration=0) + BAR)), 'a note of no length'),
    'huge_duration': (xml(part(START + note(duration=10**12) + BAR)), 'a note of 1,000,000,000,000 beats'),
    'infinite_duration': (xml(part(START + note(duration='inf') + BAR)), 'a note of infinite length'),
    'nan_duration': (xml(part(START + note(duration='nan') + BAR)), 'a note whose length is no number'),
    'long_duration': (xml(part(START + note(duration=10**6) + note('D'))), 'a note of a million beats'),
    'multiple_rest': (xml(part(attributes(more='<measure-style><multiple-rest>1000000000</multiple-rest></measure-style>') +
                               '<note><rest measure="yes"/><duration>4</duration></note>', BAR)), 'a rest of 1,000,000,000 bars'),
    'metre_999': (xml(part(attributes(beats=999) + BAR)), 'a metre of 999/4, over which music21 sits for ever'),
    'metre_hidden': (xml(part(attributes(unit='4+999/4') + BAR)), 'a metre of 999/4 hidden below one of 4/4'),
    'metre_0': (xml(part(attributes(beats=0) + BAR)), 'a metre of 0/4'),
    'tuplet_0': (xml(part(START + note(after='<type>quarter</type><time-modification><actual-notes>0</actual-notes><normal-notes>0</normal-notes>'
                                       '</time-modification>'))), 'a tuplet of 0 in the time of 0'),
    'octave_huge': (xml(part(START + note(octave=10**9) + BAR)), 'octave 1,000,000,000'),
    'staves_huge': (xml(part(attributes(more='<staves>1000000000</staves>') + BAR)), '1,000,000,000 staves'),
    'transposing_huge': (xml(part(attributes(more='<transpose><chromatic>1000000000</chromatic></transpose>') + BAR)), 'transposed by 1,000,000,000 semitones'),
    'utf8_broken': (SCORE.replace('Violin', 'Viol\udcffn').encode('utf-8', 'surrogateescape'), 'not UTF-8, though it says so'),
    'utf16': (SCORE.replace('UTF-8', 'UTF-16').encode('utf-16'), 'UTF-16'),
    'latin_1': (SCORE.replace('UTF-8', 'ISO-8859-1').replace('Violin', 'Flöte').encode('latin-1'), 'Latin-1'),
    'encoding_unknown': (SCORE.replace('UTF-8', 'KLINGON'), 'an encoding that does not exist'),
    'cut_short': (SCORE[:-40], 'cut short'),
    'html': ('<html><body>404 not found</body></html>', 'a web page instead of a score'),
}
XML = {f'xml_{k}.musicxml': v for k, v in XML.items()}


# ---- compressed MusicXML

def archive(*files, method=zipfile.ZIP_STORED):
    "A zip archive of (name, content), the same each time."
    data = io.BytesIO()
    with zipfile.ZipFile(data, 'w', method) as z:
        for name, content in files: z.writestr(zipfile.ZipInfo(name), content, method, 9)
    return data.getvalue()


def claim(data, size):
    "The archive with another size of its first file, unpacked."
    central = data.index(b'PK\1\2')
    size = struct.pack('<I', size)
    return data[:22] + size + data[26:central + 24] + size + data[central + 28:]


def locked(data):
    central = data.index(b'PK\1\2')
    return data[:6] + b'\1' + data[7:central + 8] + b'\1' + data[central + 9:]


SHORT = f'<score-partwise>{part(START + BAR)}</score-partwise>'.replace('<score-partwise>', '<score-partwise><part-list><score-part id="P1">'
                                                                        '<part-name/></score-part></part-list>')
def container(*names): return '<container><rootfiles>' + ''.join(f'<rootfile full-path="{n}"/>' for n in names) + '</rootfiles></container>'


MXL = {
    'whole': (archive(('META-INF/container.xml', container('a.xml')), ('a.xml', SHORT)), 'as it should be'),
    'no_zip': (b'no zip', 'no zip archive'),
    'empty_zip': (archive(), 'an archive with nothing in it'),
    'no_container': (archive(('a.xml', SHORT)), 'no table of contents'),
    'no_score': (archive(('readme.txt', 'hello')), 'no score in it'),
    'several_rootfiles': (archive(('META-INF/container.xml', container('b.xml', 'a.xml')), ('a.xml', '<html/>'), ('b.xml', SHORT)), 'two scores are named'),
    'rootfile_missing': (archive(('META-INF/container.xml', container('none.xml')), ('a.xml', SHORT)), 'the score that is named is not there'),
    'container_bomb': (archive(('META-INF/container.xml', BOMB + '<container>&j;</container>'), ('a.xml', SHORT)), 'entities in the table of contents'),
    'claims_4_gb': (claim(archive(('a.xml', SHORT)), 2**32 - 2), 'claims to unpack to 4 GB'),
    'claims_too_little': (claim(archive(('a.xml', SHORT + ' '*1_000_000), method=zipfile.ZIP_DEFLATED), 100), 'unpacks to a thousand times what it claims'),
    'bz2_bomb': (claim(archive(('a.xml', ' '*60_000_000), method=zipfile.ZIP_BZIP2), 100), 'unpacks to 60 MB by bzip2, claims 100 bytes'),
    'locked': (locked(archive(('a.xml', SHORT))), 'locked by a password'),
    'cut_short': (archive(('a.xml', SHORT))[:-30], 'cut short'),
    'wrong_checksum': (archive(('a.xml', SHORT)).replace(b'<octave>4', b'<octave>5', 1), 'a byte has changed'),
}
MXL = {f'mxl_{k}.mxl': v for k, v in MXL.items()}


# ---- kern

def kern(*lines): return '\n'.join(lines).replace(' ', '\t').replace('·', ' ') + '\n'


KERN = {
    'split_and_merge': (kern('**kern **kern', '*M4/4 *M4/4', '=1 =1', '2C 4c', '. 4d', '2D 4e', '. 4f', '=2 =2', '* *^', '1C 2g 2e', '. 2a 2f',
                             '* *v *v', '== ==', '*- *-'), 'a spine splits and merges'),
    'graces': (kern('**kern', '*M4/4', '=1', '8qb', '4c', '4d', '8qa', '8qb', '4e', '4f', '==', '*-'), 'grace notes, one before the first note'),
    'tuplets': (kern('**kern', '*M2/4', '=1', '12c', '12d', '12e', '20f', '20f', '20f', '20f', '20f', '==', '*-'), 'triplets and quintuplets'),
    'no_barlines': (kern('**kern', '4c', '4d', '4e', '*-'), 'no bar lines'),
    'unequal_spines': (kern('**kern **kern', '4c 4e', '4d', '4e 4g 4b', '*- *-'), 'lines with too few and too many columns'),
    'mens': (kern('**mens', 'Sc', 'Sd', '*-'), 'mensural notation, no kern'),
    'text_spine': (kern('**kern **text', '4c one', '4d two', '*- *-'), 'a spine of words beside the notes'),
    'no_end': (kern('**kern', '4c', '4d'), 'no end mark'),
    'header_only': (kern('**kern', '*-'), 'no notes'),
    'huge_duration': (kern('**kern', '*M4/4', '=1', '1%1000000000c', '4d', '==', '*-'), 'a note of 4,000,000,000 beats'),
    'tiny_duration': (kern('**kern', '1000000000c', '4d', '*-'), 'a note of a thousand-millionth'),
    'many_zeros': (kern('**kern', '0'*60 + 'c', '4d', '*-'), 'a note of 2**60 breves, or a breve'),
    'metre_999': (kern('**kern', '*M999/4', '=1', '4c', '==', '*-'), 'a metre of 999/4, over which music21 sits for ever'),
    'metre_composite': (kern('**kern', '*M4/4+999/4', '=1', '4c', '==', '*-'), 'a metre of 999/4 behind one of 4/4'),
    'metre_of_breves': (kern('**kern', '*M64/000', '=1', '4c', '==', '*-'), 'a metre of 64 maximas'),
    'transposing_huge': (kern('**kern', '*Trd1000000000c1000000000', '4c', '*-'), 'transposed by 1,000,000,000 semitones'),
    'ties': (kern('**kern', '*M2/4', '=1', '4c', '[4d', '=2', '4d_', '4d]', '=3', '4e]', '[4f', '==', '*-'), 'ties over bar lines, and two that lead nowhere'),
    'chords': (kern('**kern', '4c·4e·4g', '4d·4f', '*-'), 'chords'),
    'crlf': (kern('**kern', '4c', '4d', '*-').replace('\n', '\r\n'), 'lines end as on Windows'),
    'latin_1': (kern('!!!COM:·Dvořák'.replace('ř', 'r'), '**kern', '4c', '*-').encode('latin-1'), 'Latin-1'),
    'binary': (bytes(range(256))*2, 'all bytes there are'),
}
KERN = {f'kern_{k}.krn': v for k, v in KERN.items()}


# ---- ABC

def abc(music, unit='1/4', metre='4/4', key='C', x='X:1\n', more=''): return f'{x}T:a\nM:{metre}\nL:{unit}\n{more}K:{key}\n{music}\n'


ABC = {
    'book': ('%abc-2.1\nhttp://localhost/nothing is fetched\nM:4/4\nL:1/4\n\nX:3\nT:a\nK:C\nCDEF|\n\nX:5\nT:b\nK:G\nG4|\n', 'a book of two tunes with a header'),
    'book_numbers_repeat': (''.join(f'X:1\nL:1/4\nM:4/4\nK:C\n{p}4|\n\n' for p in 'CDE'), 'a book whose three tunes are all number 1'),
    'no_key': ('X:1\nM:4/4\nL:1/4\nCDEF|\n', 'no K:, which ends the head of a tune'),
    'no_length': ('X:1\nK:C\nCDEF|\n', 'no metre and no unit of length'),
    'no_number': ('T:a\nM:4/4\nL:1/4\nK:C\nCDEF|\n', 'no X:, which begins a tune'),
    'bad_number': (abc('CDEF|', x='X:first\n'), 'X: without a number'),
    'number_huge': (abc('CDEF|', x=f'X:{"9"*400}\n'), 'X: with a number of 400 digits'),
    'long_note': (abc('C1000000000|D4|'), 'a note of 1,000,000,000 beats, over which music21 sits for ever'),
    'long_rest': (abc('z999|D4|'), 'a rest of 999 beats, over which music21 sits for ever'),
    'long_bar': (abc('[C2E2]255|D4|'), 'a chord of 510 beats in a bar'),
    'multiple_rest': (abc('Z1000000000|D4|'), 'a rest of 1,000,000,000 bars'),
    'metre_999': (abc('C|D|', metre='999/4'), 'a metre of 999/4, over which music21 sits for ever'),
    'metre_0': (abc('C|D|', metre='0/4'), 'a metre of 0/4'),
    'metre_garbled': (abc('C|D|', metre='9?99/4'), 'a metre that music21 takes for 999/4'),
    'metre_free': (abc('CDEFGABc|', metre='none'), 'no metre'),
    'unit_huge': (abc('C|D|', unit='1000000000'), 'a unit of 1,000,000,000 whole notes'),
    'unit_0': (abc('C|D|', unit='1/0'), 'a unit of 1/0'),
    'tempo_huge': (abc('CDEF|', more='Q:1/4=1000000000\n'), 'a tempo of 1,000,000,000 beats a minute'),
    'length_0': (abc('C0D/0E|'), 'notes of no length'),
    'chords': (abc('[CEG]2[DF]2|'), 'chords'),
    'graces': (abc('{B}C{AB}DEF|'), 'grace notes'),
    'tuplets': (abc('(3CDE F2|(5CDEFG|'), 'triplets and quintuplets'),
    'repeats': (abc('|:CDEF|1GGGG:|2AAAA|]'), 'a repeat with two endings'),
    'chord_symbols': (abc('"G7"CD"Am"EF|'), 'chord symbols, which do not sound'),
    'voices': (abc('V:1\nCDEF|\nV:2\nC,2E,2|', more='V:1 name=Violin\nV:2 name=Piano\n'), 'two voices'),
    'voices_by_turns': (abc('[V:1]C2D2|\n[V:2]G2A2|\n[V:1]E4|\n[V:2]B4|', more='V:1\nV:2\n').replace('E4', 'E2F2').replace('B4', 'B2c2'),
                        'two voices that take turns line by line'),
    'voices_by_name': (abc('V:Violin\nCDEF|\nV:Piano\nG4|'), 'voices that have names instead of numbers'),
    'words_around': (abc('r:a remark\nCD+f+EF|]\n\nThese are words for the reader.'), 'a remark, a decoration of the old kind, and words after the tune'),
    'invisible_rests': (abc('Cx2D|'), 'a rest that is not printed'),
    'long_without_bars': (abc('C'*300 + '|]'), '300 beats without bar lines'),
    'overlay': (abc('CD & EF|GABc|'), 'a second voice written within the bar'),
    'macros': (abc('!trill!C~D.E+f+F|', more='m:~n=n\nU:T=!trill!\nI:papersize A4\n%%scale .7\n'), 'macros, decorations and fields of other programs'),
    'broken_rhythm': (abc('C>D E<F|'), 'dotted pairs'),
    'ties': (abc('CDE-F-|F4|'), 'a tie over a bar line, and one that leads nowhere'),
    'inline_fields': (abc('CD[K:D]FF|[M:3/4][L:1/8]F2F2F2|'), 'key, metre and unit change in the middle'),
    'unbalanced': (abc('[CEG{(3"C|D4|'), 'brackets that are never closed'),
    'utf16': (abc('CDEF|').encode('utf-16'), 'UTF-16'),
    'crlf': (abc('CDEF|').replace('\n', '\r\n').encode('utf-8-sig'), 'lines end as on Windows, and a byte order mark'),
    'words': ('These are words, not music.\n', 'words'),
    'rests_only': (abc('z4|z4|'), 'nothing but rests'),
}
ABC = {f'abc_{k}.abc': v for k, v in ABC.items()}


# ---- and the rest

OTHER = {
    'empty.mid': (b'', 'an empty file'),
    'words.mid': (b'These are words, not music.', 'words named .mid'),
    'midi_named.xml': (PLAIN, 'MIDI named .xml'),
    'midi_named.krn': (PLAIN, 'MIDI named .krn'),
    'xml_named.mid': (SCORE, 'MusicXML named .mid'),
    'upper_case.MID': (PLAIN, 'a suffix in capitals'),
    'no_suffix': (PLAIN, 'no suffix'),
    'a_page.pdf': (b'%PDF-1.4\n', 'a picture of a score'),
}
OTHER = {f'other_{k}': v for k, v in OTHER.items()}

FILES = {name: (data if isinstance(data, bytes) else data.encode(), why)
         for name, (data, why) in {**MIDI, **XML, **MXL, **KERN, **ABC, **OTHER}.items()}


def write_files(folder=NASTY):
    "Write all files, and remove what is there beside them."
    folder.mkdir(parents=True, exist_ok=True)
    for old in set(folder.iterdir()) - {folder/name for name in FILES}: old.unlink()
    for name, (data, _) in FILES.items(): (folder/name).write_bytes(data)


def outcome(path):
    "What reading a file comes to, in words."
    from musiclm.notes import ScoreError, read_score
    try: table = read_score(path)
    except ScoreError as e: return f'refused: {e.reason}'
    count = lambda n, what: f'{n:g} {what}' + 's'*int(n != 1)
    said = [count(len(table), 'note'), count((table.onset + table.duration).max()/12, 'beat')]
    if (lead := table.attrs['leading_steps']) > 0: said.append(count(lead/12, 'beat') + ' of silence cut')
    if n := table.attrs['shortened_gaps']: said.append(count(n, 'gap') + ' shortened')
    if n := table.attrs.get('misfit_bars', 0): said.append(count(n, 'bar') + ' out of step')
    return ', '.join(said)


def write_table(path=HERE.parent.parent/'benchmarks'/'results'/'nasty.md'):
    "Read all files, and write what becomes of each."
    rows = [(name, why, outcome(NASTY/name)) for name, (_, why) in FILES.items()]
    refused = sum(o.startswith('refused') for *_, o in rows)
    cell = lambda text: text.replace('|', '\\|').replace('<', '&lt;')
    lines = ['# The nasty set', '',
             f'{len(rows)} tiny files, {len(rows) - refused} of them read and {refused} refused with a reason; '
             'written by `python tests/data/make_nasty.py --table`, which reads them.', '',
             '| file | what is nasty about it | what becomes of it |', '|---|---|---|']
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('\n'.join(lines + [f'| {" | ".join(map(cell, row))} |' for row in rows]) + '\n', encoding='utf-8')
    print(f'{path}: {len(rows)} files')


if __name__ == '__main__':
    if '--table' in sys.argv[1:]: write_table()
    else: write_files()
