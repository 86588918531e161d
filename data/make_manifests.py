"""Make the curated manifests in data/manifests from the installed music21 package.

Run by hand, from anywhere: `python data/make_manifests.py`. It takes two minutes or so, always gives the same files
for the same music21, and copies no music: only names, titles, works and splits. How it decides is said in data/README.md.
"""
import csv
import re
import zipfile
from collections import defaultdict
from pathlib import Path

import music21
import numpy as np
import pandas as pd
from music21.corpus.chorales import ChoraleList, ChoraleListRKBWV
from musiclm.corpus import default_cache, music_hash, read_all
from musiclm.notes import ScoreError, parse_score, score_rows
from musiclm.sources import split_by_work

CORPUS = Path(music21.__file__).parent/'corpus'
OUT = Path(__file__).parent/'manifests'
COLUMNS = ['piece', 'title', 'composer', 'work', 'split', 'licence', 'reserved']
RESERVED = re.compile(r'derivative electronic formats reserved|edizioni', re.I)
PER_MASS = 3

MADRIGALS = {
    3: ["La giovinetta pianta", "O come e gran martire", "Sovra tenere herbette", "O dolce anima mia", "Stracciami pur il core",
        "O rossignuol", "Se per estremo ardore", "Vattene pur, crudel", "La tra 'l sangu' e le morti", "Poi ch'ella in se torno",
        "O primavera", "Perfidissimo volto", "Ch'io non t'ami", "Occhi un tempo", "Vivro fra i miei tormenti",
        "Ma dove, o lasso me", "Io pur verro", "Lumi miei, cari lumi", "Rimanti in pace", "Ond'ei di morte"],
    4: ["Ah dolente partita", "Cor mio, mentre vi miro", "Cor mio, non mori", "Sfogava con le stelle", "Volgea l'anima mia",
        "Anima mia, perdona", "Che se tu se' il cor mio", "Luci serene e chiare", "La piaga c'ho nel core",
        "Voi pur da me partite", "A un giro sol", "Ohime, se tanto amate", "Io mi son giovinetta", "Quell'augellin",
        "Non piu guerra", "Si ch'io vorrei morire", "Anima dolorosa", "Anima del cor mio", "Longe da te", "Piagn'e sospira"],
    5: ["Cruda Amarilli", "O Mirtillo", "Era l'anima mia", "Ecco, Silvio", "Ma se con la pieta", "Dorinda, ah diro",
        "Ecco, piegando le genocchia", "Ferir quel petto"],
}
CYCLES = {3: [(8, 9, 10), (15, 16, 17), (19, 20)], 4: [(6, 7)], 5: [(4, 5, 6, 7, 8)]}  # madrigals in several parts


class Groups:
    "Things that belong together, directly or by way of others."
    def __init__(self): self.above = {}

    def find(self, x):
        while self.above.setdefault(x, x) != x: x = self.above[x]
        return x

    def join(self, a, b):
        a, b = sorted((self.find(a), self.find(b)))
        self.above[b] = a


def text_of(path):
    "The text of a score, unzipped."
    if path.suffix != '.mxl': return path.read_bytes().decode('utf-8', 'replace')
    with zipfile.ZipFile(path) as z:
        name = next(n for n in z.namelist() if not n.startswith('META') and n.endswith(('.xml', '.musicxml')) or '/' not in n)
        return z.read(name).decode('utf-8', 'replace')


def licence_of(text):
    "What a file says about its rights, in a few words."
    if kern := re.findall(r'^!!!YE[CM]\d*: *(.*)$', text, re.M):
        return '; '.join(dict.fromkeys(k.strip() for k in kern if 'Copyright' in k or 'reserved' in k))
    found = re.findall(r'<(?:rights|credit-words)[^>]*>([^<]*(?:©|copyright|edizioni|permission)[^<]*)', text, re.I)
    return '; '.join(dict.fromkeys(' '.join(f.split()) for f in found))[:120]


def row(path, composer, work, title):
    "A row of a manifest, without its split."
    licence = licence_of(text_of(path))
    return dict(piece=path.relative_to(CORPUS).as_posix(), title=title, composer=composer, work=work, licence=licence,
                reserved=bool(RESERVED.search(licence)))


def beat_melody(rows):
    "The tune of a part as intervals between its notes on beats, repeated notes taken once."
    onset, end, pitch = np.array([r[:3] for r in sorted(rows)]).T
    at = np.searchsorted(onset, np.arange(0, end.max(), 1) + 1e-6, side='right') - 1
    tune = pitch[at[at >= 0]].astype(int)
    return np.diff(tune[np.r_[True, tune[1:] != tune[:-1]]]).tolist()


def edits(a, b):
    "Edit distance of two sequences."
    before = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        now = [i]
        for j, y in enumerate(b, 1): now.append(min(before[j] + 1, now[-1] + 1, before[j - 1] + (x != y)))
        before = now
    return before[-1]


def soprano(path):
    "The rows of the part that sings the tune: the soprano by name, else the first."
    parts = [(name, rows) for (name, _), rows in score_rows(parse_score(path))[0] if rows]
    return next((rows for name, rows in parts if name.lower().startswith('sopr')), parts[0][1])


def bach():
    "Chorales; a work is a melody: tunes whose first 12 intervals differ in at most 2, or chorales of the same title."
    files = [f for f in sorted((CORPUS/'bach').glob('bwv*.*')) if f.stem != 'bwv846']
    files = [f for f in files if f.suffix != '.krn' or not f.with_suffix('.mxl').exists()]
    titles = {str(k): v['title'] for listed in (ChoraleList, ChoraleListRKBWV) for k, v in listed().byBWV.items()}
    title_of = {f: titles.get(re.split('-', f.stem[3:])[0], '') for f in files}
    tunes, groups, by_title = {f: beat_melody(soprano(f)) for f in files}, Groups(), {}
    for k, f in enumerate(files):
        for g in files[:k]:
            if edits(tunes[f][:12], tunes[g][:12]) <= 2: groups.join(f.stem, g.stem)
        groups.join(f.stem, by_title.setdefault(re.sub(r'\W', '', title_of[f]).lower() or f.stem, f.stem))
    return [row(f, 'bach', f'chorale {groups.find(f.stem)}', title_of[f] or f'BWV {f.stem[3:]}') for f in files]


def monteverdi():
    "Madrigals; those in several parts are one work."
    rows = []
    for f in sorted((CORPUS/'monteverdi').glob('madrigal.*.mxl')):
        if f.stem.endswith('_old'): continue
        book, n = map(int, f.stem.split('.')[1:])
        first = next((c[0] for c in CYCLES[book] if n in c), n)
        rows.append(row(f, 'monteverdi', f'madrigal {book}.{first}', MADRIGALS[book][n - 1]))
    return rows


def beethoven():
    "String quartets by opus; of op. 18 no. 1 the MusicXML edition."
    rows = []
    for f in sorted((CORPUS/'beethoven').rglob('*.mxl')):
        opus = f.parent.name if f.parent.name.startswith('opus') else f.stem
        name = re.sub(r'opus(\d+)(?:no(\d))?', lambda m: f'op. {m[1]}' + (f' no. {m[2]}' if m[2] else ''), opus)
        movement = f', movement {f.stem[8:]}' if f.stem.startswith('movement') else ''
        rows.append(row(f, 'beethoven', opus, f'String quartet {name}{movement}'))
    return rows


def palestrina():
    "Three movements of every mass, different ones, of middle size; masses of a numbered group are one work."
    masses, groups, first = defaultdict(list), Groups(), {}
    for f in sorted((CORPUS/'palestrina').glob('*.krn')):
        text = text_of(f)
        mass = re.search(r'^!!!OPR: *(.*?)\s*$', text, re.M)[1]
        music = '\n'.join(line for line in text.splitlines() if not line.startswith('!'))
        groups.join(mass, re.sub(r' \(I+\)$', '', mass))
        same, where = first.setdefault(music, (f, mass))
        groups.join(mass, where)
        if same is f: masses[mass].append((len(re.findall(r'^[^!*=].*[a-gA-G]', music, re.M)), f))
    rows = []
    for k, mass in enumerate(sorted(masses)):
        by_movement = defaultdict(list)
        for size, f in masses[mass]: by_movement[f.stem.split('_')[0]].append((size, f))
        order = sorted(by_movement)
        order = order[k % len(order):] + order[:k % len(order)]
        chosen = []
        for movement in order:
            sizes = sorted(by_movement[movement])
            chosen.append(sizes[len(sizes)//2][1])
        for f in sorted(chosen[:PER_MASS]):
            rows.append(row(f, 'palestrina', groups.find(mass), f'{mass}: {f.stem.split("_")[0]}'))
    return rows


def main():
    for make in (bach, monteverdi, beethoven, palestrina):
        table = pd.DataFrame(make())
        paths = [CORPUS/p for p in table.piece]
        read = dict(read_all(paths, cache=default_cache(), steps_per_beat=12, parts=('v', 'p'), part_map='top'))
        first, n_notes, keep = {}, [], []
        for path in paths:
            columns = read[path]
            fine = not isinstance(columns, ScoreError)
            keep.append(fine and first.setdefault(music_hash(columns), path) is path)
            n_notes.append(len(columns.onset) if fine else 0)
            if not keep[-1]: print('left out:', path.name, columns if not fine else 'the same music as another')
        table = table.assign(n_notes=n_notes)[keep]
        table['split'] = split_by_work(table)
        table[COLUMNS].to_csv(OUT/f'{make.__name__}.csv', index=False, quoting=csv.QUOTE_MINIMAL, lineterminator='\n')
        print(make.__name__, len(table), 'pieces', table.work.nunique(), 'works',
              table.groupby('split').agg(works=('work', 'nunique'), notes=('n_notes', 'sum')).to_dict())


if __name__ == '__main__': main()
