"""Make the curated manifests in data/manifests from the installed music21 package.

Run by hand, from anywhere: `python data/make_manifests.py`. It takes five minutes or so the first time, always gives the same
files for the same music21, and copies no music: only names, titles, works and splits. How it decides is said in data/README.md.
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
from musiclm.build import default_cache, music_hash
from musiclm.notes import ScoreError
from musiclm.notated import abc_tunes, parse_score, score_rows
from musiclm.scores import read_notes
from musiclm.sources import group_works, plain_text, split_by_work, list_tunes

CORPUS = Path(music21.__file__).parent/'corpus'
OUT = Path(__file__).parent/'manifests'
COLUMNS = ['piece', 'title', 'composer', 'work', 'split', 'licence', 'reserved']
RESERVED = re.compile(r'derivative electronic formats reserved|edizioni', re.I)
FREE = re.compile(r'creative commons|\bcc\b|cc0|cc-|public domain|permission|free', re.I)
PER_MASS = 3
OPENING = 16  # intervals; folk tunes that begin with the same ones are one work
TITLE = 30  # letters of a folk tune's title that are kept

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


def piece_row(path, composer, work, title, part_map='top'):
    "A row of a manifest with the rights as the file's own `rights` say, and the rule for parts."
    text = text_of(path)
    own = [' '.join(r.split()) for r in re.findall(r'<rights[^>]*>([^<]+)', text)]
    rights = '; '.join(dict.fromkeys([*own, licence_of(text)])).strip('; ')[:120]
    closed = bool(RESERVED.search(rights)) or '©' in rights and not FREE.search(rights)
    return dict(piece=path.relative_to(CORPUS).as_posix(), title=title, composer=composer, work=work, licence=rights,
                reserved=closed, part_map=part_map)


def quartets(composer, pattern):
    "The movements of string quartets: one work each."
    rows = []
    for f in sorted((CORPUS/composer).glob(pattern)):
        work = f.parent.name
        name = re.sub(r'opus(\d+)(?:no(\d))?', lambda m: f'op. {m[1]}' + (f' no. {m[2]}' if m[2] else ''), work)
        name = re.sub(r'^k(\d+)', r'K. \1', name)
        rows.append(piece_row(f, composer, work, f'String quartet {name}, movement {f.stem[8:]}'))
    return rows


def haydn(): return quartets('haydn', 'opus*/*.mxl')
def mozart(): return [r for r in quartets('mozart', 'k*/*.mxl') if '/k545/' not in r['piece']]


def schumann_robert():
    "A string quartet and a song; the song is there twice."
    return [*quartets('schumann_robert', 'opus41no1/*.mxl'),
            piece_row(CORPUS/'schumann_robert/opus48no2.mxl', 'schumann_robert', 'opus48',
                      'Dichterliebe 2: Aus meinen Tränen sprießen')]


def schumann_clara():
    "Four polonaises, and a movement of the piano trio."
    clara = CORPUS/'schumann_clara'
    return [*(piece_row(clara/f'polonaise_op1n{n}.mxl', 'schumann_clara', f'op1n{n}', f'Polonaise op. 1 no. {n}', 'piano')
              for n in (1, 2, 3, 4)),
            piece_row(clara/'opus17'/'movement3.xml', 'schumann_clara', 'opus17', 'Piano trio op. 17, movement 3', 'auto')]


def keyboard():
    "Music for one keyboard, by anyone."
    return [r for r in schumann_clara() if r['part_map'] == 'piano'] + [
        piece_row(CORPUS/f, f.split('/')[0], work, title, 'piano') for f, work, title in (
            ('bach/bwv846.mxl', 'bwv846', 'Prelude and fugue BWV 846'), ('chopin/mazurka06-2.krn', 'op6', 'Mazurka op. 6 no. 2'),
            ('cpebach/h186.mxl', 'h186', 'Sonata H. 186'), ('joplin/maple_leaf_rag.mxl', 'maple leaf', 'Maple Leaf Rag'),
            ('mozart/k545/movement1_exposition.mxl', 'k545', 'Sonata K. 545, movement 1, exposition'),
            ('schoenberg/opus19/movement2.mxl', 'opus19', 'Piano piece op. 19 no. 2'),
            ('schoenberg/opus19/movement6.mxl', 'opus19', 'Piano piece op. 19 no. 6'))]


def songs():
    "One voice or instrument with piano."
    return [piece_row(CORPUS/f, composer, f'{composer} {title}', title, part_map) for f, composer, title, part_map in (
        ('handel/rinaldo/Lascia_chio_pianga.mxl', 'handel', 'Rinaldo: Lascia ch\'io pianga', 'auto'),
        ('schubert/Lindenbaum.xml', 'schubert', 'Winterreise 5: Der Lindenbaum', 'auto'),
        ('verdi/laDonnaEMobile.mxl', 'verdi', 'Rigoletto: La donna e mobile', 'top'),
        ('weber/concertino_clarinet.mxl', 'weber', 'Concertino for clarinet and piano', 'auto'))]


def ensembles():
    "Single pieces for several voices or instruments."
    return [piece_row(CORPUS/f, f.split('/')[0], title, title) for f, title in (
        ('beach/prayer_of_a_tired_child.musicxml', 'Prayer of a Tired Child'),
        ('corelli/opus3no1/1grave.xml', 'Sonata op. 3 no. 1: Grave'),
        ('johnson_j_r/lift_every_voice.mxl', 'Lift Every Voice and Sing'), ('liliuokalani/aloha_oe.mxl', 'Aloha Oe'),
        ('lusitano/allor_che_ignuda.mxl', 'Allor che ignuda'),
        ('webern/webern_dormi_jesu_op_16_no_2.mxl', 'Dormi Jesu op. 16 no. 2'))]


TRECENTO = {  # how the files spell them -> label
    'Vitry': 'vitry', 'Landini': 'landini', 'Jacopo': 'jacopo', 'Giovanni da Firenze': 'giovanni', 'Piero': 'piero',
    'Z[ae]char': 'zacara', 'Perusio': 'perusio', 'Egardus': 'egardus', 'Ciconia': 'ciconia', 'Chipre': 'chipre', 'Perrinet': 'perrinet',
    'Guymont': 'guymont', 'Graneti': 'graneti', 'Barth?olus': 'bartolus', 'Gherardello': 'gherardello', 'Lorenzo': 'lorenzo', 'Gratiosus': 'gratiosus',
    'Phillippoctus': 'philippoctus', 'Mediolano': 'mediolano', 'Barbitonsoris': 'barbitonsoris'}


def trecento():
    "Italian and French polyphony of the 14th century; two versions of a piece, a pair, and pieces of one name are one work."
    files = [f for f in sorted((CORPUS/'trecento').glob('*.*ml')) + sorted((CORPUS/'trecento').glob('*.mxl'))
             if not f.stem.endswith('_bak') and (f.suffix == '.xml' or not f.with_suffix('.xml').exists())]
    rows, keys = [], []
    for f in [*sorted(set(files)), CORPUS/'luca'/'gloria.xml']:
        heads = ' '.join([f.stem, *re.findall(r'<(?:creator|credit-words)[^>]*>([^<]*)', text_of(f))[:8]])
        unknown = 'luca' if 'luca' in f.parts else 'anonymous'
        who = next((label for name, label in TRECENTO.items() if re.search(name, heads)), unknown)
        found = piece_row(f, who, '', re.sub(r'[_ ]+', ' ', f.stem))
        if f.stem.startswith('PMFC'):
            found.update(licence=found['licence'] or 'after the edition PMFC (L\'Oiseau-Lyre)', reserved=True)
        rows.append(found)
        number = re.match(r'PMFC_\d+[-_ ](?:[A-Za-z]+[-_ ])?\d+', f.stem)
        words = re.sub(r'^PMFC_\d+[-_ ](?:[A-Za-z]+[-_ ])?\d+[ab]?[-_ ]+|PMFC.*$| [ab]$', '', f.stem)
        words = re.sub(r'Ciconia|London|Rvat|Gherardello|Gratiosus|Egardus|Apt|Barcelona|[^A-Za-z]', '', words).lower()
        plain = words in ('gloria', 'credo', 'kyrie', 'sanctus', 'benedicamus', '')
        keys.append([number[0] if number else f.stem, *([] if plain else [f'name {words}']),
                     *(['PMFC_13_03'] if '13_04' in f.stem else [])])  # a Gloria and its Credo
    return [{**r, 'work': w} for r, w in zip(rows, group_works(keys))]


ESSEN = {'han1': 'chinese', 'han2': 'chinese', 'irl': 'irish', 'lot': 'lorraine', 'lux': 'luxembourg', 'folkHaydn': 'scottish'}


def tune_names(text):
    "Plain names of a folk tune: every title, without article, kind of dance, page or number."
    names = []
    for title in re.findall(r'^T:(.*)$', text, re.M):
        name = re.sub(r'\(.*?\)|\[.*?\]|^ *the |,? the *$| -- .*$|,? *s\. *\d+.*$', ' ', plain_text(title))
        names.append(re.sub(r'\W', '', re.sub(r'\d+ *$', '', name.strip())))
    return [n for n in names if len(n) > 3]


def folk(name, files, composer=lambda f: None, licence='', reserved=False):
    "Tunes of books; of a tune that is numbered twice the first encoding."
    rows, seen = [], set()
    for f in files:
        tunes, titles = abc_tunes(f.read_text(encoding='utf-8', errors='replace')), dict(list_tunes(f))
        for key, text in tunes.items():
            if name == 'oneills' and key in seen: continue
            seen.add(key)
            inside, text = f.relative_to(CORPUS).as_posix(), text[text.rfind('\nX:') + 1:]
            entry = re.search(r'^N: *([A-Z]+\d+)[A-Z]* *$', text, re.M) if name == 'essen' else None
            rows.append(dict(piece=f'{inside}#{key}' if len(tunes) > 1 else inside, title=titles[key][:TITLE].strip() or f'no. {key}',
                             composer=composer(f) or name, licence=licence, reserved=reserved, part_map='top',
                             keys=[*tune_names(text), *([f'entry {entry[1]}'] if entry else [])]))
    return rows


def essen():
    "The Essen collection, by where the tunes are from."
    files = [f for f in sorted((CORPUS/'essenFolksong').glob('*.abc')) if not f.stem.startswith('test')]
    return folk('essen', files, lambda f: ESSEN.get(f.stem, 'swiss' if f.stem == 'variant0' else 'german'), 'NC', True)


def ryans(): return folk('ryans', sorted((CORPUS/'ryansMammoth').glob('*.abc')))
def nottingham(): return folk('nottingham', sorted((CORPUS/'nottingham-dataset').glob('*.abc')))
def oneills(): return folk('oneills', sorted((CORPUS/'oneills1850').glob('*.abc')))
def airds(): return folk('airds', sorted((CORPUS/'airdsAirs').glob('*.abc')), licence='transcribed by Jack Campin')
def northumbrian():
    return folk('northumbrian', [CORPUS/'miscFolk'/'northumbrianminstrelsyopus.abc'], licence='transcribed by Jack Campin')
def fife(): return folk('fife', [CORPUS/'miscFolk'/'americanfifeopus.abc'])


CORPORA = {  # the names, what they are, how parts are played, what is to be said of licences
    bach: ('chorales for four voices, some with instruments', 'top', 'by file; mostly Margaret Greentree, by permission'),
    monteverdi: ('madrigals for five voices, books 3 to 5', 'top', 'by file; most say nothing'),
    beethoven: ('string quartets', 'top', 'the files say nothing'),
    palestrina: ('movements of masses, three to six voices', 'top', 'all derivative formats reserved'),
    haydn: ('string quartets op. 1 no. 1 and op. 74 no. 1', 'top', 'the files say nothing'),
    mozart: ('string quartets K. 80, 155, 156 and 458', 'top', 'the files say nothing'),
    schumann_robert: ('string quartet op. 41 no. 1, a song', 'top', 'the files say nothing'),
    schumann_clara: ('polonaises, a movement of the piano trio', 'piano; the trio by names', 'the files say next to nothing'),
    keyboard: ('piano and harpsichord alone', 'piano', 'the files say nothing'),
    songs: ('a voice or a clarinet with piano', 'by names', 'by file'),
    ensembles: ('single pieces for voices or instruments', 'top', 'by file; most are free'),
    trecento: ('14th century, two to five voices', 'top', 'most after an edition in copyright'),
    essen: ('folk songs of the Essen collection', 'one line', 'non-commercial; legal status unclear'),
    ryans: ('dances of Ryan\'s Mammoth Collection, 1883', 'one line', 'the files name who transcribed them'),
    oneills: ('O\'Neill\'s Music of Ireland, 1903', 'one line', 'the files name who transcribed them'),
    airds: ('Aird\'s Airs, 1782 to 1801', 'one line', 'transcribed by Jack Campin'),
    northumbrian: ('Northumbrian Minstrelsy, 1882', 'one line', 'transcribed by Jack Campin'),
    fife: ('American fife tunes', 'one line', 'the files say nothing'),
    nottingham: ('two reels of the Nottingham database', 'one line', 'the files say nothing'),
}
FOLK = (essen, ryans, oneills, airds, northumbrian, fife, nottingham)


def read_piece(piece, part_map):
    "The notes of a piece by this library's reader, or the `ScoreError`."
    file, _, tune = piece.partition('#')
    try: return read_notes(CORPUS/file, int(tune) if tune else None, default_cache(), part_map=part_map)
    except ScoreError as e: return e


def sound(table):
    "The table with n_notes and openings, without what cannot be read or is the music of another; and how many those are."
    first, n_notes, openings, keep = {}, [], [], []
    for piece, part_map in zip(table.piece, table.get('part_map', pd.Series('top', table.index))):
        columns = read_piece(piece, part_map)
        fine = not isinstance(columns, ScoreError)
        keep.append(fine and first.setdefault(music_hash(columns), piece) == piece)
        n_notes.append(len(columns.onset) if fine else 0)
        openings.append(str(np.diff(columns.pitch)[:OPENING].tolist()) if fine else '')
        if not keep[-1] and 'keys' not in table: print('left out:', piece, columns if not fine else 'the same music as another')
    return table.assign(n_notes=n_notes, opening=openings)[keep], len(table) - sum(keep)


def split_few(table, kept=None):
    "Split by work; composers of fewer than three works share theirs."
    few = table.groupby('composer').work.transform('nunique') < 3
    return split_by_work(table.assign(composer=table.composer.where(~few, 'few')), kept=kept)


def write(make, table, left_out):
    "Write a manifest; gives its row of corpora.csv."
    columns = COLUMNS + (['part_map'] if set(table.get('part_map', ['top'])) - {'top'} else [])
    table[columns].to_csv(OUT/f'{make.__name__}.csv', index=False, quoting=csv.QUOTE_MINIMAL, lineterminator='\n')
    print(make.__name__, len(table), 'pieces', table.work.nunique(), 'works', table.composer.nunique(), 'composers; left out', left_out,
          table.groupby('split').agg(works=('work', 'nunique'), notes=('n_notes', 'sum')).to_dict(), flush=True)
    music, parts, licence = CORPORA[make]
    return dict(name=make.__name__, music=music, pieces=len(table), works=table.work.nunique(), notes=table.n_notes.sum(),
                composers=table.composer.nunique(), parts=parts, licence=licence, reserved=table.reserved.sum(), left_out=left_out,
                source='music21', cite='')


def list_corpora(rows):
    "Write rows of corpora.csv; other rows stay, those of music21 first."
    table = pd.concat([pd.read_csv(OUT/'corpora.csv', keep_default_na=False), pd.DataFrame(rows)])
    table = table.drop_duplicates('name', keep='last').sort_values('name', key=lambda n: n.str.contains(':'), kind='stable')
    table.to_csv(OUT/'corpora.csv', index=False, lineterminator='\n')


def main():
    tables = {make: sound(pd.DataFrame(make())) for make in CORPORA}
    tunes = pd.concat([tables[make][0].assign(make=make.__name__) for make in FOLK], ignore_index=True)
    tunes['work'] = group_works([[*k, f'opening {o}'] for k, o in zip(tunes['keys'], tunes.opening)])  # tune families, over all books
    tunes['work'] = [f't{n}' for n in tunes.work.factorize()[0]]
    tunes['split'] = split_by_work(tunes)
    listed, split_of = [], {}
    for make, (table, left_out) in tables.items():
        if make in FOLK: table = tunes[tunes.make == make.__name__]
        else:
            table = table.assign(split=split_by_work(table) if make in (bach, monteverdi, beethoven, palestrina) else split_few(table))
            table['split'] = [split_of.setdefault(p, s) for p, s in zip(table.piece, table.split)]  # the same in every corpus
        listed.append(write(make, table, left_out))
    list_corpora(listed)


if __name__ == '__main__': main()
