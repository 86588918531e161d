"""Make the manifests openscore-lieder.csv and openscore-quartets.csv from clones of OpenScore's corpora.

Run by hand: `python data/make_openscore.py LIEDER QUARTETS`, the folders of clones at the commits of `musiclm.openscore`
(github.com/OpenScore/Lieder and /StringQuartets). It takes some minutes the first time, and copies no music. How it decides is
said in data/README.md.
"""
import re
import sys
from pathlib import Path

import pandas as pd
from make_manifests import OUT, list_corpora, split_few
from musiclm.build import default_cache, music_hash
from musiclm.notes import KEYBOARD_NAMES, ScoreError
from musiclm.openscore import REPOSITORIES, git_hash
from musiclm.scores import read_notes, read_tracks
from musiclm.sources import group_works, plain_text

COLUMNS = ['piece', 'title', 'composer', 'work', 'split', 'licence', 'reserved', 'part_map', 'born', 'died', 'blob']
PREFIX = dict(lieder='lc', quartets='sq')
PART_MAP = dict(lieder='', quartets='top')
BORN_DIED = {  # of composers that the corpora's own tables do not list yet
    'Arne, Thomas': (1710, 1778), 'Berg, Alban': (1885, 1935), 'Berlioz, Hector': (1803, 1869), 'Chopin, Frédéric': (1810, 1849),
    'Donaudy, Stefano': (1879, 1925), 'Flégier, Ange': (1846, 1927), 'Ives, Charles': (1874, 1954),
    'Leoncavallo, Ruggero': (1857, 1919), 'Liszt, Franz': (1811, 1886), 'Massenet, Jules': (1842, 1912),
    'Obradors, Fernando': (1897, 1945), 'Paladilhe, Émile': (1844, 1926), 'Quilter, Roger': (1877, 1953),
    'Rossini, Gioachino': (1792, 1868), 'Tosti, Francesco Paolo': (1846, 1916), 'Verdi, Giuseppe': (1813, 1901)}
SAME_SONG = {'lc6652350': 'lc6654137'}  # in two languages; found by comparing runs of 14 notes between all pairs of works
VARIANT = re.compile(r'verse|strophe|cutaway|ossia|facil|v\.? ?\d', re.I)  # a staff that sings instead of another
MUSIC = dict(lieder='songs with piano, 1760 to 1930', quartets='string quartets, all movements of one in a file')
CITE = dict(lieder='Gotham and Jonas, The OpenScore Lieder Corpus, Music Encoding Conference 2021',
            quartets='Gotham, Redbond, Bower and Jonas, The OpenScore String Quartet Corpus, DLfM 2023')


def words(folder):
    "The name of a folder as people write it."
    return folder.replace('_', ' ')


def person(folder):
    "The name of a composer, the same in both corpora: without other names in brackets or after a dash."
    return re.sub(r' (?:\(|- aka ).*$', '', words(folder))


def table_of(folder, name):
    return pd.read_csv(folder/'data'/f'{name}.tsv', sep='\t', dtype=str, keep_default_na=False)


def listed_pieces(folder, prefix):
    "Paths of the scores that are here, and of those that the corpus' own table lists; it still has the old numbers 01, 02."
    here = {p.stem: p.relative_to(folder).as_posix() for p in sorted((folder/'scores').rglob('*.mxl'))}
    for i, path in table_of(folder, 'scores')[['id', 'path']].itertuples(index=False):
        parts = [*path.split('/')[:-1], re.sub(r'^0+(?=\d)', '', path.split('/')[-1])]
        here.setdefault(prefix + i, f'scores/{"/".join(parts)}/{prefix}{i}.mxl')
    return sorted(here.values())


def music_of(path, part_map):
    "Part map, number of notes and fingerprint of a score; they are '' and 0 if it cannot be read."
    try:
        names = [name for name, _ in read_tracks(path, None, default_cache()).names]
        voices = [name for name in names if not KEYBOARD_NAMES.search(name)]
        if not part_map and 2 < len(voices) < len(names) and not any(map(VARIANT.search, voices)): part_map = 'order'
        columns = read_notes(path, None, default_cache(), part_map=part_map or 'auto')
    except ScoreError as e:
        print('cannot be read:', path, e.reason)
        return part_map, 0, ''
    return part_map, len(columns.onset), music_hash(columns)


def rows_of(name, folder, lives):
    "The rows of a manifest, but for the splits."
    rows = []
    for piece in listed_pieces(folder, PREFIX[name]):
        _, who, *inside, _ = piece.split('/')
        own = name == 'quartets' or inside[0] == '_'
        path, composer = folder/piece, person(who)
        part_map, n_notes, music = music_of(path, PART_MAP[name]) if path.is_file() else (PART_MAP[name], 0, '')
        born, died = lives.get(composer, ('', ''))
        rows.append(dict(
            piece=piece, title=words(re.sub(r'^\d+_', '', inside[-1])), composer=composer,
            work=f'{composer}/{words(inside[-1] if own else inside[0])}', licence='CC0-1.0', reserved=False, part_map=part_map,
            born=born, died=died, blob=git_hash(path.read_bytes()) if path.is_file() else '', n_notes=n_notes, music=music))
    return pd.DataFrame(rows)


def join_works(table):
    """Join works that share music; and since songs that are not here cannot be compared, those that share a title with a
    song that is not here."""
    names = table.piece.map(lambda p: Path(p).stem)
    title = [f'{c}/{re.sub(r"[^a-z]", "", plain_text(re.sub(r", .*[0-9].*$", "", t)))}' for c, t in zip(table.composer, table.title)]
    absent = {t for t, b, n in zip(title, table.blob, names) if not b and n.startswith(PREFIX['lieder'])}
    keys = [[w, *([f'~music {m}'] if m else []), *([f'~title {t}'] if t in absent else []), f'~song {SAME_SONG.get(n, n)}']
            for w, m, t, n in zip(table.work, table.music, title, names)]
    joined = group_works(keys)
    for w, j in sorted(set(zip(table.work, joined))):
        if w != j: print('joined:', w, '|', j)
    return joined


def make(name, folder, lives):
    "Write a manifest; gives its row of corpora.csv."
    table = rows_of(name, folder, lives)
    table['work'] = join_works(table)
    away = table.blob == ''
    table['n_notes'] = table.n_notes.where(~away, table.n_notes[~away].median())
    table['split'] = split_few(table, dict.fromkeys(table.work[away], 'test'))
    again = table.music[~away].duplicated() & (table.music[~away] != '')
    print(table.piece[~away][again].tolist(), 'are the music of others')
    print(table.groupby('split').agg(pieces=('piece', 'size'), works=('work', 'nunique'), notes=('n_notes', 'sum')))
    print(sorted(table.composer[table.born == ''].unique()), 'without years')
    table[COLUMNS].to_csv(OUT/f'openscore-{name}.csv', index=False, lineterminator='\n')
    return dict(name=f'openscore:{name}', music=MUSIC[name], pieces=len(table), works=table.work.nunique(),
                notes=int(table.n_notes[~away].sum()), composers=table.composer.nunique(),
                parts=PART_MAP[name] or 'by names', licence='CC0-1.0', reserved=0, left_out=int(again.sum() + (table.music[~away] == '').sum()),
                source=f'github.com/{REPOSITORIES[name][0]}', cite=CITE[name])


def main(lieder, quartets):
    folders = dict(lieder=Path(lieder), quartets=Path(quartets))
    lives = {person(c.path): (c.born, c.died) for f in folders.values() for c in table_of(f, 'composers').itertuples()}
    list_corpora([make(name, folder, {**BORN_DIED, **lives}) for name, folder in folders.items()])


if __name__ == '__main__': main(*sys.argv[1:])
