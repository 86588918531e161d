"Sources: splits by work, curated manifests, works by name and title, folders, and tables of metadata as they come."
import json
import os
import unicodedata

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musiclm.corpus import toy_corpus
from musiclm.jobs import corpora_text
from musiclm.notes import ScoreError, note_table, part_of_tracks, write_midi
from musiclm.notated import abc_tunes
from musiclm.scores import read_notes, read_score
from musiclm.sources import (COMPOSERS, SPLITS, corpora, fill_splits, folder_manifest, list_tunes, music21_manifest, read_manifest,
                             subsample, split_by_work, work_of, works_of_titles)

NAMES = [name for name in corpora().name if ':' not in name] # inside music21


# ---- splits

@pytest.mark.parametrize('name', COMPOSERS)
def test_manifests(name):
    table = read_manifest(name)
    assert table.piece.is_unique and (table.composer == name).all()
    assert (table.groupby('work').split.nunique() == 1).all()
    assert set(table.split) == set(SPLITS)
    assert not table.piece.str.contains(r'rntxt|_old|_bak').any()
    assert table.title.str.len().min() > 0


def test_manifest_sizes():
    sizes = {name: (len(t), t.work.nunique()) for name in COMPOSERS for t in [read_manifest(name)]}
    assert sizes == {'bach': (408, 210), 'monteverdi': (48, 38), 'beethoven': (22, 10), 'palestrina': (303, 96)}
    assert read_manifest('palestrina').reserved.all()


def test_known_melodies_are_one_work():
    bach = read_manifest('bach').set_index('piece').work
    passion = [f'bach/bwv{n}.mxl' for n in ('244.15', '244.17', '244.44', '244.54', '248.5', '135.6')]
    assert bach[passion].nunique() == 1
    assert bach['bach/bwv277.mxl'] == bach['bach/bwv4.8.mxl']  # Christ lag in Todesbanden
    assert bach['bach/bwv269.mxl'] != bach['bach/bwv277.mxl']


def test_manifest_paths_exist():
    from pathlib import Path

    import music21
    corpus = Path(music21.__file__).parent/'corpus'
    assert [p for name in COMPOSERS for p in read_manifest(name).piece if not (corpus/p).is_file()] == []


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from('abc'), st.integers(0, 8), st.integers(1, 5000)), min_size=1, max_size=60),
       st.integers(0, 5))
def test_split_never_cuts_a_work(rows, seed):
    table = pd.DataFrame([dict(composer=c, work=f'{c}{w}', n_notes=n) for c, w, n in rows])
    table['split'] = split_by_work(table, seed=seed)
    assert (table.groupby('work').split.nunique() == 1).all() and table.split.isin(SPLITS).all()
    for _, one in table.groupby('composer'):
        if one.work.nunique() >= 3: assert set(one.split) == set(SPLITS)
    assert (table.split == split_by_work(table, seed=seed)).all()


def test_split_is_balanced_and_depends_on_the_seed():
    sizes = np.random.default_rng(0).integers(100, 900, 200)
    table = pd.DataFrame({'composer': 'x', 'work': [f'w{i}' for i in range(200)], 'n_notes': sizes})
    first, second = (split_by_work(table, seed=s) for s in (0, 1))
    shares = pd.Series(sizes).groupby(first).sum()/sizes.sum()
    assert np.allclose(shares[list(SPLITS)], [.7, .15, .15], atol=.02)
    assert (first != second).any()
    assert set(split_by_work(table, (1, 0, 0))) == {'train'}


def test_some_pieces_keep_every_split():
    table = pd.concat([read_manifest(n) for n in COMPOSERS], ignore_index=True)
    few = subsample(table, 60)
    assert 50 <= len(few) <= 75 and few.groupby('composer').split.nunique().eq(3).all()
    pd.testing.assert_frame_equal(few, subsample(table, 60))


# ---- works by file name

@pytest.mark.parametrize('a, b, same', [
    ('Piano_Sonatas_24-1', 'Piano_Sonatas_24-2_no_repeat', True), ('Piano_Sonatas_2-1', 'Piano_Sonatas_24-1', False),
    ('Fugue_bwv_846', 'Prelude_BWV_846', True), ('Fugue_bwv_846', 'Fugue_bwv_84', False),
    ('op01n01a', 'op01n01d', True), ('op01n01a', 'op01n02a', False),
    ('Sonata_2_2nd', 'Sonata_2_3rd_no_repeat', True), ('Toccata', 'Toccata_repeat', True),
    ('bwv253', 'bwv269', False), ('bwv253', 'bwv253_v2', True), ('bwv988', 'bwv988_old', True), ('bwv10_old', 'bwv988_old', False),
    ('twv51', 'twv52', False), ('Etudes_op_10_1', 'Etudes_op_10_10', False), ('Impromptu_op.90_D.899_1', 'Impromptu_op.90_D.899_4_no_repeat', True),
])
def test_work_of_file_names(a, b, same): assert (work_of(a) == work_of(b)) == same


# ---- splits that are given

def test_given_splits_are_kept_and_mended():
    table = pd.DataFrame(dict(composer='x', work=['a', 'a', 'b', 'c', 'd', 'e'], split=['train', 'test', 'valid', '', '', ''],
                              n_notes=[10, 90, 5, 50, 60, 70]))
    splits, report = fill_splits(table)
    assert splits[:3].tolist() == ['test', 'test', 'valid'] and set(splits[3:]) == set(SPLITS)
    assert [w for w, _ in report] == ['a'] and '10 in train, 90 in test' in report[0][1]
    assert fill_splits(table.assign(split=''))[0].tolist() == split_by_work(table).tolist()
    assert fill_splits(table.drop(columns='n_notes'))[0][:2].tolist() == ['train', 'train']  # one row each: the first split


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 6), st.sampled_from(('', *SPLITS)), st.integers(1, 99)), min_size=1, max_size=40))
def test_no_given_split_cuts_a_work(rows):
    table = pd.DataFrame([dict(composer='x', work=f'w{w}', split=s, n_notes=n) for w, s, n in rows])
    splits, report = fill_splits(table)
    assert pd.Series(splits).isin(SPLITS).all() and (pd.Series(splits).groupby(table.work).nunique() == 1).all()
    given = table[table.split != ''].groupby('work').split.nunique()
    assert {w for w, _ in report} == set(given.index[given > 1])
    kept = table.work.map(given).eq(1) & (table.split != '')
    assert (splits[kept] == table.split[kept]).all()


# ---- named corpora

def test_the_list_of_corpora_says_what_the_manifests_hold():
    listed = corpora().set_index('name')
    for name in listed.index:
        table, row = read_manifest(name), listed.loc[name]
        assert (len(table), table.work.nunique(), table.composer.nunique(), table.reserved.sum()) == (
            row.pieces, row.works, row.composers, row.reserved)
    assert (listed.notes > 0).all() and listed.music.str.len().min() > 0
    assert {'haydn', 'mozart', 'schumann_robert', 'schumann_clara', 'keyboard', 'trecento', 'essen', 'nottingham', 'ryans'} <= set(NAMES)
    with pytest.raises(ValueError, match='there is no corpus'): read_manifest('corpora')
    with pytest.raises(ValueError, match='there is no corpus'): music21_manifest('../bach')


def test_no_work_of_any_corpus_is_cut_and_every_file_is_there():
    table = music21_manifest(NAMES)
    assert table.piece.is_unique and (table.title.str.len() > 0).all() and table.split.isin(SPLITS).all()
    assert not table.piece.str.contains(r'rntxt|_old|_bak|/test|demos|theoryExercises').any()
    assert all(p.is_file() for p in set(table.path))
    for name in NAMES: assert (read_manifest(name).groupby('work').split.nunique() == 1).all(), name
    tunes = table[table.work.str.fullmatch(r't\d+')]  # families run through the books
    assert (tunes.groupby('work').split.nunique() == 1).all() and tunes.work.nunique() < len(tunes)


def test_a_piece_has_one_split_in_all_corpora():
    table = pd.concat([read_manifest(n) for n in NAMES])
    assert table.piece.duplicated().any() and (table.groupby('piece').split.nunique() == 1).all()


@pytest.mark.parametrize('name', [n for n in NAMES if 'tune' in read_manifest(n)])
def test_tunes_are_in_their_books(name):
    table = music21_manifest(name)
    for path, group in list(table.groupby('path'))[:3]:
        if group.tune.isna().any(): continue
        assert set(group.tune) <= set(abc_tunes(path.read_text(encoding='utf-8', errors='replace')))


@pytest.mark.parametrize('name', NAMES)
def test_pieces_of_every_corpus_read(name):
    table = music21_manifest(name)
    rows = table.loc[[0, len(table)//2]] if name in ('nottingham', 'essen', 'ryans', 'airds') else table.loc[[len(table)//2]]
    rows = rows[[p.stat().st_size < 300_000 for p in rows.path]]
    for row in rows.to_dict('records'):
        notes = read_notes(row['path'], part_map=row.get('part_map') or 'top', tune=row.get('tune'))
        assert len(notes.onset) > 10
        if name == 'keyboard': assert set(notes.part) == {1}
        if name in ('essen', 'ryans', 'nottingham'): assert set(notes.part) == {0}
        if name in ('haydn', 'mozart'): assert set(notes.part) == {0, 1}


def test_the_same_title_in_two_books_is_one_work():
    books = pd.concat([read_manifest(n) for n in ('ryans', 'oneills', 'airds')])
    joy = books[books.title.str.contains("^(?:The )?soldier'?s joy", case=False)]
    assert joy.piece.str.split('/').str[0].nunique() > 1 and joy.work.nunique() == 1


# ---- works by title

@pytest.mark.parametrize('a, b, same', [
    ('Sonata No. 12 in A-flat Major, Op. 26, 1st Movement', 'Sonata No. 12, Op. 26 (Complete)', True),
    ('Sonata No. 3 in B Minor, Op. 58, I. Allegro maestoso', 'Sonata 3 Op. 58', True),
    ('Sonata No. 3 in B Minor, Op. 58', 'Sonata No. 3', True), ('Scherzo No. 3', 'Scherzo No. 4 in E Major, Op. 54', False),
    ('Prelude and Fugue in C Major, WTC I, BWV 846', 'Fugue in C major, BWV846', True),
    ('Prelude and Fugue in C Major, WTC I, BWV 846', 'Prelude and Fugue in C Minor, WTC I, BWV 847', False),
    ('Etude Op. 10 No. 5', 'Etude Op. 10, No. 6', False), ('Etude Op. 10 No. 5', 'Etudes Op. 10, Nos. 4-6', True),
    ('Etude Op. 10 No. 5', 'Etude Op. 25 No. 5', False), ('Etude Op. 10 No. 5', '12 Etudes, Op. 10', True),
    ('Etude Op. 8, No. 12', 'Etude Op. 2 No.1;  Etudes Op. 8, Nos. 5, 11 and 12', True),
    ('Etude Op. 10 No. 5, 1st take', 'Etude Op. 10 No. 1', False),
    ('Sonata in E-flat Major, Hob. XVI:52', 'Sonata Hob.XVI/52, Presto', True),
    ('Sonata in E-flat Major, Hob. XVI:52', 'Sonata in E-flat Major, Hob. XVI:49', False),
    ('Sonata K.576', 'Sonata in D Major, KV 576, 2nd mov.', True), ('Sonata in D Major, K. 576', 'Sonata in D Major, K. 284', False),
    ('Sonata in D Major, K. 576', 'Sonata in D Major', True), ('Sonata in B Minor', 'Sonata in B Minor, S. 178', True),
    ('Impromptu in G-flat Major, Op. 90 No. 3', 'Impromptu Op. 90 No. 3, D. 899', True),
    ('Gaspard de la Nuit: I. Ondine', 'Gaspard de la nuit', True), ('Images, Book I, "Reflets dans l\'eau"', 'Images Book II', False),
    ('Suite bergamasque, III. Clair de lune', 'Suite Bergamasque', True), ("Triana from 'Iberia'", 'Iberia, Evocation', True),
    ('Sonata No. 23, Op. 57, “Appassionata”', 'Appassionata', True), ("L'Isle Joyeuse", "L’isle joyeuse, L. 106", True),
    ('Années de pèlerinage, Book II', 'Annees de Pelerinage, Book II: Sonetto 104', True),
    ('Chaconne in G', 'Chaconne in G Major, HWV 435', True), ('Prelude, Chorale and Fugue', 'Prelude, Fugue and Variation', False),
    ('Sonata No. 2', 'Sonata No. 22', False), ('Sonata Op. 2 No. 3 – Movement 2', 'Sonata in C Major, Op. 2, No. 3', True),
    ('Transcendental Etude No. 10', '12 Transcendental Etudes (Complete)', True), ('Mephisto Waltz No. 1', 'Valse oubliée No. 1', False),
])
def test_works_of_titles(a, b, same):
    works = works_of_titles([a, b])
    assert (works[0] == works[1]) == same, works
    assert works_of_titles([b, a]) == works[::-1]


@given(st.lists(st.text(max_size=30), max_size=8))
def test_any_titles_have_works(titles):
    works = works_of_titles(titles)
    assert len(works) == len(titles) and all(isinstance(w, str) for w in works)
    assert len(set(works_of_titles([t for t in titles for _ in range(2)]))) == len(set(works))


# ---- folders

@pytest.fixture(scope='module')
def notes(): return toy_corpus(n=2, beats=8).notes(0)


def put(folder, notes, *names):
    "Write the same small score under several names."
    for name in names: write_midi(notes, folder/name)
    return folder


def told(table, *columns): return table[list(columns)].to_numpy().tolist()


def test_a_folder_alone(notes, tmp_path):
    folder = put(tmp_path/'home', notes, 'bach/bwv_846.mid', 'bach/wtc/Fugue_bwv_846.MID', 'x.midi', '.hidden/y.mid', 'bach/._z.mid',
                 '__MACOSX/a.mid')
    table = folder_manifest(folder)
    assert told(table, 'piece', 'composer', 'work') == [['bach/bwv_846.mid', 'bach', 'bach/bwv846'],
                                                       ['bach/wtc/Fugue_bwv_846.MID', 'bach', 'bach/wtc/bwv846'],
                                                       ['x.midi', 'home', 'home/x']]
    assert list(table) == ['path', 'piece', 'composer', 'work'] and table.attrs['errors'] == []


def test_books_of_tunes(tmp_path):
    tune = 'X:{}\nT:{}\nM:4/4\nL:1/4\nK:G\nGABc|d4|\n\n'
    (tmp_path/'irish').mkdir()
    (tmp_path/'irish'/'one.abc').write_text(tune.format(9, 'Alone'))
    (tmp_path/'irish'/'reels.abc').write_text('% a book\n' + ''.join(tune.format(i, t) for i, t in ((3, 'The Kesh'), (5, 'Banshee'), (8, 'The Kesh'))))
    (tmp_path/'irish'/'words.abc').write_text('no tune here')
    table = folder_manifest(tmp_path)
    assert told(table, 'piece', 'tune', 'title') == [['irish/one.abc', None, 'Alone'], ['irish/reels.abc#3', 3, 'The Kesh'],
                                                    ['irish/reels.abc#5', 5, 'Banshee'], ['irish/reels.abc#8', 8, 'The Kesh'],
                                                    ['irish/words.abc', None, '']]
    assert table.work[1] == table.work[3] != table.work[2]
    for row in table[:4].to_dict('records'): assert len(read_notes(row['path'], tune=row['tune']).onset) == 5


def test_a_table_over_the_folders(notes, tmp_path):
    folder = put(tmp_path/'f', notes, 'a.mid', 'sub/b.mid', 'sub/c.mid', 'sub/d.mid', 'sub/e.mid')
    (tmp_path/'m.csv').write_text('filename,composer,work,title,split,part_map\n'
                                  '.\\sub\\b.mid,Liszt,,,validation,\n'
                                  'a.mid,,sonata,,Train,piano\n'
                                  'sub/c.mid,Liszt,,"Sonata in B Minor, S. 178, 2nd mov.",,\n'
                                  'sub/gone.mid,Liszt,,,,\n'
                                  'a.mid,Chopin,,,,\n'
                                  ',Chopin,,,,\n')
    table = folder_manifest(folder, tmp_path/'m.csv')
    assert told(table, 'piece', 'composer', 'work', 'split', 'part_map') == [
        ['a.mid', 'f', 'sonata', 'train', 'piano'], ['sub/b.mid', 'Liszt', 'Liszt/b', 'valid', ''],
        ['sub/c.mid', 'Liszt', 'Liszt/s178', '', '']]
    assert [p for p, _ in table.attrs['errors']] == ['sub/gone.mid', 'a.mid', str(tmp_path/'m.csv'), 'sub/d.mid']
    assert [next(w for w in ('no such file', 'twice', 'names no file', '1 other') if w in r) for _, r in table.attrs['errors']] == [
        'no such file', 'twice', 'names no file', '1 other']
    again = folder_manifest(folder, pd.read_csv(tmp_path/'m.csv'))
    pd.testing.assert_frame_equal(again, table)
    fill, _ = fill_splits(table)
    assert fill[:2].tolist() == ['train', 'valid'] and fill[2] in SPLITS


def test_a_column_overrides_works_and_cut_works_are_mended(notes, tmp_path):
    folder = put(tmp_path/'f', notes, 'a/1.mid', 'a/2.mid', 'b/3.mid')
    table = pd.DataFrame(dict(path=['a/1.mid', 'a/2.mid', 'b/3.mid'], work='chaconne', split=['train', 'test', 'test']))
    found = folder_manifest(folder, table)
    assert found.work.tolist() == ['chaconne']*3 and found.split.tolist() == ['test']*3 and found.composer.tolist() == ['a', 'a', 'b']
    assert found.attrs['errors'][0][0] == 'chaconne' and '1 in train, 2 in test' in found.attrs['errors'][0][1]


@pytest.mark.parametrize('data, message', [
    (b'', 'no column names the file'), (b'name,composer\na.mid,x\n', 'no column names the file'),
    ('file,composer\na.mid,Dvořák\n'.encode('cp1250'), 'not UTF-8'), ('file,composer\na.mid,x\n'.encode('utf-16'), 'not UTF-8'),
    (b'file,split\na.mid,often\n', "split is 'often' in row 1"), (b'file,part_map\na.mid,drums\n', "part_map is 'drums'"),
    (b'file\nb.mid\n', 'names none of the 1 scores'), (b'file,composer\n', 'names none of the 1 scores')])
def test_tables_that_cannot_be_used(notes, tmp_path, data, message):
    put(tmp_path/'f', notes, 'a.mid')
    (tmp_path/'m.csv').write_bytes(data)
    with pytest.raises(ValueError, match=message) as e: folder_manifest(tmp_path/'f', tmp_path/'m.csv')
    assert 'm.csv' in str(e.value) and '\n' not in str(e.value)


def test_a_table_that_is_not_there(notes, tmp_path):
    put(tmp_path/'f', notes, 'a.mid')
    for table in (tmp_path/'none.csv', tmp_path/'f'):
        with pytest.raises(ValueError, match='cannot be read'): folder_manifest(tmp_path/'f', table)
    (tmp_path/'m.json').write_text('{"file": [')
    with pytest.raises(ValueError, match='no table'): folder_manifest(tmp_path/'f', tmp_path/'m.json')


def test_spellings_of_tables(notes, tmp_path):
    name = unicodedata.normalize('NFD', 'Dvořák/Größe.mid')
    folder = put(tmp_path/'f', notes, name)
    (folder/'m.csv').write_bytes('\ufeffFile ;Composer;\r\nDvořák\\Größe.mid; Antonín ;;\r\n'.encode())
    table = folder_manifest(folder, 'm.csv')
    assert table.piece.tolist() == [name] and table.composer.tolist() == ['Antonín'] and table.attrs['errors'] == []
    assert folder_manifest(folder, pd.DataFrame(dict(path=[str(folder/name)]))).piece.tolist() == [name]


def test_tunes_of_a_table(tmp_path):
    (tmp_path/'b.abc').write_text(''.join(f'X:{i}\nT:{t}\nK:G\nGAB|\n\n' for i, t in ((1, 'One'), (2, 'Two'))))
    whole = folder_manifest(tmp_path, pd.DataFrame(dict(file=['b.abc'], composer=['x'])))
    assert told(whole, 'piece', 'composer', 'work') == [['b.abc#1', 'x', 'x/one'], ['b.abc#2', 'x', 'x/two']]
    part = folder_manifest(tmp_path, pd.DataFrame(dict(file=['b.abc#2', 'b.abc#7'])))
    assert part.piece.tolist() == ['b.abc#2'] and part.attrs['errors'] == [('b.abc#7', 'there is no such tune in the book')]


# ---- MAESTRO and ASAP as they come

MAESTRO = [('Alban Berg', 'Sonata Op. 1', 'train', 2018), ('Alban Berg', 'Sonata Op. 1', 'train', 2008), ('Alban Berg', 'Sonata, Op. 1', 'test', 2017),
           ('Frédéric Chopin', 'Sonata No. 3', 'validation', 2006), ('Frédéric Chopin', 'Sonata No. 3 in B Minor, Op. 58, 1st mov.', 'validation', 2013),
           ('Johann Sebastian Bach / Ferruccio Busoni', 'Chaconne in D Minor', 'train', 2014), ('Johann Sebastian Bach', 'Chaconne in D minor', 'train', 2015)]

@pytest.mark.parametrize('kind', ['csv', 'json'])
def test_maestro(notes, tmp_path, kind):
    files = [f'{year}/MIDI-Unprocessed_{i:02}_R1_{year}_wav--1.midi' for i, (*_, year) in enumerate(MAESTRO)]
    put(tmp_path, notes, *files[:-1], 'extra.mid')
    table = pd.DataFrame([dict(canonical_composer=c, canonical_title=t, split=s, year=y, midi_filename=f, audio_filename=f[:-4] + 'wav', duration=1.5)
                          for (c, t, s, y), f in zip(MAESTRO, files)])
    if kind == 'csv': table.to_csv(tmp_path/'maestro-v3.0.0.csv', index=False)
    else: table.to_json(tmp_path/'maestro-v3.0.0.json')
    found = folder_manifest(tmp_path).set_index('piece').loc[files[:-1]]
    assert found.split.tolist() == ['train']*3 + ['valid']*2 + ['train'] and set(found.part_map) == {'piano'}
    assert found.work.tolist() == ['Alban Berg/op1']*3 + ['Frédéric Chopin/op58']*2 + ['Johann Sebastian Bach/chaconne in d minor']
    assert found.composer.iloc[-1] == 'Johann Sebastian Bach / Ferruccio Busoni'
    errors = dict(folder_manifest(tmp_path).attrs['errors'])
    assert 'no such file' in errors[files[-1]] and 'not in maestro' in errors['extra.mid'] and 'was cut' in errors['Alban Berg/op1']
    assert len(folder_manifest(tmp_path, metadata=False)) == len(files)


def asap_table(rows):
    "ASAP's own columns, a row a performance."
    columns = ('composer,title,folder,xml_score,midi_score,midi_performance,performance_annotations,midi_score_annotations,'
               'maestro_midi_performance,maestro_audio_performance,start,end,audio_performance').split(',')
    return pd.DataFrame([dict(composer=c, title=t, folder=f, xml_score=f'{f}/xml_score.musicxml', midi_score=f'{f}/midi_score.mid' if midi else '',
                              midi_performance=f'{f}/{p}.mid', performance_annotations=f'{f}/{p}_annotations.txt', start='1.5')
                         for c, t, f, p, midi in rows], columns=columns, dtype=object).fillna('')


def test_asap(notes, tmp_path):
    rows = [('Bach', 'Fugue_bwv_846', 'Bach/Fugue/bwv_846', 'Shi05M', True), ('Bach', 'Fugue_bwv_846', 'Bach/Fugue/bwv_846', 'Lee01M', True),
            ('Bach', 'Prelude_bwv_846', 'Bach/Prelude/bwv_846', 'Shi05M', True),
            ('Beethoven', 'Piano_Sonatas_21-1', 'Beethoven/Piano_Sonatas/21-1', 'Li02M', True),
            ('Beethoven', 'Piano_Sonatas_21-2_no_repeat', 'Beethoven/Piano_Sonatas/21-2_no_repeat', 'Li02M', False)]
    table = asap_table(rows)
    table.to_csv(tmp_path/'metadata.csv', index=False)
    put(tmp_path, notes, *[f for f in {*table.midi_score, *table.midi_performance} if f])
    (tmp_path/table.xml_score.iloc[4]).write_text('<score-partwise/>')
    scores = folder_manifest(tmp_path)
    assert told(scores, 'piece', 'composer', 'work') == [
        ['Bach/Fugue/bwv_846/midi_score.mid', 'Bach', 'Bach/bwv846'], ['Bach/Prelude/bwv_846/midi_score.mid', 'Bach', 'Bach/bwv846'],
        ['Beethoven/Piano_Sonatas/21-1/midi_score.mid', 'Beethoven', 'Beethoven/piano_sonatas_21'],
        ['Beethoven/Piano_Sonatas/21-2_no_repeat/xml_score.musicxml', 'Beethoven', 'Beethoven/piano_sonatas_21']]
    played = folder_manifest(tmp_path, pieces='performances')
    assert len(played) == 5 and played.piece.str.contains('Shi05M|Lee01M|Li02M').all() and set(played.work) == set(scores.work)
    assert len(folder_manifest(tmp_path, pieces='all')) == 9
    assert folder_manifest(tmp_path, tmp_path/'metadata.csv').equals(scores)


def test_another_metadata_csv_is_not_taken_for_asap(notes, tmp_path):
    put(tmp_path, notes, 'x/a.mid')
    (tmp_path/'metadata.csv').write_text('id,mood\n1,blue\n')
    assert folder_manifest(tmp_path).composer.tolist() == ['x']
    with pytest.raises(ValueError, match='no column names the file'): folder_manifest(tmp_path, 'metadata.csv')


@pytest.mark.parametrize('encoding', ['utf-8', 'utf-8-sig', 'utf-16'])
def test_a_book_is_listed_as_it_is_read(tmp_path, encoding):
    (tmp_path/'book.abc').write_text('X:1\nT:One\nK:C\nCDEF|\n\nX:2\nT:Two\nK:C\nGABc|\n', encoding=encoding)
    assert folder_manifest(tmp_path).piece.tolist() == ['book.abc#1', 'book.abc#2']


def test_what_is_named_like_a_score_and_cannot_be_read_is_listed(tmp_path):
    folder, elsewhere = tmp_path/'music', tmp_path/'elsewhere'
    for place in (folder/'bach', folder/'closed', elsewhere): place.mkdir(parents=True)
    midi = write_midi(note_table([0, 12], [12, 12], [60, 62]), folder/'bach'/'a.mid').read_bytes()
    (elsewhere/'b.mid').write_bytes(midi)
    (folder/'liszt').symlink_to(elsewhere) # a composer's folder elsewhere is read
    (folder/'bach'/'again').symlink_to(folder/'bach') # a loop is not
    (folder/'bach'/'lost.mid').symlink_to(tmp_path/'nowhere')
    (folder/'bach'/'folder.mid').mkdir()
    os.mkfifo(folder/'bach'/'pipe.mid')
    (tmp_path/os.fsdecode(b'm\xfcller')).mkdir()
    os.rename(tmp_path/os.fsdecode(b'm\xfcller'), folder/os.fsdecode(b'm\xfcller'))
    (folder/os.fsdecode(b'm\xfcller')/'c.mid').write_bytes(midi)
    found = folder_manifest(folder)
    assert sorted(found.piece) == ['bach/a.mid', 'liszt/b.mid']
    assert dict(found.attrs['errors']) == {
        'bach/folder.mid': 'a folder, not a score', 'bach/lost.mid': 'a link that leads nowhere', 'bach/pipe.mid': 'not a regular file',
        'm\\xfcller/c.mid': 'its name, or that of its folder, is not UTF-8: rename it'}


def test_a_folder_without_permission_is_listed(tmp_path, monkeypatch):
    (tmp_path/'closed').mkdir()
    write_midi(note_table([0], [12], [60]), tmp_path/'bach'/'a.mid')
    scandir = os.scandir
    def refuse(path):
        if os.fspath(path).endswith('closed'): raise PermissionError(13, 'Permission denied', os.fspath(path))
        return scandir(path)
    monkeypatch.setattr(os, 'scandir', refuse) # root may read everything
    assert folder_manifest(tmp_path).attrs['errors'] == [('closed', 'the folder cannot be read: Permission denied')]


@pytest.mark.parametrize('field', ['T:', 'M:', 'L:', 'X:'])
def test_a_book_with_very_many_blanks_is_read_in_linear_time(field, tmp_path):
    "Each of these took a minute and more with patterns that are quadratic in blanks."
    text = 'X:1\nT:a tune\nM:4/4\nL:1/4\nK:C\nCDEF|\n'
    book = tmp_path/'book.abc'
    book.write_text(text.replace(field, field + ' '*280_000 + 'x'*(field == 'M:')) + '\nX:2\nT:b\nK:C\nC|\n')
    assert [t for _, t in list_tunes(book)] == ['a tune', 'b']
    try: assert len(read_score(book)) == 4
    except ScoreError as e: assert field == 'X:' or field == 'L:', e


def layout(folder, *paths):
    "Files of two notes each, every one other music."
    for k, path in enumerate(paths): write_midi(note_table([0, 12 + k], [12, 12], [60, 62]), folder/path)
    return folder


def test_pop909(tmp_path):
    found = folder_manifest(layout(tmp_path, '001/001.mid', '001/versions/001-v1.mid', '002/002.mid'))
    assert found.work.tolist() == ['POP909/001', 'POP909/001', 'POP909/002'] and set(found.part_map) == {'melody'}
    assert part_of_tracks([('MELODY', 0), ('BRIDGE', 0), ('PIANO', 0)], part_map='melody') == [0, 1, 1]


def test_a_stranger_does_not_hide_a_layout(tmp_path):
    layout(tmp_path, *(f'{k:03d}/{k:03d}.mid' for k in range(1, 12)), 'mine.mid')
    found = folder_manifest(tmp_path)
    assert len(found) == 11 and set(found.part_map) == {'melody'} and found.attrs['errors'] == [('mine.mid', 'not in metadata')]


def test_a_table_of_files_that_are_not_there_is_summed_up(tmp_path):
    layout(tmp_path, 'a.mid')
    table = pd.DataFrame(dict(file=['a.mid', *(f'{k}.mid' for k in range(300))]))
    errors = folder_manifest(tmp_path, table).attrs['errors']
    assert len(errors) == 101 and errors[-1][1].endswith('like 199 other files')


def test_giant_midi(tmp_path):
    names = 'Satie, Erik, Gymnopédie No. 1, S-Xm7s9eGxU.mid', 'Bach, Johann Sebastian, Air, BWV 1068, a_3-kd92jXx.mid'
    found = folder_manifest(layout(tmp_path, *(f'midis/{n}' for n in names)))
    assert set(zip(found.composer, found.title)) == {('Satie, Erik', 'Gymnopédie No. 1'), ('Bach, Johann Sebastian', 'Air, BWV 1068')}
    assert set(found.part_map) == {'piano'}


def test_aria_midi(tmp_path):
    layout(tmp_path, 'data/aa/000001_0.mid', 'data/aa/000001_1.mid', 'data/ab/000002_0.mid', 'data/ab/000003_0.mid')
    facts = {'1': {'metadata': {'composer': 'chopin', 'opus': 28, 'piece_number': 4}}, '2': {'metadata': {'composer': 'chopin'}}, '3': {}}
    (tmp_path/'metadata.json').write_text(json.dumps(facts))
    found = folder_manifest(tmp_path)
    assert found.composer.tolist() == ['chopin', 'chopin', 'chopin', 'unknown'] and found.work.nunique() == 3
    assert found.work[0] == found.work[1] == 'chopin/op28 no. 4'


def test_an_opus_of_aria_midi_is_one_work_if_it_is_played_whole(tmp_path):
    layout(tmp_path, *(f'data/aa/00000{k}_0.mid' for k in (1, 2, 3)))
    facts = [dict(composer='chopin', opus=9, piece_number=2), dict(composer='chopin', opus=9), dict(composer='chopin', opus=10, piece_number=2)]
    (tmp_path/'metadata.json').write_text(json.dumps({k: {'metadata': f} for k, f in enumerate(facts, 1)}))
    assert folder_manifest(tmp_path).work.tolist() == ['chopin/op9', 'chopin/op9', 'chopin/op10 no. 2']


def test_lakh_clean(tmp_path):
    found = folder_manifest(layout(tmp_path/'clean_midi', 'ABBA/Waterloo.mid', 'ABBA/Waterloo.1.mid', 'Toto/Africa.mid'))
    assert set(found.work) == {'ABBA/Waterloo', 'Toto/Africa'} and set(found.composer) == {'ABBA', 'Toto'}


def test_folders_of_splits(tmp_path):
    found = folder_manifest(layout(tmp_path/'Nottingham', 'train/jigs_1.mid', 'train/jigs_2.mid', 'valid/jigs_3.mid', 'test/jigs_4.mid'))
    assert found.split.tolist() == ['test', 'train', 'train', 'valid'] and set(found.composer) == {'Nottingham'}
    assert folder_manifest(layout(tmp_path/'other', 'train/a.mid', 'rail/b.mid')).composer.tolist() == ['rail', 'train']


def test_pdmx(tmp_path):
    layout(tmp_path, 'mid/a/1.mid', 'mid/a/2.mid', 'mid/b/3.mid')
    (tmp_path/'PDMX.csv').write_text('path,mxl,mid,song_name,composer_name,license,license_conflict\n'
                                     'x,NA,./mid/a/1.mid,First,Anna,cc-zero,False\nx,,./mid/a/2.mid,Second,NA,publicdomain,False\n'
                                     'x,,./mid/b/3.mid,Third,Anna,cc-zero,True\n')
    found = folder_manifest(tmp_path)
    assert found.composer.tolist() == ['Anna', 'unknown', 'Anna'] and found.licence.tolist() == ['cc-zero', 'publicdomain', 'cc-zero (in conflict)']
    free = folder_manifest(tmp_path, licences=['CC0'])
    assert free.title.tolist() == ['First'] and dict(free.attrs['errors'])['mid/b/3.mid'] == 'its licence is cc-zero (in conflict)'
    with pytest.raises(ValueError, match='no piece has one of the licences MIT'): folder_manifest(tmp_path, licences=['MIT'])


def test_corpora_and_layouts_are_listed_in_a_hundred_columns():
    text = corpora_text()
    assert max(map(len, text.split('\n'))) <= 100 and 'POP909' in text and 'openscore:lieder' in text
    assert 'CC0' in corpora_text('openscore:lieder') and 'MIT' in corpora_text('POP909')
    with pytest.raises(ValueError, match='no corpus'): corpora_text('none')


def test_nottingham_is_read_once(tmp_path):
    "Jukedeck's repository holds every tune up to five times: as ABC, as its cleaned copy, and as MIDI whole, melody and chords."
    tunes = [f'MIDI/{p}{n}.mid' for p in ('', 'chords/', 'melody/') for n in ('jigs1', 'reelsa-c12')]
    layout(tmp_path, *tunes, 'ABC_cleaned/jigs.abc', 'ABC_original/jigs.abc')
    for folder in tmp_path, tmp_path/'MIDI':
        found = folder_manifest(folder)
        assert [list(r) for r in found[['composer', 'work', 'part_map']].to_numpy()] == [
            ['nottingham', 'nottingham/jigs1', 'top'], ['nottingham', 'nottingham/reelsa-c12', 'top']]
    assert folder_manifest(tmp_path/'MIDI'/'melody').work.tolist() == ['nottingham/jigs1', 'nottingham/reelsa-c12']


def test_pdmx_of_which_only_midi_is_unpacked(tmp_path):
    layout(tmp_path, 'mid/1/a.mid', 'mid/1/b.mid', 'mxl/1/b.mxl')
    row = './data/1/{0}.json,./mxl/1/{0}.mxl,./mid/1/{0}.mid,Air,Bach,cc-zero,False\n'
    head = 'path,mxl,mid,song_name,composer_name,license,license_conflict\n'
    (tmp_path/'PDMX.csv').write_text(head + row.format('a') + row.format('b'))
    assert folder_manifest(tmp_path).piece.tolist() == ['mid/1/a.mid', 'mxl/1/b.mxl']
